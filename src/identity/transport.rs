//! How token requests travel: one shared client that knows no proxy and follows no redirect.
//!
//! It goes to the configured authority where one stands in for Azure's own, and turns every failure into a
//! [`FetchError`] that is safe to print. An answer that is no token never reaches `azure_identity`, which would
//! try again on a schedule of its own and put the answer's text into its errors.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use azure_core::{
    error::{Error, ErrorKind},
    http::{AsyncRawResponse, HttpClient, Request, headers::Headers},
};
use bytes::BytesMut;
use futures_util::TryStreamExt;
use parking_lot::Mutex;
use serde_json::Value;
use url::{Host, Url};

use super::source::{FetchError, SetupError};

/// A token answer is a few kilobytes; a longer one is none.
const LARGEST: usize = 256 << 10;

/// What may go there unencrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Requests hold nothing secret, and their way doesn't leave the machine: IMDS.
    ThisMachine,
    /// Requests hold a secret: https, or loopback.
    Encrypted,
}

/// The place that token requests go to.
#[derive(Clone)]
pub(super) struct Authority {
    client: reqwest::Client,
    /// Its scheme, host and port replace those of every request.
    instead: Option<Url>,
}

impl Authority {
    /// `instead`: what stands in for Azure's own.
    pub(super) fn new(
        instead: Option<&str>,
        trust: Trust,
        client: &mut SharedClient,
    ) -> Result<Self, SetupError> {
        let instead = instead.map(|text| stand_in(text, trust)).transpose()?;
        let client = client.client()?;
        Ok(Self { client, instead })
    }

    /// For one token request.
    pub(super) fn call(&self) -> Arc<Call> {
        Arc::new(Call {
            authority: self.clone(),
            failure: Mutex::default(),
        })
    }

    fn redirect(&self, url: &mut Url) {
        let Some(instead) = &self.instead else { return };
        // None of these can fail: both are http or https, and `instead` has a host.
        let _ = url.set_scheme(instead.scheme());
        let _ = url.set_host(instead.host_str());
        let _ = url.set_port(instead.port());
    }
}

fn stand_in(text: &str, trust: Trust) -> Result<Url, SetupError> {
    let wrong = || SetupError::Authority(text.to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    let plain = url.path() == "/" && url.query().is_none() && url.username().is_empty();
    if !plain || !matches!(url.scheme(), "http" | "https") {
        return Err(wrong());
    }
    if trust == Trust::Encrypted && url.scheme() == "http" && !is_loopback(&url) {
        return Err(SetupError::Insecure(text.to_owned()));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// The one client of all identities, made when the first of them needs it.
#[derive(Default)]
pub(super) struct SharedClient(Option<reqwest::Client>);

impl SharedClient {
    fn client(&mut self) -> Result<reqwest::Client, SetupError> {
        match &self.0 {
            Some(client) => Ok(client.clone()),
            None => Ok(self.0.insert(new_client()?).clone()),
        }
    }
}

/// IMDS must never be asked through a proxy, not even one of the environment (AZURE.md 12).
fn new_client() -> Result<reqwest::Client, SetupError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error says that another thread has just installed one, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(3))
        .build()?;
    Ok(client)
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
        self.authority.redirect(request.url_mut());
        let host = request.url().authority().to_owned();
        let unreachable = |error: Error| {
            let (host, reason) = (host.clone(), root_cause(&error));
            self.fail(FetchError::Unreachable { host, reason })
        };
        let answer = self.authority.client.execute_request(&request).await;
        let (status, headers, body) = answer.map_err(&unreachable)?.deconstruct();
        let body = within_limits(body).await.map_err(&unreachable)?;
        if status.is_success() {
            return Ok(AsyncRawResponse::from_bytes(status, headers, body));
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

async fn within_limits(
    mut body: azure_core::http::AsyncResponseBody,
) -> azure_core::Result<BytesMut> {
    let mut whole = BytesMut::new();
    while let Some(part) = body.try_next().await? {
        if whole.len() + part.len() > LARGEST {
            return Err(Error::with_message(ErrorKind::Io, "its answer has no end"));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

/// The operating system's or the TLS library's own words, which name no URL and no content.
fn root_cause(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
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
    fn an_authority_is_https_or_loopback_unless_it_is_imds() {
        let is_good = |text, trust| stand_in(text, trust).is_ok();
        assert!(is_good(
            "https://login.microsoftonline.us",
            Trust::Encrypted
        ));
        assert!(is_good("http://127.0.0.1:9000", Trust::Encrypted));
        assert!(is_good("http://[::1]:9000/", Trust::Encrypted));
        assert!(is_good("http://169.254.1.1", Trust::ThisMachine));
        for text in [
            "http://login.test",
            "ftp://a",
            "a",
            "https://a/b",
            "https://a?b",
            "https://u@a",
        ] {
            assert!(!is_good(text, Trust::Encrypted), "{text}");
        }
    }

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
