//! Clients' tokens: whose they are, by the signing keys that Entra and other issuers publish.
//!
//! What a token must say is decided in [`crate::domain::client::token`]; here are the keys, kept fresh by a background task
//! for each issuer ([`JwksCache::run`]), the check of a signature, and the memory of tokens that were found good. A request
//! waits for an issuer only where its token names a key that isn't there.
//!
//! No token, and no part of one, is ever in an error, a log line or a `Debug` output.

mod fetch;
mod fetch_schedule;
mod jwks_cache;
mod keys;
mod token_cache;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use thiserror::Error;

use crate::{
    domain::{
        client::{
            Client, Clients,
            issuer::Issuer,
            token::{self, Rejection, jwt::Jwt},
        },
        name::IssuerName,
    },
    http_client::SetupError,
};
use jwks_cache::Missing;
pub use jwks_cache::{JwksCache, JwksCacheState};
use token_cache::TokenCache;

/// Why the issuers can't be set up.
#[derive(Debug, Error)]
#[error("issuer {issuer} can't be set up: {source}")]
pub struct IssuersError {
    issuer: IssuerName,
    source: SetupError,
}

/// Why a token lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotIdentified {
    Rejected(Rejection),
    /// None of its issuer's keys could be fetched yet: it may be good.
    NoKeysYet,
}

impl From<Rejection> for NotIdentified {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// All issuers whose tokens clients show.
#[derive(Default)]
pub struct Issuers {
    caches: Vec<Arc<JwksCache>>,
    /// By what they call themselves in a token.
    by_name: HashMap<String, Arc<JwksCache>>,
    memory: TokenCache,
    checked: AtomicU64,
}

impl Issuers {
    /// No keys are fetched before [`JwksCache::run`].
    pub fn new(issuers: &[Arc<Issuer>], clients: &Clients) -> Result<Self, IssuersError> {
        let mut all = Self::default();
        for issuer in issuers {
            let cache = JwksCache::new(issuer, clients).map_err(|source| IssuersError {
                issuer: issuer.name.clone(),
                source,
            })?;
            let cache = Arc::new(cache);
            let names = issuer
                .names()
                .map(|name| (name.to_owned(), Arc::clone(&cache)));
            all.by_name.extend(names);
            all.caches.push(cache);
        }
        Ok(all)
    }

    /// Whether there is any: if not, nothing that is sent is taken for a token.
    pub fn are_there(&self) -> bool {
        !self.caches.is_empty()
    }

    /// Whose token this is. It is checked once, and remembered until it ends.
    pub async fn identify(&self, token: &[u8]) -> Result<Arc<Client>, NotIdentified> {
        if token.len() > token::LONGEST {
            return Err(Rejection::TooLong.into());
        }
        match self.recall(token, SystemTime::now()) {
            Some(client) => Ok(client),
            None => self.check(token).await,
        }
    }

    /// Whose token this is, if it was found good before and still is. Never waits.
    pub fn recall(&self, token: &[u8], now: SystemTime) -> Option<Arc<Client>> {
        self.memory.recall(token, now)
    }

    async fn check(&self, token: &[u8]) -> Result<Arc<Client>, NotIdentified> {
        let jwt = Jwt::read(token)?;
        let name = jwt.claims.text("iss")?.unwrap_or_default();
        let cache = self.by_name.get(name).ok_or(Rejection::UnknownIssuer)?;
        if !cache.issuer.algorithms.contains(&jwt.algorithm) {
            return Err(Rejection::Algorithm.into());
        }
        let key = cache
            .key(&jwt.key_id)
            .await
            .map_err(|missing| match missing {
                Missing::Unknown => Rejection::UnknownKeyId.into(),
                Missing::NoKeysYet => NotIdentified::NoKeysYet,
            })?;
        self.checked.fetch_add(1, Ordering::Relaxed);
        key.check(&jwt)?;
        let now = SystemTime::now();
        let granted = token::judge(&cache.issuer, &cache.rules, &jwt.claims, now)?;
        let client = Arc::clone(&granted.client);
        self.memory.remember(token, granted, key);
        Ok(client)
    }

    /// Each wants its [`JwksCache::run`] spawned, and has a state to show.
    pub fn caches(&self) -> &[Arc<JwksCache>] {
        &self.caches
    }

    /// How many signatures were checked since the start.
    pub fn checked(&self) -> u64 {
        self.checked.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Issuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.caches.iter().map(|cache| &cache.issuer.name))
            .finish()
    }
}
