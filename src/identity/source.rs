//! Where an identity's tokens come from: `azure_identity`, asked for one token at a time.
//!
//! Its credentials keep a token until five minutes before the end, and then forget it when the authority
//! fails. So each fetch makes a credential of its own, and when to fetch and what to keep is decided here.

use std::{sync::Arc, time::SystemTime};

use azure_core::{
    credentials::{AccessToken, Secret, TokenCredential},
    http::{ClientOptions, RetryOptions, Transport},
};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use tokio::time::timeout;

use super::{
    assertion::{Assertion, Claim},
    error::{CALL, FetchError, SetupError},
    token::Token,
    token_endpoint::{TokenEndpoint, managed_by},
    transport::{Authority, Call, Clients},
};
use crate::domain::{
    cloud::Cloud,
    identity::{AssignedId, Managed, Proof},
};

/// An identity's tokens for one scope.
pub(super) struct Source {
    proof: Proof,
    scope: String,
    authority: Authority,
    /// Where the token comes from that proves a federated identity, and what it is for.
    first: Option<(Authority, &'static str)>,
}

impl Source {
    /// Checks the proof by making a credential of it once.
    pub(super) fn new(
        proof: &Proof,
        scope: &str,
        cloud: Cloud,
        clients: &mut Clients,
    ) -> Result<Self, SetupError> {
        let source = Self {
            proof: proof.clone(),
            scope: scope.to_owned(),
            authority: authority(proof, cloud, clients)?,
            first: match proof {
                Proof::FederatedIdentity { by, .. } => {
                    Some((machine(by, clients)?, cloud.exchange_scope()))
                }
                _ => None,
            },
        };
        let made = source.credential(&source.authority.call());
        let first = source.first_credential(&source.authority.call());
        match made.and(first) {
            Ok(_) => Ok(source),
            Err(why) => Err(SetupError::Azure(why)),
        }
    }

    /// Where its tokens are asked for; `None`: somebody else does that.
    pub(super) fn asked_at(&self) -> Option<String> {
        match self.authority.endpoint() {
            TokenEndpoint::AzureCli => None,
            _ => Some(self.authority.origin()),
        }
    }

    pub(super) fn scope(&self) -> &str {
        &self.scope
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// One request for one token, on a task of its own: where `azure_identity` panics at an absurd answer (it
    /// does at an `expires_in` beyond the calendar's end), that is a failure like any other.
    pub(super) async fn fetch(self: &Arc<Self>) -> Result<Token, FetchError> {
        let source = Arc::clone(self);
        let flight = tokio::spawn(async move { source.ask().await });
        flight.await.unwrap_or(Err(FetchError::NoToken))
    }

    async fn ask(&self) -> Result<Token, FetchError> {
        let second = self.authority.call();
        let credential = match &self.first {
            Some((machine, scope)) => {
                let call = machine.call();
                let first = self.first_credential(&call).map_err(FetchError::Setup)?;
                let token = asked(machine, &call, &first, scope).await?;
                self.with_assertion(&second, Assertion::from_token(token.token.secret()))
            }
            None => self.credential(&second),
        };
        let proof = credential.map_err(FetchError::Setup)?;
        let token = asked(&self.authority, &second, &proof, &self.scope).await?;
        checked(token, SystemTime::now())
    }

    /// What gets the token that proves a federated identity; for others the same as [`Self::credential`].
    fn first_credential(&self, call: &Arc<Call>) -> Result<Arc<dyn TokenCredential>, String> {
        match &self.proof {
            Proof::FederatedIdentity { by, .. } => {
                managed(by, call).map_err(|error| error.to_string())
            }
            _ => self.credential(call),
        }
    }

    /// A credential that has no token yet, makes its calls through `call`, and leaves trying again to us. What it needs
    /// from files is read now.
    fn credential(&self, call: &Arc<Call>) -> Result<Arc<dyn TokenCredential>, String> {
        match &self.proof {
            Proof::ClientCertificate { .. } => self.with_certificate(call),
            // Whether its ids can be those of anybody; what it proves itself with comes with each fetch.
            Proof::FederatedIdentity { .. } => self.with_assertion(call, Assertion::from_token("")),
            proof => credential(proof, call).map_err(|error| told(proof, &error)),
        }
    }

    fn with_certificate(&self, call: &Arc<Call>) -> Result<Arc<dyn TokenCredential>, String> {
        let Proof::ClientCertificate {
            tenant_id,
            client_id,
            certificate,
            key,
            ..
        } = &self.proof
        else {
            return Err("there is no certificate".into());
        };
        let claim = Claim {
            client_id,
            token_endpoint: &self.authority.token_endpoint(tenant_id),
            certificate,
            key,
        };
        let assertion =
            Assertion::sign(claim, SystemTime::now()).map_err(|error| error.to_string())?;
        self.with_assertion(call, assertion)
    }

    fn with_assertion(
        &self,
        call: &Arc<Call>,
        assertion: Assertion,
    ) -> Result<Arc<dyn TokenCredential>, String> {
        let (Proof::ClientCertificate {
            tenant_id,
            client_id,
            ..
        }
        | Proof::FederatedIdentity {
            tenant_id,
            client_id,
            ..
        }) = &self.proof
        else {
            return Err("there is no application".into());
        };
        let options = ClientAssertionCredentialOptions {
            client_options: client_options(call),
        };
        let (tenant_id, client_id) = (tenant_id.clone(), client_id.clone());
        let made = ClientAssertionCredential::new(tenant_id, client_id, assertion, Some(options));
        Ok(made.map_err(|error| error.to_string())?)
    }
}

/// Why there is no credential. What stands in the place of a path may be the token itself, so it is called by its field.
fn told(proof: &Proof, error: &azure_core::Error) -> String {
    let text = error.to_string();
    match proof {
        Proof::WorkloadIdentity {
            token_file: Some(path),
            ..
        } => text.replace(&path.display().to_string(), "`token_file`"),
        _ => text,
    }
}

/// One request for one token.
async fn asked(
    authority: &Authority,
    call: &Call,
    credential: &Arc<dyn TokenCredential>,
    scope: &str,
) -> Result<AccessToken, FetchError> {
    let scopes = [scope];
    let answer = async {
        let _turn = authority.turn().await;
        credential.get_token(&scopes, None).await
    };
    let answer = timeout(CALL, answer)
        .await
        .map_err(|_| FetchError::TimedOut)?;
    // What azure_identity says of an answer it can't read may quote the answer, and the CLI's words are anybody's.
    answer.map_err(|_| match (call.failure(), authority.endpoint()) {
        (Some(failure), _) => failure,
        (None, TokenEndpoint::AzureCli) => FetchError::NoLogin,
        (None, _) => FetchError::NoToken,
    })
}

/// Where a machine's own identity is asked for.
fn machine(by: &Managed, clients: &mut Clients) -> Result<Authority, SetupError> {
    let endpoint = match by.endpoint {
        Some(_) => TokenEndpoint::Imds,
        None => managed_by(),
    };
    Authority::new(endpoint, by.endpoint.as_deref(), by.ca.as_deref(), clients)
}

/// What an answer held, if it is of use. `azure_identity` keeps its own copy of a token in a type that can't be wiped, and
/// lets go of it here; ours is wiped.
fn checked(token: AccessToken, now: SystemTime) -> Result<Token, FetchError> {
    let expires_on = SystemTime::from(token.expires_on);
    let secret = token.token.secret();
    if secret.is_empty() {
        return Err(FetchError::NoToken);
    }
    let token = Token::bearer(secret, Some(expires_on)).map_err(|_| FetchError::NoToken)?;
    token.holds(now).then_some(token).ok_or(FetchError::Ended)
}

/// Where the proof's tokens are asked for; an api-key needs nobody's.
fn authority(proof: &Proof, cloud: Cloud, clients: &mut Clients) -> Result<Authority, SetupError> {
    // The public cloud's is what AZURE_AUTHORITY_HOST may say otherwise.
    let of_cloud = (cloud != Cloud::Public).then(|| cloud.authority());
    let (endpoint, instead, ca) = match proof {
        Proof::ManagedIdentity(own) => return machine(own, clients),
        Proof::AzureCli { .. } => (TokenEndpoint::AzureCli, &None, &None),
        Proof::FederatedIdentity { authority, ca, .. }
        | Proof::WorkloadIdentity { authority, ca, .. }
        | Proof::ClientSecret { authority, ca, .. }
        | Proof::ClientCertificate { authority, ca, .. } => (TokenEndpoint::Entra, authority, ca),
        Proof::ApiKey(_) => (TokenEndpoint::Entra, &None, &None),
    };
    let of_cloud = of_cloud.filter(|_| endpoint == TokenEndpoint::Entra);
    let instead = instead.as_deref().or(of_cloud.as_deref());
    Authority::new(endpoint, instead, ca.as_deref(), clients)
}

fn client_options(call: &Arc<Call>) -> ClientOptions {
    ClientOptions {
        transport: Some(Transport::new(Arc::<Call>::clone(call))),
        retry: RetryOptions::none(),
        ..Default::default()
    }
}

fn managed(by: &Managed, call: &Arc<Call>) -> azure_core::Result<Arc<dyn TokenCredential>> {
    let id = by.id.clone().map(|id| match id {
        AssignedId::Client(id) => UserAssignedId::ClientId(id),
        AssignedId::Object(id) => UserAssignedId::ObjectId(id),
        AssignedId::Resource(id) => UserAssignedId::ResourceId(id),
    });
    let options = ManagedIdentityCredentialOptions {
        user_assigned_id: id,
        client_options: client_options(call),
    };
    Ok(ManagedIdentityCredential::new(Some(options))?)
}

/// Of the proofs that `azure_identity` knows how to show.
fn credential(proof: &Proof, call: &Arc<Call>) -> azure_core::Result<Arc<dyn TokenCredential>> {
    let client_options = client_options(call);
    Ok(match proof.clone() {
        Proof::ManagedIdentity(own) => managed(&own, call)?,
        Proof::AzureCli { tenant_id } => {
            AzureCliCredential::new(Some(AzureCliCredentialOptions {
                tenant_id,
                ..Default::default()
            }))?
        }
        Proof::WorkloadIdentity {
            tenant_id,
            client_id,
            token_file,
            ..
        } => WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
            credential_options: ClientAssertionCredentialOptions { client_options },
            client_id,
            tenant_id,
            token_file_path: token_file,
        }))?,
        Proof::ClientSecret {
            tenant_id,
            client_id,
            secret,
            ..
        } => ClientSecretCredential::new(
            &tenant_id,
            client_id,
            Secret::new(secret.expose().to_owned()),
            Some(ClientSecretCredentialOptions { client_options }),
        )?,
        Proof::ClientCertificate { .. } | Proof::FederatedIdentity { .. } | Proof::ApiKey(_) => {
            return Err(azure_core::Error::with_message(
                azure_core::error::ErrorKind::Credential,
                "this is no source of tokens",
            ));
        }
    })
}
