//! Finds clients by their keys.

use std::{collections::HashMap, sync::Arc};

use super::{
    Client,
    key::{KeyHash, LONGEST},
};

/// Whose key is whose.
///
/// The look-up's timing tells nothing of a key. What steers it is the hash of what was sent, which nobody can aim: to
/// learn a known hash's next bit from a slower answer one would need a key whose hash agrees up to there, and each
/// further bit doubles the tries. Even a whole hash, as the config holds it, is no key. Beside that the map is keyed with
/// random numbers of this process, and the last comparison looks at every byte.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(HashMap<KeyHash, Arc<Client>>);

impl Keys {
    pub(super) fn new(clients: &[Arc<Client>]) -> Self {
        let each = |client: &Arc<Client>| {
            let client = Arc::clone(client);
            let keys = client.keys.clone();
            keys.into_iter().map(move |key| (key, Arc::clone(&client)))
        };
        Self(clients.iter().flat_map(each).collect())
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<&Arc<Client>> {
        if key.is_empty() || key.len() > LONGEST {
            return None;
        }
        let hash = KeyHash::of(key);
        let (known, client) = self.0.get_key_value(&hash)?;
        known.is(&hash).then_some(client)
    }
}
