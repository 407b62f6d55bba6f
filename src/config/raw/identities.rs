//! `identities:` as written.

use crate::config::{
    problem::Placed,
    read::Tried,
    section::{Required, section},
    value::{FilePath, Hidden, Url, Word},
};

section! {
    /// A credential of the gateway for Azure: exactly one of these.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
    struct Identity {
        /// The managed identity of this VM: `{}` for the system-assigned one, or a user-assigned one.
        managed_identity: Option<ManagedIdentity>,
        /// The federated token of a Kubernetes service account.
        workload_identity: Option<WorkloadIdentity>,
        /// An app registration, usually in another tenant, that trusts a managed identity of this machine; needs no secret.
        federated_identity: Option<FederatedIdentity>,
        /// An app registration with a client secret.
        client_secret: Option<ClientSecret>,
        /// An app registration with a certificate.
        client_certificate: Option<ClientCertificate>,
        /// The user logged in to the Azure CLI (`az login`); for a developer's own machine only.
        azure_cli: Option<AzureCli>,
        /// The instance's API key, if Entra can't be used.
        api_key: Option<Hidden>,
    }
}

section! {
    /// The managed identity of a VM, or of an app in App Service, Functions or Container Apps (which set
    /// `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`).
    struct ManagedIdentity {
        /// The client id of a user-assigned identity. Set at most one of these three; default: the system-assigned identity.
        client_id: Option<Tried<Placed<Word>>>,
        /// The object id of the identity's service principal.
        object_id: Option<Tried<Placed<Word>>>,
        /// The identity's resource id: `/subscriptions/…/userAssignedIdentities/NAME`. Not for App Service.
        msi_res_id: Option<Tried<Placed<Word>>>,
        /// The token endpoint. Default: `http://169.254.169.254`.
        endpoint: Option<Placed<Url>>,
        /// PEM: certificate authorities to trust for the endpoint, in addition to the system's.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// Entra Workload ID. Default values come from the `AZURE_…` variables that its webhook sets.
    struct WorkloadIdentity {
        /// Default: `AZURE_TENANT_ID`.
        tenant_id: Option<Word>,
        /// Default: `AZURE_CLIENT_ID`.
        client_id: Option<Word>,
        /// Default: `AZURE_FEDERATED_TOKEN_FILE`.
        token_file: Option<FilePath>,
        /// The authority, for sovereign clouds. Default: `https://login.microsoftonline.com`.
        authority: Option<Placed<Url>>,
        /// PEM: certificate authorities to trust for the authority, in addition to the system's.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// An app registration with a federated credential for a user-assigned managed identity: the identity's token for
    /// `api://AzureADTokenExchange` replaces a secret. This is Microsoft's recommended way across tenants.
    struct FederatedIdentity {
        /// The directory (tenant) id of the app registration.
        tenant_id: Required<Word>,
        /// The application (client) id.
        client_id: Required<Word>,
        /// The managed identity of this machine that the app registration trusts.
        managed_identity: Required<Placed<ManagedIdentity>>,
        /// The authority. Default: `https://login.microsoftonline.com`, or that of the endpoint's sovereign cloud.
        authority: Option<Placed<Url>>,
        /// PEM: certificate authorities to trust for the authority, in addition to the system's.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// Tokens of the Azure CLI. `az` must be in the `PATH`.
    struct AzureCli {
        /// The directory (tenant) of the tokens. Default: the CLI's own.
        tenant_id: Option<Placed<Word>>,
    }
}

section! {
    /// An app registration with a client secret.
    struct ClientSecret {
        /// The directory (tenant) id.
        tenant_id: Required<Word>,
        /// The application (client) id.
        client_id: Required<Word>,
        /// The client secret's value.
        secret: Required<Hidden>,
        /// The authority, for sovereign clouds. Default: `https://login.microsoftonline.com`.
        authority: Option<Placed<Url>>,
        /// PEM: certificate authorities to trust for the authority, in addition to the system's.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// An app registration with a certificate. The files are read for each token, so they can be renewed without a restart.
    struct ClientCertificate {
        /// The directory (tenant) id.
        tenant_id: Required<Word>,
        /// The application (client) id.
        client_id: Required<Word>,
        /// PEM: the certificate, optionally its intermediate certificates, and its RSA private key.
        certificate: Required<Placed<FilePath>>,
        /// PEM: the private key, if it is in a separate file.
        key: Option<Placed<FilePath>>,
        /// The authority, for sovereign clouds. Default: `https://login.microsoftonline.com`.
        authority: Option<Placed<Url>>,
        /// PEM: certificate authorities to trust for the authority, in addition to the system's.
        ca: Option<Placed<FilePath>>,
    }
}
