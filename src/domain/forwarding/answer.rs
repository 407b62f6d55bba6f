//! Which headers of a deployment's answer its client gets: those that describe the body, say when to come back, or are
//! ids and notes that Azure's support asks for. Not what would act on the gateway's own host or connections, what belongs
//! to one deployment of several, nor anything that holds the credential which the deployment was asked with.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use memchr::memmem;

/// What a deployment says of a pool's member: the gateway speaks for the pool.
const OWN: [&str; 4] = [
    "x-ratelimit-",
    "x-forebay-",
    "access-control-",
    "x-request-id",
];

/// Why an operator may not add a header.
const NEVER: [&str; 25] = [
    "alt-svc",
    "api-key",
    "authorization",
    "clear-site-data",
    "connection",
    "content-length",
    "cookie",
    "forwarded",
    "keep-alive",
    "location",
    "ocp-apim-subscription-key",
    "proxy-authenticate",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "refresh",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
    "x-api-key",
];

/// A header's name, if an operator may have it passed on.
pub(super) fn may_add(name: &str) -> Result<HeaderName, &'static str> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "this is not a header name; write one like x-team")?;
    if NEVER.contains(&name.as_str()) || OWN.iter().any(|own| name.as_str().starts_with(own)) {
        return Err(
            "this header is never forwarded: it is a credential, affects the gateway's own host or connections, or is set by the gateway; remove it",
        );
    }
    if goes_on(name.as_str()) {
        return Err("this header is always forwarded; remove it");
    }
    Ok(name)
}

/// Whether every client gets this header of an answer (wire facts: Response headers).
fn goes_on(name: &str) -> bool {
    matches!(
        name,
        // What describes the body. How it is framed is the engine's matter.
        "cache-control"
            | "content-disposition"
            | "content-encoding"
            | "content-language"
            | "content-length"
            | "content-type"
            | "transfer-encoding"
            | "x-accel-buffering"
            | "x-content-type-options"
            // When, and whether, to come back.
            | "retry-after"
            | "retry-after-ms"
            | "x-should-retry"
            // Notes on the API, and on what was done.
            | "date"
            | "deprecation"
            | "sunset"
            | "warning"
            | "apim-request-id"
            | "azureml-model-session"
            | "ms-azureml-model-error-reason"
            | "ms-azureml-model-error-statuscode"
            | "ms-azureml-model-time"
            | "openai-model"
            | "openai-processing-ms"
            | "openai-version"
            | "x-envoy-upstream-service-time"
            | "x-ms-client-request-id"
            | "x-ms-error-code"
            | "x-ms-rai-invoked"
            | "x-ms-region"
            | "x-ms-request-id"
            | "x-ms-throttle-scope"
            // A WebSocket's handshake.
            | "sec-websocket-accept"
            | "sec-websocket-extensions"
            | "sec-websocket-protocol"
            // The simulator's own: who answered what.
            | "x-simulator-body-sha256"
            | "x-simulator-deployment"
    )
}

/// The names that stay here. One look at each header: most go on. `secret`: what the deployment was asked with.
pub(super) fn staying(
    headers: &HeaderMap,
    more: &[HeaderName],
    secret: Option<&HeaderValue>,
) -> Vec<HeaderName> {
    let secret = secret.map(bare).unwrap_or_default();
    let holds = |value: &HeaderValue| {
        let value = value.as_bytes();
        value.len() >= secret.len() && memmem::find(value, secret).is_some()
    };
    let named = nominated(headers);
    let stays = |name: &&HeaderName| {
        !(goes_on(name.as_str()) || more.contains(name))
            || named.contains(name)
            || !secret.is_empty() && headers.get_all(*name).iter().any(holds)
    };
    headers.keys().filter(stays).cloned().collect()
}

/// A credential without the word before it.
pub(super) fn bare(value: &HeaderValue) -> &[u8] {
    let value = value.as_bytes();
    value.strip_prefix(b"Bearer ").unwrap_or(value)
}

/// What `Connection` says is for this connection alone (RFC 9110, 7.6.1), but for how the body is framed.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let named = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    named
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| ![header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(headers: &[(&'static str, &'static str)], secret: Option<&'static str>) -> Vec<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let more = [may_add("X-Team").unwrap()];
        for name in staying(&map, &more, secret.map(HeaderValue::from_static).as_ref()) {
            map.remove(name);
        }
        map.keys().map(|name| name.as_str().to_owned()).collect()
    }

    #[test]
    fn only_listed_headers_reach_a_client() {
        for name in [
            "refresh",
            "clear-site-data",
            "access-control-allow-origin",
            "server",
            "www-authenticate",
            "set-cookie",
            "api-key",
            "authorization",
            "x-ms-deployment-name",
            "x-ratelimit-limit-tokens",
            "x-forebay-deployment",
            "location",
            "x-anything",
        ] {
            assert_eq!(left(&[(name, "x"), ("x-team", "red")], None), ["x-team"]);
        }
        let kept = [
            "content-type",
            "retry-after-ms",
            "apim-request-id",
            "x-ms-region",
        ];
        assert_eq!(left(&kept.map(|name| (name, "x")), None), kept);
    }

    #[test]
    fn what_holds_the_deployments_credential_stays_wherever_it_stands() {
        let told = [
            ("x-ms-region", "key is 0123456789abcdef, you know"),
            ("x-team", "a"),
            ("x-team", "0123456789abcdef"),
            ("openai-model", "0123456789abcde"),
        ];
        for secret in ["0123456789abcdef", "Bearer 0123456789abcdef"] {
            assert_eq!(left(&told, Some(secret)), ["openai-model"]);
        }
        assert_eq!(left(&told, None).len(), 3);
    }

    #[test]
    fn what_belongs_to_one_connection_stays_but_for_how_the_body_is_framed() {
        let sent = [
            ("connection", "close, X-Ms-Region, content-length"),
            ("x-ms-region", "x"),
            ("content-length", "1"),
        ];
        assert_eq!(left(&sent, None), ["content-length"]);
    }

    #[test]
    fn an_operator_adds_nothing_that_acts_on_the_gateways_own_host() {
        for name in NEVER
            .iter()
            .chain(&["x-ratelimit-a", "X-Forebay-A", "access-control-max-age"])
        {
            assert!(
                may_add(name).unwrap_err().contains("never forwarded"),
                "{name}"
            );
        }
        assert!(
            may_add("Content-Type")
                .unwrap_err()
                .contains("always forwarded")
        );
        assert!(may_add("x team").unwrap_err().contains("not a header name"));
        assert_eq!(may_add("Server").unwrap(), "server");
    }
}
