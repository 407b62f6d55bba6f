//! The token endpoints and the issuer of clients' tokens, as written in YAML.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{defaults, duration, tls::Tls};

/// The token endpoints, shaped like IMDS, App Service and Entra, on one address.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    #[serde(default = "defaults::any_port")]
    pub address: SocketAddr,
    pub tls: Option<Tls>,
    /// How long a token is good for.
    #[serde(default = "one_hour", deserialize_with = "duration::read")]
    pub lifetime: Duration,
    /// For which part of its life a machine's own endpoint hands out the same token again, from 0 to 1. Azure's live a day
    /// and are kept for hours.
    #[serde(default = "defaults::half")]
    pub kept_for: f64,
    /// The tenant of the machine's identities.
    #[serde(default = "own_tenant")]
    pub tenant_id: String,
    /// Given, App Service's endpoint is there too, at `/msi/token`: it wants this in `X-IDENTITY-HEADER`.
    pub identity_header: Option<String>,
    /// The user-assigned identities that this machine has; absent: all there are.
    pub user_assigned: Option<Vec<UserAssigned>>,
    /// Who is registered at Entra; absent: everybody, with any secret but `wrong`.
    pub applications: Option<Vec<Application>>,
}

/// A user-assigned identity: by its client id alone, or by the other names too that it can be asked for with.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum UserAssigned {
    ClientId(String),
    Named(Names),
}

impl UserAssigned {
    pub(crate) fn client_id(&self) -> Option<&str> {
        self.called("client_id")
    }

    /// What it is called in a query of this parameter, if it has such a name.
    pub(crate) fn called(&self, by: &str) -> Option<&str> {
        match (self, by) {
            (Self::ClientId(client_id), "client_id") => Some(client_id),
            (Self::ClientId(_), _) => None,
            (Self::Named(names), "client_id") => Some(&names.client_id),
            (Self::Named(names), "object_id") => names.object_id.as_deref(),
            (Self::Named(names), _) => names.resource_id.as_deref(),
        }
    }
}

/// What a user-assigned identity is called.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    pub client_id: String,
    /// Of its service principal.
    pub object_id: Option<String>,
    /// Of its Azure resource: `/subscriptions/…`.
    pub resource_id: Option<String>,
}

/// An app registration, and how it proves itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    pub tenant_id: String,
    pub client_id: String,
    pub secret: Option<String>,
    /// PEM: the certificate it signs its assertions with. Read for each of them.
    pub certificate: Option<PathBuf>,
    /// The token of another issuer that is good now. Read for each request.
    pub federated_token: Option<PathBuf>,
}

/// An issuer of tokens for clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSetup {
    #[serde(default = "defaults::any_port")]
    pub address: SocketAddr,
    pub tls: Option<Tls>,
}

fn own_tenant() -> String {
    "simulator".into()
}

fn one_hour() -> Duration {
    Duration::from_secs(3600)
}
