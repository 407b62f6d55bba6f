//! Who may call: a client proves who it is by a credential of its own, and may use the models it was given.

pub mod certificate;
pub mod credential;
pub mod issuer;
pub mod key;
mod operations;
pub mod token;

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use super::{
    name::{ClientName, IssuerName, ModelName},
    quota::ClientLimits,
};
use certificate::{Bearers, Certificate, Rejected};
use key::Keys;
pub use key::{KeyHash, KeyHashError};
pub use operations::Operations;

/// Which models a client may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Models {
    All,
    These(BTreeSet<ModelName>),
}

/// Who calls: one entry of `clients:`. It has at least one way to prove itself.
#[derive(Clone, Debug)]
pub struct Client {
    pub name: ClientName,
    /// Hashes of its keys, two at most.
    pub keys: Vec<KeyHash>,
    /// What its tokens say, by issuer.
    pub tokens: Vec<token::Rule>,
    /// What its certificates say: any one of these.
    pub certificates: Vec<certificate::Entry>,
    pub models: Models,
    pub operations: Operations,
    pub limits: ClientLimits,
    /// Whether its prompts are kept: the operator's word, for this client alone.
    pub log_prompts: bool,
}

impl Client {
    /// One that may use every model, for inference, and can't prove itself yet.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            keys: Vec::new(),
            tokens: Vec::new(),
            certificates: Vec::new(),
            models: Models::All,
            operations: Operations::INFERENCE,
            limits: ClientLimits::default(),
            log_prompts: false,
        }
    }

    pub fn may_use(&self, model: &str) -> bool {
        match &self.models {
            Models::All => true,
            Models::These(models) => models.contains(model),
        }
    }
}

/// Everyone who may call.
#[derive(Clone, Debug)]
pub enum Clients {
    /// `anonymous: true`: whoever reaches the listener, under one name.
    Anyone(Arc<Client>),
    /// `clients:`, each by a credential of its own.
    Listed(Listed),
}

/// The clients, and where to look for one by what it shows.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    all: Vec<Arc<Client>>,
    keys: Keys,
    bearers: Bearers,
}

impl Clients {
    /// The client of `anonymous: true`. It may have inference alone: what outlives a request is for somebody with a name.
    pub fn anyone() -> Self {
        Self::Anyone(Arc::new(Client::named("anonymous")))
    }

    /// These, and nobody else. The config has made sure that no two of them share a credential.
    pub fn listed(clients: impl IntoIterator<Item = Client>) -> Self {
        let all: Vec<_> = clients.into_iter().map(Arc::new).collect();
        let (keys, bearers) = (Keys::of(&all), Bearers::of(&all));
        Self::Listed(Listed { all, keys, bearers })
    }

    /// Each of them once.
    pub fn all(&self) -> &[Arc<Client>] {
        match self {
            Self::Anyone(client) => std::slice::from_ref(client),
            Self::Listed(listed) => &listed.all,
        }
    }

    /// What the tokens of an issuer must say, and whose they are then.
    pub fn rules(&self, issuer: &IssuerName) -> Vec<token::Ruled> {
        let each = |client: &Arc<Client>| {
            let client = Arc::clone(client);
            let rules = client.tokens.clone();
            rules
                .into_iter()
                .map(move |rule| (rule, Arc::clone(&client)))
        };
        let all = self.all().iter().flat_map(each);
        all.filter(|(rule, _)| rule.issuer == *issuer).collect()
    }

    /// Whose certificate this is; `None`: nobody's.
    pub fn by_certificate(
        &self,
        certificate: &Certificate,
        now: SystemTime,
    ) -> Result<Option<&Arc<Client>>, Rejected> {
        match self {
            Self::Anyone(client) => Ok(Some(client)),
            Self::Listed(listed) => listed.bearers.bearer(certificate, now),
        }
    }

    /// Whose key this is.
    pub fn by_key(&self, key: &[u8]) -> Option<&Arc<Client>> {
        match self {
            Self::Anyone(client) => Some(client),
            Self::Listed(listed) => listed.keys.find(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_use_its_models_only() {
        let models = Models::These(BTreeSet::from(["gpt-4o".into()]));
        let client = Client {
            models,
            ..Client::named("app")
        };
        assert!(client.may_use("gpt-4o") && !client.may_use("gpt-4"));
    }
}
