//! The headers of Azure's answers (wire facts: Response headers).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{encode, limits::LimitState};

const LIMIT_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const LIMIT_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-limit-tokens");
const REMAINING_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const REMAINING_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-tokens");
const RESET_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-reset-requests");
const RESET_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-reset-tokens");
const UTILIZATION: HeaderName = HeaderName::from_static("azure-openai-deployment-utilization");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

/// What every answer of an Azure instance carries.
pub(crate) fn azure(region: &HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(24);
    let fixed = [
        (
            "strict-transport-security",
            "max-age=31536000; includeSubDomains; preload",
        ),
        ("x-content-type-options", "nosniff"),
        ("x-accel-buffering", "no"),
        ("x-ms-rai-invoked", "true"),
        ("azureml-model-session", "d001-simulator"),
        ("x-envoy-upstream-service-time", "1"),
    ];
    for (name, value) in fixed {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers.insert(HeaderName::from_static("x-ms-region"), region.clone());
    headers
}

/// What differs from request to request: ids for support, the caller's own echoed, and an affinity cookie.
pub(crate) fn identify(
    headers: &mut HeaderMap,
    request: &HeaderMap,
    azure: bool,
    rng: &mut fastrand::Rng,
) {
    let id = text(&encode::uuid(rng));
    if azure {
        headers.insert(HeaderName::from_static("apim-request-id"), id.clone());
        headers.insert(HeaderName::from_static("x-ms-request-id"), id.clone());
        let echo = request
            .get(CLIENT_REQUEST_ID)
            .cloned()
            .unwrap_or(HeaderValue::from_static("Not-Set"));
        headers.insert(CLIENT_REQUEST_ID, echo);
        let affinity = format!(
            "ARRAffinity={:016x}; Path=/; HttpOnly; Secure; SameSite=None",
            rng.u64(..)
        );
        headers.insert(header::SET_COOKIE, text(&affinity));
    }
    headers.insert(HeaderName::from_static("x-request-id"), id);
}

/// Forgets what a limit said of itself.
pub(crate) fn remove_limit_headers(headers: &mut HeaderMap) {
    headers.remove(UTILIZATION);
}

/// How many of a request's headers are custom: neither HTTP's own nor Azure's key.
pub(crate) fn custom(headers: &HeaderMap) -> usize {
    headers
        .keys()
        .filter(|name| !is_known(name.as_str()))
        .count()
}

fn is_known(name: &str) -> bool {
    const STARTS: [&str; 5] = ["accept", "if-", "sec-", "content-", "proxy-"];
    matches!(
        name,
        "api-key"
            | "authorization"
            | "cache-control"
            | "connection"
            | "cookie"
            | "date"
            | "expect"
            | "forwarded"
            | "from"
            | "host"
            | "keep-alive"
            | "max-forwards"
            | "origin"
            | "pragma"
            | "priority"
            | "range"
            | "referer"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "user-agent"
            | "via"
    ) || STARTS.iter().any(|start| name.starts_with(start))
}

/// Who asks, where the caller's own id of the request says so: `WHO/…`.
pub(crate) fn caller(request: &HeaderMap) -> Option<String> {
    let id = request.get(CLIENT_REQUEST_ID)?.to_str().ok()?;
    let (caller, _) = id.split_once('/')?;
    Some(caller.to_owned())
}

/// What the deployment's limit says of itself.
/// `tells_reset`: also when it is over.
pub(crate) fn insert_limit_headers(
    headers: &mut HeaderMap,
    limit_state: &LimitState,
    tells_reset: bool,
) {
    match *limit_state {
        LimitState::Unlimited => {}
        LimitState::Ptu { utilization } => {
            if let Some(utilization) = utilization {
                headers.insert(UTILIZATION, text(&format!("{utilization:.1}%")));
            }
        }
        LimitState::Standard {
            limit_requests,
            limit_tokens,
            remaining_requests,
            remaining_tokens,
            reset_requests,
            reset_tokens,
        } => {
            headers.insert(LIMIT_REQUESTS, limit_requests.into());
            headers.insert(LIMIT_TOKENS, limit_tokens.into());
            headers.insert(REMAINING_REQUESTS, remaining_requests.into());
            headers.insert(REMAINING_TOKENS, remaining_tokens.into());
            if tells_reset {
                headers.insert(RESET_REQUESTS, reset_requests.as_secs().max(1).into());
                headers.insert(RESET_TOKENS, reset_tokens.as_secs().max(1).into());
            }
        }
    }
}

/// A header value of text that is known to be plain; what isn't becomes empty.
pub(crate) fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""))
}
