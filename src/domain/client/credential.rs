//! What a request shows of who sends it: one credential, wherever it stands.

use std::{borrow::Cow, fmt};

use http::{HeaderMap, header};

use super::token::jwt;
use crate::domain::{realtime, refusal::Refusal};

/// What is sent to prove who calls.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential<'a> {
    value: Cow<'a, [u8]>,
    is_bearer: bool,
}

impl<'a> Credential<'a> {
    /// The credential in `api-key` or `Authorization: Bearer`. Some clients send it in both (wire facts: What clients send); those that
    /// differ are refused, since which of them counts is not ours to guess.
    ///
    /// `query` is given for WebSockets only, where browsers can set no header (wire facts: Authentication): elsewhere a key in a URL ends
    /// up in other people's logs. There, and among the protocols that are offered, it may stand as well.
    pub fn from_request(headers: &'a HeaderMap, query: Option<&'a str>) -> Result<Self, Refusal> {
        let keys = headers.get_all("api-key").iter();
        let bearers = || {
            let all = headers.get_all(header::AUTHORIZATION).iter();
            all.filter_map(|value| bearer(value.as_bytes()))
        };
        let mut all = keys
            .map(|value| value.as_bytes())
            .chain(bearers())
            .map(|value| Cow::Borrowed(value.trim_ascii()))
            .chain(query.into_iter().flat_map(|query| beside(query, headers)));
        let value = all.next().ok_or(Refusal::NoCredential)?;
        if all.all(|other| other == value) {
            Ok(Self {
                value,
                is_bearer: bearers().next().is_some(),
            })
        } else {
            Err(Refusal::AmbiguousCredential)
        }
    }

    /// Whether it is meant as an issuer's token, and not as a key.
    pub fn is_token(&self) -> bool {
        self.is_bearer && jwt::looks_like_one(&self.value)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.value
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

/// What a WebSocket's handshake carries beside its headers for credentials.
fn beside<'a>(query: &str, headers: &HeaderMap) -> Vec<Cow<'a, [u8]>> {
    let all = realtime::credentials(query, headers).into_iter();
    let owned = all.map(|credential| Cow::Owned(credential.trim().as_bytes().to_owned()));
    owned.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_credential_is_taken_from_either_header_or_both() {
        for pairs in [
            &[("api-key", "K")][..],
            &[("authorization", "Bearer K")],
            &[("authorization", "bearer  K ")],
            &[("api-key", "K"), ("authorization", "Bearer K")],
            &[("api-key", "K"), ("authorization", "Basic eA==")],
        ] {
            let headers = headers(pairs);
            let credential = Credential::from_request(&headers, None);
            assert_eq!(credential.unwrap().as_bytes(), b"K", "{pairs:?}");
        }
    }

    #[test]
    fn none_is_taken_from_credentials_that_disagree() {
        for (pairs, refusal) in [
            (&[][..], Refusal::NoCredential),
            (&[("authorization", "Basic K")], Refusal::NoCredential),
            (&[("authorization", "Bearer")], Refusal::NoCredential),
            (
                &[("api-key", "K"), ("authorization", "Bearer X")],
                Refusal::AmbiguousCredential,
            ),
            (
                &[("api-key", "K"), ("api-key", "X")],
                Refusal::AmbiguousCredential,
            ),
            (
                &[("api-key", ""), ("authorization", "Bearer K")],
                Refusal::AmbiguousCredential,
            ),
        ] {
            let headers = headers(pairs);
            assert_eq!(
                Credential::from_request(&headers, None),
                Err(refusal),
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn a_bearer_that_starts_as_a_token_does_is_one_and_a_key_never_is() {
        for (name, value, is_token) in [
            ("authorization", "Bearer eyJhbGciOiJ9.e30.AA", true),
            ("authorization", "Bearer eyJhbGciOiJ9", false),
            ("authorization", "Bearer fbk_x.y", false),
            ("api-key", "eyJhbGciOiJ9.e30.AA", false),
        ] {
            let headers = headers(&[(name, value)]);
            let credential = Credential::from_request(&headers, None).unwrap();
            assert_eq!(credential.is_token(), is_token, "{value}");
            assert_eq!(format!("{credential:?}"), "***");
        }
    }

    #[test]
    fn the_query_counts_where_it_is_given_and_disagrees_like_a_header() {
        let none = HeaderMap::new();
        let credential = |headers, query| Credential::from_request(headers, Some(query));
        assert_eq!(
            credential(&none, "model=m&api-key=K%2b&x")
                .unwrap()
                .as_bytes(),
            b"K+"
        );
        assert_eq!(credential(&none, "model=m"), Err(Refusal::NoCredential));
        assert_eq!(
            credential(&none, "api-key=K&api-key=X"),
            Err(Refusal::AmbiguousCredential)
        );
        let offered = headers(&[(
            "sec-websocket-protocol",
            "realtime, openai-insecure-api-key.K",
        )]);
        assert_eq!(credential(&offered, "").unwrap().as_bytes(), b"K");
        assert_eq!(
            Credential::from_request(&offered, None),
            Err(Refusal::NoCredential)
        );
        let bearer = "api-key=X&Authorization=Bearer%20K";
        assert_eq!(credential(&none, bearer), Err(Refusal::AmbiguousCredential));
        let key = headers(&[("api-key", "K")]);
        assert!(credential(&key, "api-key=K").is_ok());
        assert_eq!(
            credential(&key, "api-key=X"),
            Err(Refusal::AmbiguousCredential)
        );
    }
}
