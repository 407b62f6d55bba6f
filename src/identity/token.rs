//! A token as the header it goes out in.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, header::InvalidHeaderValue};
use zeroize::Zeroizing;

/// A header value and how long it holds. Its bytes are wiped when the last copy of the value is dropped.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    /// `None`: it has no end, as an api-key.
    pub(super) expires_on: Option<SystemTime>,
}

impl Token {
    /// `Bearer …`. Fails where the token holds what no header may.
    pub(super) fn bearer(
        token: &str,
        expires_on: Option<SystemTime>,
    ) -> Result<Self, InvalidHeaderValue> {
        let mut text = Zeroizing::new(Vec::with_capacity(7 + token.len()));
        text.extend_from_slice(b"Bearer ");
        text.extend_from_slice(token.as_bytes());
        Self::new(text, expires_on)
    }

    /// The key and nothing else.
    pub(super) fn key(key: &str) -> Result<Self, InvalidHeaderValue> {
        Self::new(Zeroizing::new(key.as_bytes().to_vec()), None)
    }

    fn new(
        text: Zeroizing<Vec<u8>>,
        expires_on: Option<SystemTime>,
    ) -> Result<Self, InvalidHeaderValue> {
        // The header's clones share these bytes, so the wiping happens once, at the end of the last.
        let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(text))?;
        header.set_sensitive(true);
        Ok(Self { header, expires_on })
    }

    pub(super) fn holds(&self, now: SystemTime) -> bool {
        self.expires_on.is_none_or(|end| now < end)
    }

    /// How long it still holds; for ever where it has no end.
    pub(super) fn left(&self, now: SystemTime) -> Duration {
        self.expires_on.map_or(Duration::MAX, |end| {
            end.duration_since(now).unwrap_or_default()
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("header", &"***")
            .field("expires_on", &self.expires_on)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_until_its_end_and_not_at_it() {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        let token = Token::bearer("abc", Some(end)).unwrap();
        assert!(token.holds(end - Duration::from_nanos(1)));
        assert!(!token.holds(end));
        assert!(Token::key("abc").unwrap().holds(end));
    }

    #[test]
    fn a_token_is_a_sensitive_header_and_prints_as_stars() {
        let token = Token::bearer("swordfish", None).unwrap();
        assert_eq!(token.header, "Bearer swordfish");
        assert!(token.header.is_sensitive());
        assert!(!format!("{token:?} {:?}", token.header).contains("swordfish"));
    }

    #[test]
    fn a_token_with_a_line_break_is_refused() {
        assert!(Token::bearer("a\r\nb", None).is_err());
        assert!(Token::key("a\nb").is_err());
    }
}
