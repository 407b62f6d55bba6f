//! How an issuer's keys are fetched: discovery, then the keys, each bounded in time and size, no redirect followed.

use std::time::Duration;

use http::{HeaderMap, header};
use reqwest::Client;
use serde::Deserialize;
use thiserror::Error;
use url::Url;

use super::keys::Keys;
use crate::{
    domain::client::issuer::{Issuer, IssuerKind, KeysAt},
    http_client::{self, SetupError, is_loopback, root_cause},
};

/// For one answer, from the connection's start to its last byte.
const TIME: Duration = Duration::from_secs(10);
/// Entra's keys take about 20 kilobytes.
const LARGEST: usize = 1 << 20;

/// Why there are no new keys. Safe to print: it holds nothing of an answer's content.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error("{host} can't be reached: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("{host} answered {status}")]
    Answered { host: String, status: u16 },
    #[error("the answer of {host} is too long")]
    TooLong { host: String },
    #[error("the answer of {host} is not an OpenID discovery document")]
    NoDocument { host: String },
    #[error("the discovery document of {host} belongs to another issuer")]
    AnotherIssuer { host: String },
    #[error("the discovery document of {host} has no https:// address of signing keys (jwks_uri)")]
    KeysElsewhere { host: String },
    #[error("the answer of {host} contains no usable signing key")]
    NoKeys { host: String },
}

/// What the discovery document says (OpenID Connect Discovery 1.0, 3), as far as we ask.
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

/// Fetches one issuer's keys.
pub(super) struct Fetcher {
    client: Client,
}

/// New keys, and how long they may be kept, where the issuer says.
pub(super) struct Fetched {
    pub(super) keys: Keys,
    pub(super) max_age: Option<Duration>,
}

impl Fetcher {
    pub(super) fn new(issuer: &Issuer) -> Result<Self, SetupError> {
        let client = http_client::client(issuer.ca.as_deref(), |it| it.timeout(TIME))?;
        Ok(Self { client })
    }

    pub(super) async fn fetch(
        &self,
        issuer: &Issuer,
        before: Option<&Keys>,
    ) -> Result<Fetched, FetchError> {
        let at = match &issuer.keys {
            KeysAt::Jwks(url) => url.clone(),
            KeysAt::Discovery(url) => self.discover(issuer, url).await?,
        };
        let (headers, body) = self.get(&at).await?;
        let tenant = match &issuer.kind {
            IssuerKind::Entra { tenant_id, .. } => Some(tenant_id.as_str()),
            IssuerKind::Oidc => None,
        };
        let no_keys = || FetchError::NoKeys { host: host(&at) };
        Ok(Fetched {
            keys: Keys::read(&body, tenant, before).ok_or_else(no_keys)?,
            max_age: max_age(&headers),
        })
    }

    /// Where the keys are. The document must be this issuer's own, or anyone's keys could stand for its.
    async fn discover(&self, issuer: &Issuer, url: &str) -> Result<String, FetchError> {
        let (_, body) = self.get(url).await?;
        let host = host(url);
        let Ok(found) = serde_json::from_slice::<Discovered>(&body) else {
            return Err(FetchError::NoDocument { host });
        };
        match () {
            () if found.issuer != issuer.url => Err(FetchError::AnotherIssuer { host }),
            () if !is_safe(&found.jwks_uri, url) => Err(FetchError::KeysElsewhere { host }),
            () => Ok(found.jwks_uri),
        }
    }

    async fn get(&self, url: &str) -> Result<(HeaderMap, Vec<u8>), FetchError> {
        let unreachable = |error: reqwest::Error| FetchError::Unreachable {
            host: host(url),
            reason: root_cause(&error),
        };
        let request = self
            .client
            .get(url)
            .header(header::ACCEPT, "application/json");
        let mut answer = request.send().await.map_err(unreachable)?;
        if answer.status() != http::StatusCode::OK {
            let (host, status) = (host(url), answer.status().as_u16());
            return Err(FetchError::Answered { host, status });
        }
        let body = http_client::body(&mut answer, LARGEST).await;
        let body = body.map_err(unreachable)?;
        let body = body.ok_or_else(|| FetchError::TooLong { host: host(url) })?;
        Ok((std::mem::take(answer.headers_mut()), body))
    }
}

/// https, or on loopback what the issuer itself is asked by.
fn is_safe(jwks: &str, discovery: &str) -> bool {
    let (Ok(jwks), Ok(discovery)) = (Url::parse(jwks), Url::parse(discovery)) else {
        return false;
    };
    let plain_loopback = |url: &Url| url.scheme() == "http" && is_loopback(url);
    jwks.scheme() == "https" || plain_loopback(&jwks) && plain_loopback(&discovery)
}

/// What a message may say of an address.
fn host(url: &str) -> String {
    let host = Url::parse(url).map(|url| url.authority().to_owned());
    host.unwrap_or_default()
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let words = headers.get(header::CACHE_CONTROL)?.to_str().ok()?;
    let seconds = words
        .split(',')
        .find_map(|word| word.trim().strip_prefix("max-age="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_by_https_or_on_loopback() {
        let (far, near) = ("https://i.test/d", "http://127.0.0.1:1/d");
        assert!(is_safe("https://keys.test/k", far));
        assert!(is_safe("http://localhost:2/k", near) && is_safe("http://[::1]:2/k", near));
        for (jwks, discovery) in [
            ("http://keys.test/k", far),
            ("http://127.0.0.1/k", far),
            ("http://keys.test/k", near),
            ("file:///etc/passwd", near),
            ("data:,{}", far),
            ("keys", far),
        ] {
            assert!(!is_safe(jwks, discovery), "{jwks}");
        }
    }

    #[test]
    fn how_long_keys_may_be_kept_is_read_from_the_answer() {
        let told = |words: &'static str| {
            let value = http::HeaderValue::from_static(words);
            max_age(&HeaderMap::from_iter([(header::CACHE_CONTROL, value)]))
        };
        assert_eq!(
            told("max-age=86400, private"),
            Some(Duration::from_secs(86_400))
        );
        assert_eq!(told("private,max-age=60"), Some(Duration::from_secs(60)));
        assert_eq!((told("no-store"), told("max-age=x")), (None, None));
    }
}
