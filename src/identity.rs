//! Who the gateway is to Azure: credentials kept ready, so that no request waits for one.
//!
//! There is one [`Credential`] for each identity and scope that some instance uses. A background task of its
//! own ([`Credential::run`]) fetches its token, renews it well before it ends, and keeps using the old one
//! until its true end when the renewal fails. The request path only clones a header that is ready.
//!
//! Nothing here knows the proxy, and no token or secret is ever in an error, a log line or a `Debug` output.

mod assertion;
mod credential;
mod error;
mod renewal;
mod renewal_schedule;
mod source;
mod token;
mod token_endpoint;
mod transport;

#[cfg(test)]
mod authority;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::SystemTime,
};

use thiserror::Error;

use crate::domain::{
    cloud::Cloud,
    deployment::{Instance, Kind},
    identity::{Identity, Proof},
    name::{IdentityName, InstanceName},
};

pub use credential::{Credential, CredentialState};
pub use error::{FetchError, SetupError};
use transport::Clients;

/// Why the identities can't be set up. Each is a mistake in the config or on this machine.
#[derive(Debug, Error)]
pub enum IdentitiesError {
    #[error("instance {instance} names an identity that does not exist: {identity}")]
    Unknown {
        instance: InstanceName,
        identity: IdentityName,
    },
    #[error("identity {identity} can't be set up: {source}")]
    Setup {
        identity: IdentityName,
        source: SetupError,
    },
}

/// The credentials of all instances.
#[derive(Debug, Default)]
pub struct Identities {
    credentials: Vec<Arc<Credential>>,
    by_instance: HashMap<InstanceName, Arc<Credential>>,
}

/// Instances that are equal in this share a credential.
#[derive(PartialEq, Eq, Hash)]
struct Sharing<'a> {
    identity: &'a IdentityName,
    /// Of an Entra token; an api-key has none.
    scope: Option<&'a str>,
    /// Whose Entra is asked for it.
    cloud: Cloud,
    /// Whether an api-key goes out as a bearer token, as OpenAI's own API wants it.
    bearer_key: bool,
}

impl Identities {
    /// One credential for each identity and scope that some instance uses. No token is fetched before
    /// [`Credential::run`].
    pub fn new(
        identities: &[Arc<Identity>],
        instances: &[Arc<Instance>],
    ) -> Result<Self, IdentitiesError> {
        let mut credentials: Vec<Credential> = Vec::new();
        let (mut shared, mut clients) = (HashMap::new(), Clients::default());
        for instance in instances {
            let identity = named(identities, instance)?;
            let place = match shared.entry(Sharing::new(identity, instance)) {
                Entry::Occupied(place) => *place.get(),
                Entry::Vacant(place) => {
                    credentials.push(credential_of(identity, instance, &mut clients)?);
                    *place.insert(credentials.len() - 1)
                }
            };
            credentials[place].add(&instance.name);
        }
        let credentials: Vec<_> = credentials.into_iter().map(Arc::new).collect();
        let by_instance = credentials.iter().flat_map(|credential| {
            let names = credential.instances().iter();
            names.map(|name| (name.clone(), Arc::clone(credential)))
        });
        Ok(Self {
            by_instance: by_instance.collect(),
            credentials,
        })
    }

    /// The credential of an instance: to be asked for once and kept. `None` for an instance that was not
    /// among those given to [`Identities::new`].
    pub fn credential(&self, instance: &Instance) -> Option<Arc<Credential>> {
        self.by_instance.get(&instance.name).cloned()
    }

    /// All credentials: each wants its [`Credential::run`] spawned, and has a state to show.
    pub fn credentials(&self) -> &[Arc<Credential>] {
        &self.credentials
    }

    /// What `/status` says, in the order of the instances.
    pub fn states(&self) -> Vec<CredentialState> {
        self.credentials.iter().map(|c| c.state()).collect()
    }

    /// What the metrics say: one entry for each identity that has tokens, over all of its scopes.
    pub fn summaries(&self) -> Vec<Summary> {
        let mut summaries: Vec<Summary> = Vec::new();
        for state in self.states().into_iter().filter(|s| s.scope.is_some()) {
            match summaries.iter_mut().find(|s| s.identity == state.identity) {
                Some(summary) => summary.add(&state),
                None => summaries.push(Summary::new(state)),
            }
        }
        summaries
    }
}

/// How an identity's tokens stand, whatever their scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub identity: IdentityName,
    /// The soonest end of its tokens; `None`: one is missing.
    pub expires_on: Option<SystemTime>,
    /// Token requests that failed since the start.
    pub failures: u64,
}

impl Summary {
    fn new(state: CredentialState) -> Self {
        Self {
            identity: state.identity,
            expires_on: state.expires_on,
            failures: state.failures,
        }
    }

    fn add(&mut self, state: &CredentialState) {
        // `None` is the least of all, so one that is missing stays missing.
        self.expires_on = self.expires_on.min(state.expires_on);
        self.failures += state.failures;
    }
}

impl<'a> Sharing<'a> {
    fn new(identity: &'a Identity, instance: &'a Instance) -> Self {
        let is_key = matches!(identity.proof, Proof::ApiKey(_));
        Self {
            identity: &identity.name,
            scope: (!is_key).then_some(instance.scope.as_str()),
            cloud: Cloud::of_instance(instance),
            bearer_key: is_key && instance.kind == Kind::Openai,
        }
    }
}

fn named<'a>(
    identities: &'a [Arc<Identity>],
    instance: &Instance,
) -> Result<&'a Identity, IdentitiesError> {
    let unknown = || IdentitiesError::Unknown {
        instance: instance.name.clone(),
        identity: instance.identity.clone(),
    };
    let found = identities.iter().find(|i| i.name == instance.identity);
    found.map(Arc::as_ref).ok_or_else(unknown)
}

fn credential_of(
    identity: &Identity,
    instance: &Instance,
    clients: &mut Clients,
) -> Result<Credential, IdentitiesError> {
    Credential::new(identity, instance, clients).map_err(|source| IdentitiesError::Setup {
        identity: identity.name.clone(),
        source,
    })
}

#[cfg(test)]
mod tests;
