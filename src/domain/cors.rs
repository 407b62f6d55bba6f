//! Web pages that ask the gateway: which may, by the word of the browser that shows them.
//!
//! A browser sends what it has of its own with a page's request: the certificate of whoever sits before it, and the place in the
//! network where it runs. So neither proves that the client itself asks, where a page of elsewhere does. A key that a page
//! sends it must have been given.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use thiserror::Error;

/// What a page is shown of answers' headers beside those that every page sees.
const SHOWN: &str = "x-request-id, apim-request-id, retry-after, retry-after-ms, x-should-retry, x-forebay-deployment, \
    x-forebay-attempts, x-ratelimit-limit-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-requests, \
    x-ratelimit-remaining-tokens, x-ratelimit-reset-requests, x-ratelimit-reset-tokens";
/// How long a browser may go by an answer to its question, in seconds: none takes more.
const REMEMBERED: &str = "7200";
/// More than any browser asks for, in bytes.
const LONGEST_LIST: usize = 4096;

/// The origins whose pages may ask: `cors:` in the config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors(Vec<Origin>);

/// Scheme, host and port of a page, as browsers write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

/// Why a text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OriginError {
    #[error("an origin is scheme, host and port only, like https://app.contoso.example")]
    Shape,
    #[error(
        "list each origin: with * any web page could send requests with the credentials of its user's browser"
    )]
    Wildcard,
}

impl Origin {
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        if text.contains('*') || text == "null" {
            return Err(OriginError::Wildcard);
        }
        let (scheme, rest) = text.split_once("://").ok_or(OriginError::Shape)?;
        let is_scheme = !scheme.is_empty() && scheme.bytes().all(is_of_scheme);
        let is_authority = !rest.is_empty() && rest.bytes().all(is_of_authority);
        if !is_scheme || !is_authority {
            return Err(OriginError::Shape);
        }
        Ok(Self(as_browsers_write(text)))
    }

    fn is(&self, sent: &str) -> bool {
        self.0 == as_browsers_write(sent)
    }
}

fn is_of_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)
}

fn is_of_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte)
}

/// In lower case, and without the port that its scheme has anyway.
fn as_browsers_write(origin: &str) -> String {
    let origin = origin.to_ascii_lowercase();
    for (scheme, port) in [("https://", ":443"), ("http://", ":80")] {
        if origin.starts_with(scheme)
            && let Some(short) = origin.strip_suffix(port)
        {
            return short.to_owned();
        }
    }
    origin
}

/// The one origin that a request names; `None`: no browser sent it for a page of elsewhere.
fn named(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(header::ORIGIN)
}

/// Whether a page of another host asks, by a browser's word. `host`: whom the request means.
pub fn is_foreign(headers: &HeaderMap, host: Option<&str>) -> bool {
    let Some(origin) = named(headers) else {
        return false;
    };
    if headers.get_all(header::ORIGIN).iter().count() > 1 {
        return true;
    }
    let (Ok(origin), Some(host)) = (origin.to_str(), host) else {
        return true;
    };
    let schemes = ["https", "http"];
    let own = schemes.map(|scheme| as_browsers_write(&format!("{scheme}://{host}")));
    !own.contains(&as_browsers_write(origin))
}

impl Cors {
    pub fn new(origins: Vec<Origin>) -> Self {
        Self(origins)
    }

    /// The origin that asks, where its pages may.
    pub fn allows<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        let mut all = headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (all.next(), all.next()) else {
            return None;
        };
        let text = origin.to_str().ok()?;
        self.0.iter().any(|known| known.is(text)).then_some(origin)
    }
}

/// What tells a browser that its page may read an answer.
pub fn answer(origin: &HeaderValue) -> [(HeaderName, HeaderValue); 4] {
    let text = HeaderValue::from_static;
    [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
        // A certificate goes along where the page wants that.
        (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, text("true")),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, text(SHOWN)),
        (header::VARY, text("origin")),
    ]
}

/// Whether this is a browser's question whether a page may ask, and what it hears beside [`answer`].
pub fn preflight(headers: &HeaderMap) -> Option<Vec<(HeaderName, HeaderValue)>> {
    headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let text = HeaderValue::from_static;
    let mut said = vec![
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            text("GET, POST, DELETE"),
        ),
        (header::ACCESS_CONTROL_MAX_AGE, text(REMEMBERED)),
    ];
    let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    if let Some(wanted) = wanted.filter(|it| is_list(it.as_bytes())) {
        // What it sends is looked at like any client's.
        said.push((header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone()));
    }
    Some(said)
}

fn is_list(text: &[u8]) -> bool {
    let of_list = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_, ".contains(byte);
    text.len() <= LONGEST_LIST && text.iter().all(of_list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let line = |(name, value): &(HeaderName, &str)| {
            (name.clone(), HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        headers.extend(
            lines
                .iter()
                .map(line)
                .map(|(name, value)| (Some(name), value)),
        );
        headers
    }

    #[test]
    fn a_page_is_foreign_unless_it_is_of_the_host_it_asks() {
        let foreign = |origins: &[&str], host| {
            let lines: Vec<_> = origins.iter().map(|it| (header::ORIGIN, *it)).collect();
            let mut sent = HeaderMap::new();
            for (name, value) in lines {
                sent.append(name, value.parse().unwrap());
            }
            is_foreign(&sent, host)
        };
        let host = Some("gateway.example:8443");
        assert!(!foreign(&[], host) && !foreign(&[], None));
        for own in [
            "https://gateway.example:8443",
            "http://Gateway.Example:8443",
        ] {
            assert!(!foreign(&[own], host), "{own}");
        }
        assert!(!foreign(
            &["https://gateway.example"],
            Some("gateway.example:443")
        ));
        assert!(!foreign(
            &["https://gateway.example"],
            Some("gateway.example")
        ));
        for other in [
            "https://evil.example",
            "https://gateway.example",
            "https://gateway.example:8443.evil.example",
            "https://evil.example/gateway.example:8443",
            "null",
            "",
            "gateway.example:8443",
            "app://gateway.example:8443",
        ] {
            assert!(foreign(&[other], host), "{other}");
        }
        assert!(foreign(&["https://gateway.example:8443"], None));
        let own = "https://gateway.example:8443";
        assert!(foreign(&[own, "https://evil.example"], host));
        assert!(foreign(&[own, own], host));
    }

    #[test]
    fn only_named_origins_are_allowed_to_the_letter_of_scheme_host_and_port() {
        let cors = Cors::new(vec![
            Origin::parse("https://App.contoso.example:443").unwrap(),
            Origin::parse("http://localhost:3000").unwrap(),
        ]);
        let allows = |origin| cors.allows(&headers(&[(header::ORIGIN, origin)])).is_some();
        assert!(allows("https://app.contoso.example") && allows("http://localhost:3000"));
        for other in [
            "http://app.contoso.example",
            "https://app.contoso.example:8443",
            "https://app.contoso.example.evil.example",
            "https://a.app.contoso.example",
            "http://localhost",
            "null",
        ] {
            assert!(!allows(other), "{other}");
        }
        assert_eq!(cors.allows(&HeaderMap::new()), None);
    }

    #[test]
    fn what_is_no_origin_says_why() {
        for (text, error) in [
            ("*", OriginError::Wildcard),
            ("https://*.contoso.example", OriginError::Wildcard),
            ("null", OriginError::Wildcard),
            ("app.contoso.example", OriginError::Shape),
            ("https://app.contoso.example/", OriginError::Shape),
            ("https://user@app.contoso.example", OriginError::Shape),
            ("https://", OriginError::Shape),
            ("", OriginError::Shape),
        ] {
            assert_eq!(Origin::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_question_is_answered_with_the_headers_it_asks_for() {
        let asked = headers(&[
            (header::ACCESS_CONTROL_REQUEST_METHOD, "POST"),
            (
                header::ACCESS_CONTROL_REQUEST_HEADERS,
                "authorization, x-stainless-os",
            ),
        ]);
        let said: HeaderMap = preflight(&asked).unwrap().into_iter().collect();
        assert_eq!(
            said["access-control-allow-headers"],
            "authorization, x-stainless-os"
        );
        assert_eq!(preflight(&HeaderMap::new()), None);
        let odd = headers(&[
            (header::ACCESS_CONTROL_REQUEST_METHOD, "POST"),
            (header::ACCESS_CONTROL_REQUEST_HEADERS, "a;b"),
        ]);
        assert_eq!(preflight(&odd).unwrap().len(), 2);
    }
}
