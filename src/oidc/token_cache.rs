//! Cache of accepted tokens, by their digest, until they expire.
//!
//! Only good ones are: whoever sends others fills nothing. It holds a fixed number, and of more than that drops those that
//! are seldom used first, so that many tokens that come once don't drive out those that come again.

use std::{sync::Arc, time::SystemTime};

use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::keys::Key;
use crate::domain::client::{Client, token::Granted};

/// How many: a token's owner is rarely more than one application or person.
const MOST: usize = 16_384;

/// Of the whole token, its signature included. That two tokens have the same one is as unlikely as a forged signature, so
/// finding it is proof enough; it is no secret, and what a look-up's timing tells of it is of no use (`client::key`).
type Digest = [u8; 32];

pub(super) struct TokenCache(Cache<Digest, Remembered>);

#[derive(Clone)]
struct Remembered {
    client: Arc<Client>,
    until: SystemTime,
    key: Arc<Key>,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl TokenCache {
    pub(super) fn recall(&self, token: &[u8], now: SystemTime) -> Option<Arc<Client>> {
        let digest = digest(token);
        let found = self.0.get(&digest)?;
        if now >= found.until || found.key.is_withdrawn() {
            self.0.remove(&digest);
            return None;
        }
        Some(found.client)
    }

    pub(super) fn remember(&self, token: &[u8], granted: Granted, key: Arc<Key>) {
        let Granted { client, until } = granted;
        self.0
            .insert(digest(token), Remembered { client, until, key });
    }
}

fn digest(token: &[u8]) -> Digest {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::oidc::keys::Keys;

    fn key() -> (Keys, Arc<Key>) {
        let json = br#"{"keys":[{"kid":"k","kty":"RSA","n":"AQAB","e":"AQAB"}]}"#;
        let keys = Keys::read(json, None, None).unwrap();
        let key = Arc::clone(keys.find("k").unwrap());
        (keys, key)
    }

    fn granted(until: SystemTime) -> Granted {
        let client = Arc::new(Client::named("app"));
        Granted { client, until }
    }

    #[test]
    fn a_token_is_remembered_to_the_letter_until_it_ends() {
        let (memory, (_keys, key)) = (TokenCache::default(), key());
        let now = SystemTime::now();
        let end = now + Duration::from_secs(60);
        memory.remember(b"token", granted(end), key);
        let client = memory.recall(b"token", end - Duration::from_nanos(1));
        assert_eq!(client.unwrap().name.as_str(), "app");
        assert!(memory.recall(b"tokem", now).is_none());
        assert!(memory.recall(b"token", end).is_none());
        // Nor is it kept beyond that, whatever the clock does.
        assert!(memory.recall(b"token", now).is_none());
    }

    #[test]
    fn what_a_withdrawn_key_signed_is_forgotten() {
        let (memory, (keys, key)) = (TokenCache::default(), key());
        let now = SystemTime::now();
        memory.remember(b"token", granted(now + Duration::from_secs(60)), key);
        assert!(memory.recall(b"token", now).is_some());
        keys.make_way_for(&Keys::default());
        assert!(memory.recall(b"token", now).is_none());
    }

    #[test]
    fn a_flood_of_tokens_neither_grows_the_memory_nor_drives_out_the_one_in_use() {
        let (memory, (_keys, key)) = (TokenCache::default(), key());
        let now = SystemTime::now();
        let until = now + Duration::from_secs(60);
        memory.remember(b"in use", granted(until), Arc::clone(&key));
        for number in 0..10 * MOST {
            memory.remember(&number.to_be_bytes(), granted(until), Arc::clone(&key));
            if number % 100 == 0 {
                assert!(memory.recall(b"in use", now).is_some(), "after {number}");
            }
        }
        assert!(memory.0.len() <= MOST);
    }
}
