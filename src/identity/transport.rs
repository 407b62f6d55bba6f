//! How token requests travel: a client that knows no proxy and follows no redirect.
//!
//! It goes to the configured authority where one stands in for Azure's own, and turns every failure into a
//! [`FetchError`] that is safe to print. An answer that is no token never reaches `azure_identity`, which would
//! try again on a schedule of its own and put the answer's text into its errors.

use std::{
    cell::OnceCell,
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use azure_core::{
    error::{Error, ErrorKind},
    http::{AsyncRawResponse, HttpClient, Request, headers::Headers},
};
use bytes::Bytes;
use futures_util::TryStreamExt;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;
use zeroize::Zeroizing;

use super::{
    error::{FetchError, SetupError},
    token_endpoint::{TokenEndpoint, own, stand_in},
};
use crate::http_client::{self, root_cause};

/// A token answer is a few kilobytes; a longer one is none.
const LARGEST: usize = 256 << 10;

/// How IMDS is asked, and what App Service's endpoint alone is shown.
const IMDS_PATH: &str = "/metadata/identity/oauth2/token";
const APP_SERVICE_SECRET: &str = "x-identity-header";

/// A VM's IMDS takes five token requests at once, those of others on the machine counted in (wire facts: Tokens).
const IMDS_AT_ONCE: usize = 3;

/// The place that token requests go to.
#[derive(Clone)]
pub(super) struct Authority {
    client: reqwest::Client,
    endpoint: TokenEndpoint,
    /// Scheme, host and port.
    origin: Url,
    /// Whether they replace those of every request.
    stands_in: bool,
    /// IMDS refuses what comes at once.
    turns: Option<Arc<Semaphore>>,
}

impl Authority {
    /// `instead`: what stands in for Azure's own. `ca`: authorities that may have signed its certificate, beside the
    /// system's.
    pub(super) fn new(
        endpoint: TokenEndpoint,
        instead: Option<&str>,
        ca: Option<&Path>,
        clients: &mut Clients,
    ) -> Result<Self, SetupError> {
        let origin = match instead {
            Some(text) => stand_in(text, endpoint)?,
            None => own(endpoint)?,
        };
        Ok(Self {
            client: clients.client(ca)?,
            endpoint,
            origin,
            stands_in: instead.is_some(),
            turns: (endpoint == TokenEndpoint::Imds).then(|| clients.imds()),
        })
    }

    /// Waits until it may be asked: to be held while it is.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let turns = self.turns.as_ref()?;
        // It is never closed.
        turns.acquire().await.ok()
    }

    pub(super) fn endpoint(&self) -> TokenEndpoint {
        self.endpoint
    }

    /// Scheme, host and port, as `/status` shows them.
    pub(super) fn origin(&self) -> String {
        self.origin.origin().ascii_serialization()
    }

    /// Where a tenant's token requests go, and what an assertion for it is addressed to.
    pub(super) fn token_endpoint(&self, tenant: &str) -> String {
        format!("{}/{tenant}/oauth2/v2.0/token", self.origin())
    }

    /// For one token request.
    pub(super) fn call(&self) -> Arc<Call> {
        Arc::new(Call {
            authority: self.clone(),
            failure: Mutex::default(),
        })
    }

    fn redirect(&self, request: &mut Request) {
        if !self.stands_in {
            return;
        }
        let (url, instead) = (request.url_mut(), &self.origin);
        // None of these can fail: both are http or https, and `instead` has a host.
        let _ = url.set_scheme(instead.scheme());
        let _ = url.set_host(instead.host_str());
        let _ = url.set_port(instead.port());
        if self.endpoint == TokenEndpoint::Imds {
            // Where App Service's variables are set, azure_identity has built its request instead, with its secret.
            url.set_path(IMDS_PATH);
            request.headers_mut().remove(APP_SERVICE_SECRET);
        }
    }
}

/// One client for all identities that trust the same authorities, made when the first of them needs it.
#[derive(Default)]
pub(super) struct Clients {
    by_ca: HashMap<Option<PathBuf>, reqwest::Client>,
    imds: OnceCell<Arc<Semaphore>>,
}

impl Clients {
    fn imds(&self) -> Arc<Semaphore> {
        let new = || Arc::new(Semaphore::new(IMDS_AT_ONCE));
        Arc::clone(self.imds.get_or_init(new))
    }

    fn client(&mut self, ca: Option<&Path>) -> Result<reqwest::Client, SetupError> {
        let key = ca.map(Path::to_path_buf);
        if let Some(client) = self.by_ca.get(&key) {
            return Ok(client.clone());
        }
        // IMDS must never be asked through a proxy (wire facts: Tokens): this one knows none.
        let client = http_client::client(ca, |it| it)?;
        self.by_ca.insert(key, client.clone());
        Ok(client)
    }
}

/// One token request's transport. It keeps the failure, so that its cause isn't lost in `azure_identity`'s errors.
pub(super) struct Call {
    authority: Authority,
    failure: Mutex<Option<FetchError>>,
}

impl Call {
    /// Why the request failed; `None`: an answer came, and wasn't understood.
    pub(super) fn failure(&self) -> Option<FetchError> {
        self.failure.lock().clone()
    }

    /// Keeps the failure, and ends the request in a way that nobody tries again.
    fn fail(&self, failure: FetchError) -> Error {
        let error = Error::with_message(ErrorKind::Credential, failure.to_string());
        *self.failure.lock() = Some(failure);
        error
    }
}

#[async_trait::async_trait]
impl HttpClient for Call {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut request = request.clone();
        self.authority.redirect(&mut request);
        let host = request.url().authority().to_owned();
        let unreachable = |error: Error| {
            let (host, reason) = (host.clone(), root_cause(&error));
            self.fail(FetchError::Unreachable { host, reason })
        };
        let answer = self.authority.client.execute_request(&request).await;
        let (status, headers, body) = answer.map_err(&unreachable)?.deconstruct();
        let body = within_limits(body).await.map_err(&unreachable)?;
        if status.is_success() {
            return Ok(AsyncRawResponse::from_bytes(
                status,
                headers,
                Bytes::from_owner(body),
            ));
        }
        Err(self.fail(FetchError::Answered {
            host,
            status: status.into(),
            codes: codes(&body),
            retry_after: retry_after(&headers),
        }))
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Call")
    }
}

/// The whole answer, in memory that is wiped: it holds a token.
async fn within_limits(
    mut body: azure_core::http::AsyncResponseBody,
) -> azure_core::Result<Zeroizing<Vec<u8>>> {
    // From the start as large as most are: what grows is copied, and the old copy not wiped.
    let mut whole = Zeroizing::new(Vec::with_capacity(8 << 10));
    while let Some(part) = body.try_next().await? {
        if whole.len() + part.len() > LARGEST {
            return Err(Error::with_message(ErrorKind::Io, "its answer is too long"));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

fn retry_after(headers: &Headers) -> Option<Duration> {
    let value = headers.get_optional_str(&"retry-after".into())?;
    value.parse().ok().map(Duration::from_secs)
}

/// The names and numbers by which Microsoft finds a failure again: `: invalid_client AADSTS7000215 trace …`.
/// Its description is left out: free text could repeat what was sent.
fn codes(body: &[u8]) -> String {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return String::new();
    };
    let mut words: Vec<String> = body["error"].as_str().and_then(code).into_iter().collect();
    let numbers = body["error_codes"].as_array().into_iter().flatten();
    words.extend(
        numbers
            .take(5)
            .filter_map(Value::as_u64)
            .map(|n| format!("AADSTS{n}")),
    );
    for (name, field) in [("trace", "trace_id"), ("correlation", "correlation_id")] {
        let id = body[field].as_str().and_then(code);
        words.extend(id.map(|id| format!("{name} {id}")));
    }
    match words.is_empty() {
        true => String::new(),
        false => format!(": {}", words.join(" ")),
    }
}

/// A short word of letters, digits, `_` and `-`: anything else is no code.
fn code(text: &str) -> Option<String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let is_code = !text.is_empty() && text.len() <= 40 && text.bytes().all(fits);
    is_code.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_codes_and_nothing_else() {
        let entra =
            br#"{"error":"invalid_client","error_description":"the secret 'swordfish' is wrong",
            "error_codes":[7000215],"trace_id":"0-a","correlation_id":"1-b"}"#;
        assert_eq!(
            codes(entra),
            ": invalid_client AADSTS7000215 trace 0-a correlation 1-b"
        );
        assert_eq!(codes(br#"{"error":"it is: swordfish"}"#), "");
        assert_eq!(codes(b"<html>"), "");
    }
}
