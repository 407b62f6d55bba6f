//! Tokens that were found good, remembered by their digest until they end.
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

pub(super) struct Memory(Cache<Digest, Remembered>);

#[derive(Clone)]
struct Remembered {
    client: Arc<Client>,
    until: SystemTime,
    key: Arc<Key>,
}

impl Default for Memory {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl Memory {
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
