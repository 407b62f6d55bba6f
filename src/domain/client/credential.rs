//! What a request shows of who sends it: one credential, wherever it stands.

use std::borrow::Cow;

use http::{HeaderMap, header};

use crate::domain::{realtime, refusal::Refusal};

/// What is sent to prove who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential<'a>(Cow<'a, [u8]>);

impl<'a> Credential<'a> {
    /// The credential in `api-key` or `Authorization: Bearer`. Some clients send it in both (CLIENTS.md 2); those that
    /// differ are refused, since which of them counts is not ours to guess.
    ///
    /// `query` is given for WebSockets only, where browsers can set no header (AZURE.md 3): elsewhere a key in a URL ends
    /// up in other people's logs. There, and among the protocols that are offered, it may stand as well.
    pub fn of(headers: &'a HeaderMap, query: Option<&'a str>) -> Result<Self, Refusal> {
        let keys = headers.get_all("api-key").iter();
        let bearers = headers.get_all(header::AUTHORIZATION).iter();
        let mut all = keys
            .map(|value| Cow::Borrowed(value.as_bytes()))
            .chain(bearers.filter_map(|value| bearer(value.as_bytes()).map(Cow::Borrowed)))
            .map(trimmed)
            .chain(query.into_iter().flat_map(|query| beside(query, headers)));
        let first = all.next().ok_or(Refusal::NoCredential)?;
        match all.all(|other| other == first) {
            true => Ok(Self(first)),
            false => Err(Refusal::AmbiguousCredential),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

fn trimmed(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match value {
        Cow::Borrowed(value) => Cow::Borrowed(value.trim_ascii()),
        owned => owned,
    }
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
            let credential = Credential::of(&headers, None);
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
            assert_eq!(Credential::of(&headers, None), Err(refusal), "{pairs:?}");
        }
    }

    #[test]
    fn the_query_counts_where_it_is_given_and_disagrees_like_a_header() {
        let none = HeaderMap::new();
        let credential = |headers, query| Credential::of(headers, Some(query));
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
        assert_eq!(Credential::of(&offered, None), Err(Refusal::NoCredential));
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
