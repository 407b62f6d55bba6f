//! Realtime sessions: what a WebSocket's handshake asks for, and the handshake that asks a deployment for the same
//! (wire facts: Realtime).
//!
//! Browsers can set no headers, so here alone a credential may come in the query or among the protocols. None of these
//! goes out: parameters by name, protocols by an allow-list.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use percent_encoding::{percent_decode_str, utf8_percent_encode};

use super::{
    deployment::Kind,
    dialect::{Dialect, SEGMENT, is_credential},
    refusal::Refusal,
};

/// How OpenAI's clients in browsers offer their key as a protocol.
const KEY_PROTOCOL: &str = "openai-insecure-api-key.";
/// A `Sec-WebSocket-Key`: 16 bytes in base64 (RFC 6455, 4.1).
const KEY_LENGTH: usize = 24;

/// None seen is half as long.
const LONGEST_CALL_ID: usize = 128;

/// What a handshake asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub model: String,
    /// It joins a call that one instance holds already.
    pub uses_state: bool,
}

/// Whether a request opens a WebSocket. Nothing else is let through to a path for WebSockets, so that both ends mean the
/// same by what follows.
pub fn is_handshake(version: Version, headers: &HeaderMap) -> bool {
    let is = |name, wanted: &str| {
        let value = only(headers, name);
        value.is_some_and(|value| value.eq_ignore_ascii_case(wanted))
    };
    let key = only(headers, header::SEC_WEBSOCKET_KEY);
    let is_empty = match headers.get(header::CONTENT_LENGTH) {
        Some(_) => is(header::CONTENT_LENGTH, "0"),
        None => true,
    };
    version == Version::HTTP_11
        && is(header::UPGRADE, "websocket")
        && listed(headers, header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"))
        && is(header::SEC_WEBSOCKET_VERSION, "13")
        && key.is_some_and(|key| key.len() == KEY_LENGTH)
        && is_empty
        && !headers.contains_key(header::TRANSFER_ENCODING)
}

/// Whether a 101 says what a handshake asked for.
pub fn is_accepted(headers: &HeaderMap) -> bool {
    let upgrade = only(headers, header::UPGRADE);
    upgrade.is_some_and(|token| token.eq_ignore_ascii_case("websocket"))
        && only(headers, header::SEC_WEBSOCKET_ACCEPT).is_some()
}

/// The value of a header that stands there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    values.next().is_none().then_some(value)
}

/// The values of a header that lists them.
fn listed(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers
        .get_all(name)
        .into_iter()
        .filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// Reads a handshake's query. Either name stands for the model, but once.
pub fn asked(query: &str) -> Result<Asked, Refusal> {
    let mut models = pairs(query).filter(|(name, _)| names_model(name));
    let (_, value) = models.next().ok_or(Refusal::ModelMissing)?;
    if models.next().is_some() {
        return Err(Refusal::ModelTwice);
    }
    let model = decoded(value).ok_or(Refusal::ModelNotText)?.into_owned();
    if model.is_empty() {
        return Err(Refusal::ModelMissing);
    }
    let mut calls = pairs(query).filter(|(name, _)| is_named(name, "call_id"));
    let call = calls.next();
    if call.is_some_and(|(_, id)| !is_call_id(id)) || calls.next().is_some() {
        return Err(Refusal::CallIdMalformed);
    }
    let uses_state = call.is_some();
    Ok(Asked { model, uses_state })
}

/// Whether this can be the id of a call and nothing else. Whose call it is the gateway can't know.
fn is_call_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=LONGEST_CALL_ID).contains(&id.len()) && id.bytes().all(is_plain)
}

/// The client's credentials that a handshake carries beside its headers, each as it would stand behind `Bearer`.
pub fn credentials(query: &str, headers: &HeaderMap) -> Vec<String> {
    let in_query = pairs(query).filter_map(|(name, value)| {
        let value = decoded(value).unwrap_or_default();
        match () {
            () if is_named(name, "api-key") => Some(value.into_owned()),
            () if is_named(name, "authorization") => {
                let token = without_prefix(&value, "bearer ").unwrap_or_default();
                Some(token.to_owned())
            }
            () => None,
        }
    });
    let protocols = listed(headers, header::SEC_WEBSOCKET_PROTOCOL);
    let offered = protocols.filter_map(|protocol| without_prefix(protocol, KEY_PROTOCOL));
    in_query.chain(offered.map(str::to_owned)).collect()
}

/// The protocols that a deployment is offered of those a client offers.
pub fn protocols(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered: Vec<&str> = listed(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .filter(|protocol| *protocol == "realtime" || protocol.starts_with("openai-beta."))
        .collect();
    let offered = (!offered.is_empty()).then(|| offered.join(", "))?;
    HeaderValue::from_str(&offered).ok()
}

/// Where a handshake goes on an instance: path and query, the deployment's own name in place of the model's.
pub(super) fn outgoing(
    dialect: Dialect,
    kind: Kind,
    base_path: &str,
    deployment: &str,
    query: &str,
) -> String {
    let (path, parameter) = match (kind, dialect) {
        (Kind::Openai, _) => ("/realtime", "model"),
        (Kind::AzureOpenai, Dialect::Classic) => ("/openai/realtime", "deployment"),
        (Kind::AzureOpenai, _) => ("/openai/v1/realtime", "model"),
    };
    let mut out = format!("{base_path}{path}?");
    let kept = query.split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        let is_ours = names_model(name) || is_credential(name);
        let is_azures = kind == Kind::Openai && is_named(name, "api-version");
        !(pair.is_empty() || is_ours || is_azures)
    });
    for pair in kept {
        out.push_str(pair);
        out.push('&');
    }
    let deployment = utf8_percent_encode(deployment, SEGMENT);
    format!("{out}{parameter}={deployment}")
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn names_model(name: &str) -> bool {
    is_named(name, "model") || is_named(name, "deployment")
}

/// Whether a parameter has this name, however it is escaped or spelled.
fn is_named(name: &str, wanted: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy();
    name.eq_ignore_ascii_case(wanted)
}

/// A parameter's value as servers read it; `None` where it is no UTF-8, in whose place `form_urlencoded` puts marks.
fn decoded(value: &str) -> Option<Cow<'_, str>> {
    if value.contains('+') {
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value).decode_utf8().ok()?;
        Some(Cow::Owned(value.into_owned()))
    } else {
        percent_decode_str(value).decode_utf8().ok()
    }
}

fn without_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HANDSHAKE: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_handshake_is_told_from_all_else() {
        let whole = headers(&HANDSHAKE);
        assert!(is_handshake(Version::HTTP_11, &whole));
        assert!(!is_handshake(Version::HTTP_10, &whole));
        assert!(!is_handshake(Version::HTTP_2, &whole));
        for missing in 0..HANDSHAKE.len() {
            let mut some = HANDSHAKE.to_vec();
            some.remove(missing);
            assert!(!is_handshake(Version::HTTP_11, &headers(&some)));
        }
        for (name, value, is_one) in [
            ("content-length", "0", true),
            ("content-length", "1", false),
            ("transfer-encoding", "chunked", false),
            ("upgrade", "websocket", false),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==", false),
            ("origin", "https://contoso.example", true),
        ] {
            let more = [&HANDSHAKE[..], &[(name, value)]].concat();
            assert_eq!(
                is_handshake(Version::HTTP_11, &headers(&more)),
                is_one,
                "{name}: {value}"
            );
        }
        for (name, value) in [
            ("connection", "close"),
            ("upgrade", "h2c"),
            ("upgrade", "websocket, h2c"),
            ("sec-websocket-version", "8"),
            ("sec-websocket-key", "short"),
        ] {
            let mut other = whole.clone();
            other.insert(name, value.parse().unwrap());
            assert!(!is_handshake(Version::HTTP_11, &other), "{name}: {value}");
        }
    }

    #[test]
    fn the_query_names_the_model_once() {
        let asked = |query| asked(query).map(|asked| (asked.model, asked.uses_state));
        for (query, model) in [
            ("model=gpt-realtime", "gpt-realtime"),
            ("api-version=x&deployment=my%20dep%2F%C3%A9", "my dep/é"),
            ("mod%65l=a+b&x=1", "a b"),
            ("model=a&modely=b&&", "a"),
        ] {
            assert_eq!(asked(query), Ok((model.to_owned(), false)), "{query}");
        }
        for query in ["model=m&call_id=rtc_a-1", "call%5Fid=rtc_a-1&model=m"] {
            assert_eq!(asked(query), Ok(("m".into(), true)), "{query}");
        }
        for query in [
            "model=m&call_id",
            "model=m&call_id=",
            "model=m&call_id=a%2Fb",
            "model=m&call_id=../x",
            "model=m&call_id=a+b",
            "model=m&call_id=a&call_id=a",
            "model=m&CALL_ID=a&call_id=b",
        ] {
            assert_eq!(asked(query), Err(Refusal::CallIdMalformed), "{query}");
        }
        for (query, refusal) in [
            ("", Refusal::ModelMissing),
            ("model", Refusal::ModelMissing),
            ("model=", Refusal::ModelMissing),
            ("intent=transcription", Refusal::ModelMissing),
            ("model=a&model=a", Refusal::ModelTwice),
            ("model=a&deployment=b", Refusal::ModelTwice),
            ("model=a&MODEL=b", Refusal::ModelTwice),
            ("model=a&mod%65l=b", Refusal::ModelTwice),
            ("model=%ff", Refusal::ModelNotText),
        ] {
            assert_eq!(asked(query), Err(refusal), "{query}");
        }
    }

    #[test]
    fn a_browsers_credential_is_found_in_query_and_protocols() {
        let none = HeaderMap::new();
        for (query, found) in [
            ("model=m", &[][..]),
            ("model=m&api-key=K", &["K"]),
            ("API%2Dkey=a%2Bb", &["a+b"]),
            ("Authorization=Bearer%20T", &["T"]),
            ("authorization=bearer+T&api-key=K", &["K", "T"]),
            ("authorization=Basic+T", &[""]),
            ("api-key", &[""]),
            ("api-key=%ff", &[""]),
        ] {
            let mut all = credentials(query, &none);
            all.sort();
            assert_eq!(all, found, "{query}");
        }
        let offered = headers(&[
            (
                "sec-websocket-protocol",
                "realtime, openai-insecure-api-key.K",
            ),
            ("sec-websocket-protocol", "OpenAI-Insecure-API-Key.L"),
        ]);
        assert_eq!(credentials("", &offered), ["K", "L"]);
    }

    #[test]
    fn only_protocols_that_can_hold_no_credential_go_out() {
        let offered = headers(&[
            (
                "sec-websocket-protocol",
                "realtime, openai-insecure-api-key.K",
            ),
            (
                "sec-websocket-protocol",
                "bearer.T,openai-beta.realtime-v1, x",
            ),
        ]);
        let out = protocols(&offered).unwrap();
        assert_eq!(out, "realtime, openai-beta.realtime-v1");
        let key = headers(&[("sec-websocket-protocol", "openai-insecure-api-key.K")]);
        assert_eq!(protocols(&key), None);
    }

    #[test]
    fn a_deployment_is_asked_by_its_own_name_and_never_told_a_credential() {
        use Dialect::*;
        for (dialect, kind, base, query, out) in [
            (
                Classic,
                Kind::AzureOpenai,
                "",
                "api-version=2024-10-01-preview&deployment=gpt-realtime",
                "/openai/realtime?api-version=2024-10-01-preview&deployment=my%20dep%26x",
            ),
            (
                V1,
                Kind::AzureOpenai,
                "/x",
                "model=m&api-key=K&intent=a%20b&Authorization=Bearer%20K&api%5fkey=K",
                "/x/openai/v1/realtime?intent=a%20b&model=my%20dep%26x",
            ),
            (
                Plain,
                Kind::AzureOpenai,
                "",
                "MODEL=K&deploymen%74=K&access_token=K&subscription-key=K",
                "/openai/v1/realtime?model=my%20dep%26x",
            ),
            (
                Classic,
                Kind::Openai,
                "/v1",
                "api-version=K&deployment=m&a=1",
                "/v1/realtime?a=1&model=my%20dep%26x",
            ),
        ] {
            assert_eq!(outgoing(dialect, kind, base, "my dep&x", query), out);
        }
    }

    proptest! {
        /// Whatever stands in a client's query: what goes out names the deployment, once, and shows nobody.
        #[test]
        fn no_query_brings_out_a_credential_or_another_model(
            query in "((model|deployment|MODEL|mod%65l|api-key|api_key|Authorization|author%69zation|access_token|a|[%&=+a-z0-9]{0,6})(=|%3d|)([a-z%+&=0-9]{0,8}|Bearer%20K)&?){0,6}",
            kind in prop_oneof![Just(Kind::AzureOpenai), Just(Kind::Openai)],
            dialect in prop_oneof![Just(Dialect::Classic), Just(Dialect::V1), Just(Dialect::Plain)],
        ) {
            let out = outgoing(dialect, kind, "", "my dep/é&=", &query);
            let (_, out) = out.split_once('?').unwrap();
            prop_assert_eq!(asked(out).unwrap().model, "my dep/é&=");
            prop_assert_eq!(credentials(out, &HeaderMap::new()), Vec::<String>::new());
        }
    }

    #[test]
    fn a_101_must_say_what_was_asked() {
        let accept = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(is_accepted(&headers(&[("upgrade", "websocket"), accept])));
        assert!(!is_accepted(&headers(&[("upgrade", "h2c"), accept])));
        assert!(!is_accepted(&headers(&[accept])));
        assert!(!is_accepted(&headers(&[("upgrade", "websocket")])));
    }
}
