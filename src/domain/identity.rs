//! How the gateway proves itself to an instance, as the operator wrote it down.

use std::path::PathBuf;

use super::{name::IdentityName, secret::Secret};

/// One entry of `identities:`.
#[derive(Clone, Debug)]
pub struct Identity {
    pub name: IdentityName,
    pub proof: Proof,
}

/// The identity that Azure gives a machine or an app.
#[derive(Clone, Debug, Default)]
pub struct Managed {
    /// Of a user-assigned one; `None`: the system-assigned one.
    pub id: Option<AssignedId>,
    /// Scheme, host and port that stand in for `http://169.254.169.254`. Given, App Service's variables mean nothing.
    pub endpoint: Option<String>,
    /// Authorities (PEM), beside the system's, that may have signed the endpoint's certificate.
    pub ca: Option<PathBuf>,
}

/// What names a user-assigned identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssignedId {
    Client(String),
    /// Its service principal's object id.
    Object(String),
    /// Its resource's id, `/subscriptions/…`.
    Resource(String),
}

/// The kinds of proof, by their names in the config.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The machine's own.
    ManagedIdentity(Managed),
    /// An application, mostly of another tenant, that trusts a managed identity of this machine: whose token it shows in
    /// place of a secret.
    FederatedIdentity {
        tenant_id: String,
        client_id: String,
        by: Managed,
        authority: Option<String>,
        ca: Option<PathBuf>,
    },
    /// Whoever has logged in to the Azure CLI of this machine: for a developer's own.
    AzureCli { tenant_id: Option<String> },
    /// A Kubernetes service account's federated token. What is `None` comes from the usual `AZURE_…` variables.
    WorkloadIdentity {
        tenant_id: Option<String>,
        client_id: Option<String>,
        token_file: Option<PathBuf>,
        authority: Option<String>,
        ca: Option<PathBuf>,
    },
    ClientSecret {
        tenant_id: String,
        client_id: String,
        secret: Secret,
        /// Scheme, host and port that stand in for `https://login.microsoftonline.com`.
        authority: Option<String>,
        ca: Option<PathBuf>,
    },
    ClientCertificate {
        tenant_id: String,
        client_id: String,
        /// PEM: the certificate, and perhaps those that lead to its authority. Read again for each token request.
        certificate: PathBuf,
        /// PEM: its RSA private key; mostly the same file.
        key: PathBuf,
        authority: Option<String>,
        ca: Option<PathBuf>,
    },
    /// The instance's own key, for what cannot do Entra.
    ApiKey(Secret),
}

impl Proof {
    /// The authority that the config names in place of Azure's own.
    pub fn authority(&self) -> Option<&str> {
        match self {
            Self::WorkloadIdentity { authority, .. }
            | Self::ClientSecret { authority, .. }
            | Self::ClientCertificate { authority, .. }
            | Self::FederatedIdentity { authority, .. } => authority.as_deref(),
            Self::ManagedIdentity(_) | Self::AzureCli { .. } | Self::ApiKey(_) => None,
        }
    }

    /// The kind's name in the config.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ManagedIdentity(_) => "managed_identity",
            Self::FederatedIdentity { .. } => "federated_identity",
            Self::AzureCli { .. } => "azure_cli",
            Self::WorkloadIdentity { .. } => "workload_identity",
            Self::ClientSecret { .. } => "client_secret",
            Self::ClientCertificate { .. } => "client_certificate",
            Self::ApiKey(_) => "api_key",
        }
    }
}
