//! Everyone who may call, and where to look for one by what it shows.

use std::{sync::Arc, time::SystemTime};

use super::{
    Client,
    by_certificate::Bearers,
    by_key::Keys,
    certificate::{Certificate, Rejected},
    token,
};
use crate::domain::name::IssuerName;

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
        let (keys, bearers) = (Keys::new(&all), Bearers::new(&all));
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
