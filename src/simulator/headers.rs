//! The headers of Azure's answers (wire facts: Response headers).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use super::{encode, limits::LimitState};

/// What a provisioned deployment says of its limit.
pub(crate) const UTILIZATION: &str = "azure-openai-deployment-utilization";
const CLIENT_REQUEST_ID: &str = "x-ms-client-request-id";

/// What every answer of an Azure instance carries.
pub(crate) fn azure(region: &str) -> HeaderMap {
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
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("x-ms-region", text(region));
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
        headers.insert("apim-request-id", id.clone());
        headers.insert("x-ms-request-id", id.clone());
        let echo = request.get(CLIENT_REQUEST_ID).cloned();
        let echo = echo.unwrap_or(HeaderValue::from_static("Not-Set"));
        headers.insert(CLIENT_REQUEST_ID, echo);
        let affinity = format!(
            "ARRAffinity={:016x}; Path=/; HttpOnly; Secure; SameSite=None",
            rng.u64(..)
        );
        headers.insert(header::SET_COOKIE, text(&affinity));
    }
    headers.insert("x-request-id", id);
}

/// How many of a request's headers are custom: neither HTTP's own nor Azure's key.
pub(crate) fn custom(headers: &HeaderMap) -> usize {
    let custom = headers.keys().filter(|name| !is_known(name.as_str()));
    custom.count()
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
        LimitState::Unlimited | LimitState::Ptu { utilization: None } => {}
        LimitState::Ptu {
            utilization: Some(utilization),
        } => {
            headers.insert(UTILIZATION, text(&format!("{utilization:.1}%")));
        }
        LimitState::Standard {
            limit_requests,
            limit_tokens,
            remaining_requests,
            remaining_tokens,
            reset_requests,
            reset_tokens,
        } => {
            headers.insert("x-ratelimit-limit-requests", limit_requests.into());
            headers.insert("x-ratelimit-limit-tokens", limit_tokens.into());
            headers.insert("x-ratelimit-remaining-requests", remaining_requests.into());
            headers.insert("x-ratelimit-remaining-tokens", remaining_tokens.into());
            if tells_reset {
                let seconds = |reset: Duration| reset.as_secs().max(1).into();
                headers.insert("x-ratelimit-reset-requests", seconds(reset_requests));
                headers.insert("x-ratelimit-reset-tokens", seconds(reset_tokens));
            }
        }
    }
}

/// A header value of text that is known to be plain; what isn't becomes empty.
pub(crate) fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""))
}
