//! `identities:` as written.

use crate::config::{
    problem::Placed,
    read::Tried,
    section::{Required, section},
    value::{FilePath, Hidden, Url, Word},
};

section! {
    /// A proof of who the gateway is: exactly one of these.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
    struct Identity {
        /// The VM's own identity: `{}`, or a user-assigned one.
        managed_identity: Option<ManagedIdentity>,
        /// A Kubernetes service account's federated token.
        workload_identity: Option<WorkloadIdentity>,
        /// An app registration, mostly of another tenant, that trusts a managed identity of this machine: no secret anywhere.
        federated_identity: Option<FederatedIdentity>,
        /// An app registration with a client secret.
        client_secret: Option<ClientSecret>,
        /// An app registration with a certificate.
        client_certificate: Option<ClientCertificate>,
        /// Whoever has logged in to the Azure CLI here (`az login`): for a developer's own machine.
        azure_cli: Option<AzureCli>,
        /// The instance's own key, where Entra can't be used.
        api_key: Option<Hidden>,
    }
}

section! {
    /// The identity that Azure gives a VM, or an app in App Service, Functions or Container Apps, which is told where to
    /// ask by `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`.
    struct ManagedIdentity {
        /// Of a user-assigned identity, which one of these three names; the system-assigned one unless given.
        client_id: Option<Tried<Placed<Word>>>,
        /// The object id of its service principal.
        object_id: Option<Tried<Placed<Word>>>,
        /// Its resource id: `/subscriptions/…/userAssignedIdentities/NAME`. Not for App Service.
        msi_res_id: Option<Tried<Placed<Word>>>,
        /// What stands in for `http://169.254.169.254`.
        endpoint: Option<Placed<Url>>,
        /// PEM: authorities, beside the system's, that may have signed the endpoint's certificate.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// Entra Workload ID; what is left out comes from the `AZURE_…` variables that its webhook sets.
    struct WorkloadIdentity {
        /// `AZURE_TENANT_ID` unless given.
        tenant_id: Option<Word>,
        /// `AZURE_CLIENT_ID` unless given.
        client_id: Option<Word>,
        /// `AZURE_FEDERATED_TOKEN_FILE` unless given.
        token_file: Option<FilePath>,
        /// What stands in for `https://login.microsoftonline.com`, as in sovereign clouds.
        authority: Option<Placed<Url>>,
        /// PEM: authorities, beside the system's, that may have signed its certificate.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// An app registration with a federated credential for a user-assigned managed identity: the identity's token for
    /// `api://AzureADTokenExchange` takes the place of a secret. Microsoft's way across tenants.
    struct FederatedIdentity {
        /// The directory (tenant) id of the app registration.
        tenant_id: Required<Word>,
        /// The application (client) id.
        client_id: Required<Word>,
        /// The identity of this machine that the registration trusts.
        managed_identity: Required<Placed<ManagedIdentity>>,
        /// What stands in for `https://login.microsoftonline.com`; a sovereign cloud's own is found by the endpoint.
        authority: Option<Placed<Url>>,
        /// PEM: authorities, beside the system's, that may have signed its certificate.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// The Azure CLI's tokens. `az` must be found by `PATH`.
    struct AzureCli {
        /// The directory (tenant) to get tokens of; the CLI's own choice unless given.
        tenant_id: Option<Placed<Word>>,
    }
}

section! {
    /// An app registration that proves itself with a secret.
    struct ClientSecret {
        /// The directory (tenant) id.
        tenant_id: Required<Word>,
        /// The application (client) id.
        client_id: Required<Word>,
        /// The client secret's value.
        secret: Required<Hidden>,
        /// What stands in for `https://login.microsoftonline.com`, as in sovereign clouds.
        authority: Option<Placed<Url>>,
        /// PEM: authorities, beside the system's, that may have signed its certificate.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// An app registration that proves itself with a certificate. The files are read for each token, so they may be renewed.
    struct ClientCertificate {
        /// The directory (tenant) id.
        tenant_id: Required<Word>,
        /// The application (client) id.
        client_id: Required<Word>,
        /// PEM: the certificate, perhaps those that lead to its authority, and its RSA private key.
        certificate: Required<Placed<FilePath>>,
        /// PEM: the private key, where it is in a file of its own.
        key: Option<Placed<FilePath>>,
        /// What stands in for `https://login.microsoftonline.com`, as in sovereign clouds.
        authority: Option<Placed<Url>>,
        /// PEM: authorities, beside the system's, that may have signed its certificate.
        ca: Option<Placed<FilePath>>,
    }
}
