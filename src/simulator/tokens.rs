//! The bearer tokens of this simulation: issued, remembered with their audience, revoked.
//!
//! Knows what a good token is; the endpoints that hand tokens out are in `token_endpoint.rs`.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use serde::Deserialize;

use super::{encode, recorder::TokenStats};

/// What the token endpoints do instead of their work.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenFault {
    /// This status, with the endpoint's error shape.
    Status { status: u16 },
    /// 429 with Retry-After.
    Throttle { seconds: u64 },
    /// 200 with something that isn't JSON.
    Garbage {},
    /// 200 with a token of no characters.
    Empty {},
    /// 200 with a token whose end is told so.
    ExpiresOn { value: String },
    /// The usual answer, so late.
    Slow { milliseconds: u64 },
    /// No answer at all.
    Hang {},
}

/// All tokens that are out.
#[derive(Debug)]
pub(crate) struct TokenStore {
    pub(crate) lifetime: Duration,
    /// For which part of it a machine's endpoint hands out the same token.
    kept_for: f64,
    state: Mutex<TokenStoreState>,
}

/// Whose token it is, and what for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) tenant: String,
    /// The client id of an application or identity.
    pub(crate) client: String,
    /// Without scheme, slash and `.default`.
    pub(crate) audience: String,
}

#[derive(Debug, Default)]
struct TokenStoreState {
    rng: fastrand::Rng,
    out: HashMap<String, Issued>,
    /// What a machine's own endpoint keeps, and since when, by client and audience.
    kept: HashMap<(String, String), (String, Instant)>,
    stats: TokenStats,
    fault: Option<TokenFault>,
}

#[derive(Debug)]
struct Issued {
    until: Instant,
    grant: Arc<Grant>,
    /// It has opened an instance.
    used: bool,
}

impl TokenStore {
    pub(crate) fn new(lifetime: Duration, kept_for: f64, seed: u64) -> Self {
        let state = TokenStoreState {
            rng: fastrand::Rng::with_seed(seed),
            ..TokenStoreState::default()
        };
        Self {
            lifetime,
            kept_for,
            state: Mutex::new(state),
        }
    }

    /// A new token for this audience, whether or not anybody accepts it: Entra doesn't ask either.
    pub(crate) fn issue(
        &self,
        (tenant, client): (&str, &str),
        audience: &str,
        now: Instant,
    ) -> String {
        let mut state = self.state.lock();
        let token = token(audience, (tenant, client), self.lifetime, &mut state.rng);
        let grant = Grant {
            tenant: tenant.to_owned(),
            client: client.to_owned(),
            audience: bare(audience).to_owned(),
        };
        state.out.retain(|_, issued| issued.until > now);
        let issued = Issued {
            until: now + self.lifetime,
            grant: grant.into(),
            used: false,
        };
        state.out.insert(token.clone(), issued);
        state.stats.issued += 1;
        let to = format!("{client} {audience}");
        *state.stats.issued_to.entry(to).or_default() += 1;
        token
    }

    /// As a machine's own endpoint does it, which keeps a token for a part of its life. Gives how much of that is over.
    pub(crate) fn issue_kept(
        &self,
        (tenant, client): (&str, &str),
        audience: &str,
        now: Instant,
    ) -> (String, Duration) {
        let key = (client.to_owned(), audience.to_owned());
        if let Some((token, issued)) = self.state.lock().kept.get(&key) {
            let age = now.saturating_duration_since(*issued);
            if age < self.lifetime.mul_f64(self.kept_for.clamp(0.0, 1.0)) {
                return (token.clone(), age);
            }
        }
        let token = self.issue((tenant, client), audience, now);
        let kept = (token.clone(), now);
        self.state.lock().kept.insert(key, kept);
        (token, Duration::ZERO)
    }

    /// Whose token this is and what for, if it is good now.
    pub(crate) fn find(&self, token: &str, now: Instant) -> Option<Arc<Grant>> {
        let state = self.state.lock();
        let issued = state.out.get(token);
        let good = issued.filter(|issued| issued.until > now)?;
        Some(Arc::clone(&good.grant))
    }

    /// An instance was opened with it.
    pub(crate) fn note_used(&self, token: &str) {
        let mut state = self.state.lock();
        let TokenStoreState { out, stats, .. } = &mut *state;
        if let Some(issued) = out.get_mut(token) {
            stats.used += u64::from(!issued.used);
            issued.used = true;
        }
    }

    pub(crate) fn note_asked(&self) {
        self.state.lock().stats.asked += 1;
    }

    /// From now on none of the tokens issued so far is good. `kept`: a machine's endpoint doesn't know, and goes on handing
    /// out what it keeps.
    pub(crate) fn revoke(&self, kept: bool) {
        let mut state = self.state.lock();
        state.out.clear();
        if !kept {
            state.kept.clear();
        }
    }

    pub(crate) fn refuse(&self) {
        self.state.lock().stats.refused += 1;
    }

    pub(crate) fn stats(&self) -> TokenStats {
        self.state.lock().stats.clone()
    }

    pub(crate) fn clear_stats(&self) {
        self.state.lock().stats = TokenStats::default();
    }

    pub(crate) fn set_fault(&self, fault: Option<TokenFault>) {
        self.state.lock().fault = fault;
    }

    pub(crate) fn fault(&self) -> Option<TokenFault> {
        self.state.lock().fault.clone()
    }

    pub(crate) fn uuid(&self) -> String {
        encode::uuid(&mut self.state.lock().rng)
    }
}

/// Of `https://cognitiveservices.azure.com/`, with or without scheme, slash and `.default`, the host.
pub(crate) fn bare(audience: &str) -> &str {
    let host = audience.trim_start_matches("https://");
    host.trim_end_matches(".default").trim_end_matches('/')
}

/// Three parts, as a JWT has; the signature is noise.
fn token(
    audience: &str,
    (tenant, client): (&str, &str),
    lifetime: Duration,
    rng: &mut fastrand::Rng,
) -> String {
    let now = unix_seconds();
    let claims = serde_json::json!({
        "aud": audience, "iss": format!("https://sts.windows.net/{tenant}/"), "tid": tenant, "iat": now, "nbf": now,
        "exp": now + lifetime.as_secs(), "oid": encode::uuid(rng), "appid": client, "ver": "1.0",
    });
    let mut signature = [0; 64];
    rng.fill(&mut signature);
    let head: &[u8] = br#"{"typ":"JWT","alg":"RS256","kid":"simulator"}"#;
    [head, claims.to_string().as_bytes(), &signature]
        .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part))
        .join(".")
}

pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIENCE: &str = "https://cognitiveservices.azure.com";

    fn token_store() -> TokenStore {
        TokenStore::new(Duration::from_secs(60), 0.5, 7)
    }

    const WHO: (&str, &str) = ("contoso", "c");

    #[test]
    fn a_token_is_good_until_it_expires() {
        let (token_store, t) = (token_store(), Instant::now());
        let token = token_store.issue(WHO, AUDIENCE, t);
        assert!(
            token_store
                .find(&token, t + Duration::from_secs(59))
                .is_some()
        );
        assert!(
            token_store
                .find(&token, t + Duration::from_secs(60))
                .is_none()
        );
        assert_eq!(token.split('.').count(), 3);
    }

    #[test]
    fn a_token_says_whose_it_is_and_what_for() {
        let (token_store, t) = (token_store(), Instant::now());
        for audience in [
            AUDIENCE,
            "https://cognitiveservices.azure.com/",
            "https://cognitiveservices.azure.com/.default",
        ] {
            let grant = token_store
                .find(&token_store.issue(WHO, audience, t), t)
                .unwrap();
            assert_eq!(grant.audience, "cognitiveservices.azure.com");
            assert_eq!((grant.tenant.as_str(), grant.client.as_str()), WHO);
        }
    }

    #[test]
    fn revoked_tokens_are_refused_and_later_ones_are_not() {
        let (token_store, t) = (token_store(), Instant::now());
        let old = token_store.issue(WHO, AUDIENCE, t);
        token_store.revoke(false);
        assert!(token_store.find(&old, t).is_none());
        assert!(
            token_store
                .find(&token_store.issue(WHO, AUDIENCE, t), t)
                .is_some()
        );
        assert_eq!(token_store.stats().issued, 2);
    }

    #[test]
    fn a_machines_endpoint_keeps_a_token_for_a_part_of_its_life() {
        let (token_store, t) = (token_store(), Instant::now());
        let secs = Duration::from_secs;
        let (first, _) = token_store.issue_kept(WHO, AUDIENCE, t);
        let again = token_store.issue_kept(WHO, AUDIENCE, t + secs(29));
        assert_eq!(again, (first.clone(), secs(29)));
        let other = token_store.issue_kept(("contoso", "d"), AUDIENCE, t).0;
        assert_ne!(other, first);
        token_store.revoke(true);
        assert_eq!(token_store.issue_kept(WHO, AUDIENCE, t + secs(1)).0, first);
        assert_ne!(token_store.issue_kept(WHO, AUDIENCE, t + secs(30)).0, first);
        token_store.revoke(false);
        let fresh = token_store.issue_kept(WHO, AUDIENCE, t + secs(31)).0;
        assert!(token_store.find(&fresh, t + secs(31)).is_some());
    }
}
