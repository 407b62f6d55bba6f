//! The bearer tokens of this simulation: issued, remembered with their audience, revoked.
//!
//! Knows what a good token is; the endpoints that hand tokens out are in `token_endpoint.rs`.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use serde::Deserialize;

use super::{books::TokenBook, encode};

/// The audiences that Azure OpenAI accepts (AZURE, fact 7).
const AUDIENCES: [&str; 2] = ["cognitiveservices.azure.com", "ai.azure.com"];

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
pub(crate) struct Mint {
    lifetime: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: fastrand::Rng,
    out: HashMap<String, Issued>,
    book: TokenBook,
    fault: Option<TokenFault>,
}

#[derive(Debug)]
struct Issued {
    until: Instant,
    fits: bool,
    /// It has opened an instance.
    used: bool,
}

impl Mint {
    pub(crate) fn new(lifetime: Duration, seed: u64) -> Self {
        let state = State {
            rng: fastrand::Rng::with_seed(seed),
            out: HashMap::new(),
            book: TokenBook::default(),
            fault: None,
        };
        Self {
            lifetime,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// A new token for this audience, whether or not anybody accepts it: Entra doesn't ask either.
    pub(crate) fn issue(&self, audience: &str, client: &str, now: Instant) -> String {
        let mut state = self.state.lock();
        let token = token(audience, client, self.lifetime, &mut state.rng);
        state.out.retain(|_, issued| issued.until > now);
        state.out.insert(
            token.clone(),
            Issued {
                until: now + self.lifetime,
                fits: fits(audience),
                used: false,
            },
        );
        state.book.issued += 1;
        let to = format!("{client} {audience}");
        *state.book.issued_to.entry(to).or_default() += 1;
        token
    }

    /// Whether this token opens an instance now.
    pub(crate) fn accepts(&self, token: &str, now: Instant) -> bool {
        let mut state = self.state.lock();
        let State { out, book, .. } = &mut *state;
        let good = out.get_mut(token);
        let Some(issued) = good.filter(|issued| issued.fits && issued.until > now) else {
            return false;
        };
        book.used += u64::from(!issued.used);
        issued.used = true;
        true
    }

    pub(crate) fn note_asked(&self) {
        self.state.lock().book.asked += 1;
    }

    /// From now on none of the tokens issued so far is good.
    pub(crate) fn revoke(&self) {
        self.state.lock().out.clear();
    }

    pub(crate) fn refuse(&self) {
        self.state.lock().book.refused += 1;
    }

    pub(crate) fn book(&self) -> TokenBook {
        self.state.lock().book.clone()
    }

    pub(crate) fn clear_book(&self) {
        self.state.lock().book = TokenBook::default();
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

/// `https://cognitiveservices.azure.com/`, with or without scheme, slash and `.default`.
fn fits(audience: &str) -> bool {
    let host = audience
        .trim_start_matches("https://")
        .trim_end_matches(".default")
        .trim_end_matches('/');
    AUDIENCES.contains(&host)
}

/// Three parts, as a JWT has; the signature is noise.
fn token(audience: &str, client: &str, lifetime: Duration, rng: &mut fastrand::Rng) -> String {
    let now = unix_seconds();
    let claims = serde_json::json!({
        "aud": audience, "iss": "https://sts.windows.net/simulator/", "iat": now, "nbf": now,
        "exp": now + lifetime.as_secs(), "oid": encode::uuid(rng), "appid": client, "ver": "1.0",
    });
    let mut signature = [0; 64];
    rng.fill(&mut signature);
    let head = encode::base64url(br#"{"typ":"JWT","alg":"RS256","kid":"simulator"}"#);
    [
        head,
        encode::base64url(claims.to_string().as_bytes()),
        encode::base64url(&signature),
    ]
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

    fn mint() -> Mint {
        Mint::new(Duration::from_secs(60), 7)
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        let (mint, t) = (mint(), Instant::now());
        let token = mint.issue(AUDIENCE, "c", t);
        assert!(mint.accepts(&token, t + Duration::from_secs(59)));
        assert!(!mint.accepts(&token, t + Duration::from_secs(60)));
        assert_eq!(token.split('.').count(), 3);
    }

    #[test]
    fn a_token_for_another_audience_opens_nothing() {
        let (mint, t) = (mint(), Instant::now());
        let token = mint.issue("https://management.azure.com/", "c", t);
        assert!(!mint.accepts(&token, t));
        for audience in [
            "https://ai.azure.com/.default",
            "https://cognitiveservices.azure.com/",
        ] {
            assert!(mint.accepts(&mint.issue(audience, "c", t), t), "{audience}");
        }
    }

    #[test]
    fn revoked_tokens_are_refused_and_later_ones_are_not() {
        let (mint, t) = (mint(), Instant::now());
        let old = mint.issue(AUDIENCE, "c", t);
        mint.revoke();
        assert!(!mint.accepts(&old, t));
        assert!(mint.accepts(&mint.issue(AUDIENCE, "c", t), t));
        assert_eq!(mint.book().issued, 2);
    }
}
