//! How the gateway proves itself to an instance, as the operator wrote it down.

use std::path::PathBuf;

use super::{name::IdentityName, secret::Secret};

/// The token scope of an Azure OpenAI resource unless its instance names another (AZURE.md 3).
pub const DEFAULT_SCOPE: &str = "https://cognitiveservices.azure.com/.default";

/// One entry of `identities:`.
#[derive(Clone, Debug)]
pub struct Identity {
    pub name: IdentityName,
    pub proof: Proof,
}

/// The kinds of proof, by their names in the config.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The machine's own identity, or a user-assigned one named by its client id.
    ManagedIdentity {
        client_id: Option<String>,
        /// Scheme, host and port that stand in for `http://169.254.169.254`. Given, App Service's variables mean nothing.
        endpoint: Option<String>,
        /// Authorities (PEM), beside the system's, that may have signed the endpoint's certificate.
        ca: Option<PathBuf>,
    },
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
    /// The kind's name in the config.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ManagedIdentity { .. } => "managed_identity",
            Self::WorkloadIdentity { .. } => "workload_identity",
            Self::ClientSecret { .. } => "client_secret",
            Self::ClientCertificate { .. } => "client_certificate",
            Self::ApiKey(_) => "api_key",
        }
    }
}
