//! Clients' keys: known by their hash only, so that reading the config lets nobody in.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

/// The longest key, in bytes: what is longer is nobody's, and isn't even hashed.
pub const LONGEST: usize = 1024;

/// SHA-256 of a client's key: what the config holds, so that reading it lets nobody in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

/// Why a text is no key hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a key is written as sha256: and 64 hexadecimal digits; `forebay hash-key` prints it")]
pub struct KeyHashError;

impl KeyHash {
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Reads `sha256:` and 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, KeyHashError> {
        let digits = text.strip_prefix("sha256:").ok_or(KeyHashError)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(digits, &mut hash).map_err(|_| KeyHashError)?;
        Ok(Self(hash))
    }

    /// Whether the other is the same, in a time that does not tell how much of it is.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::client::{Client, Clients};

    fn clients(key: &[u8]) -> Clients {
        Clients::listed([Client {
            keys: vec![KeyHash::of(key)],
            ..Client::named("app")
        }])
    }

    #[test]
    fn a_key_is_found_by_its_hash_and_no_other() {
        let hash = KeyHash::of(b"demo");
        assert_eq!(KeyHash::parse(&hash.to_string()), Ok(hash));
        let clients = clients(b"demo");
        assert_eq!(clients.by_key(b"demo").unwrap().name.as_str(), "app");
        assert!(clients.by_key(b"Demo").is_none());
        assert!(clients.by_key(hash.to_string().as_bytes()).is_none());
    }

    #[test]
    fn an_empty_or_endless_key_is_nobodys_whatever_the_config_holds() {
        assert!(clients(b"").by_key(b"").is_none());
        let (longest, longer) = ([b'k'; LONGEST], [b'k'; LONGEST + 1]);
        assert!(clients(&longest).by_key(&longest).is_some());
        assert!(clients(&longer).by_key(&longer).is_none());
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in [
            "",
            "demo",
            "sha256:",
            "sha256:zz",
            &"0".repeat(64),
            &format!("sha256:{}", "+1".repeat(32)),
        ] {
            assert_eq!(KeyHash::parse(text), Err(KeyHashError), "{text}");
        }
    }
}
