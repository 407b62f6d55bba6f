//! Finds clients by their certificates.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::SystemTime};

use super::{
    Client,
    certificate::{Certificate, Entry, Name, Rejected},
};

/// Whose certificates there are: by name, and for each name by who has signed it.
#[derive(Clone, Debug, Default)]
pub(super) struct Bearers(HashMap<Name, Vec<Bearer>>);

/// Who has signed the certificates of one bearer of a name, and whose they are.
type Bearer = (Option<PathBuf>, Arc<Client>);

impl Bearers {
    /// No two clients have the same name from the same authorities; the config sees to that.
    pub(super) fn new(clients: &[Arc<Client>]) -> Self {
        let mut bearers: HashMap<_, Vec<Bearer>> = HashMap::new();
        for client in clients {
            for Entry { name, ca } in client.certificates.iter().cloned() {
                let bearer = (ca, Arc::clone(client));
                bearers.entry(name).or_default().push(bearer);
            }
        }
        Self(bearers)
    }

    /// Whose certificate this is; `None`: nobody's.
    pub(super) fn bearer(
        &self,
        certificate: &Certificate,
        now: SystemTime,
    ) -> Result<Option<&Arc<Client>>, Rejected> {
        let named = certificate.names.iter().filter_map(|name| self.0.get(name));
        let mut found = named
            .flatten()
            .filter(|(ca, _)| certificate.is_signed_by(ca.as_ref()))
            .map(|(_, client)| client);
        let Some(client) = found.next() else {
            return Ok(None);
        };
        if found.any(|other| other.name != client.name) {
            return Err(Rejected::Ambiguous);
        }
        if now <= certificate.until {
            Ok(Some(client))
        } else {
            Err(Rejected::Ended)
        }
    }
}
