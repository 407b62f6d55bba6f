//! `forebay hash-key`: a client's key to what the config holds of it.

use thiserror::Error;

use crate::domain::client::KeyHash;

/// Fewer characters than this are guessed too easily.
const SAFE_LENGTH: usize = 16;

/// A key's hash, and what to think about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashedKey {
    /// Displays as `sha256:…`.
    pub hash: KeyHash,
    pub warning: Option<&'static str>,
}

/// Why no client could use a key. The message says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnusableKey {
    #[error("there is no key on stdin; write one, like `openssl rand -hex 32 | forebay hash-key`")]
    Empty,
    #[error(
        "a key travels in a header, so it has only visible ASCII characters, no spaces or line breaks"
    )]
    Characters,
}

/// Hashes a key as read from stdin: one line break at its end is not part of it.
pub fn hash_key(key: &str) -> Result<HashedKey, UnusableKey> {
    let key = key.strip_suffix('\n').unwrap_or(key);
    let key = key.strip_suffix('\r').unwrap_or(key);
    if key.is_empty() {
        return Err(UnusableKey::Empty);
    }
    if !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(UnusableKey::Characters);
    }
    let warning = "this key is short enough to be guessed; `openssl rand -hex 32` makes a good one";
    Ok(HashedKey {
        hash: KeyHash::of(key.as_bytes()),
        warning: (key.len() < SAFE_LENGTH).then_some(warning),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hashed_without_its_line_break() {
        let hashed = hash_key("demo\r\n").unwrap();
        assert_eq!(hashed.hash, KeyHash::of(b"demo"));
        assert!(hashed.warning.is_some());
        assert_eq!(hash_key(&"k".repeat(16)).unwrap().warning, None);
    }

    #[test]
    fn a_key_that_no_client_could_send_is_refused() {
        assert_eq!(hash_key("\n"), Err(UnusableKey::Empty));
        assert_eq!(hash_key("demo\n\n"), Err(UnusableKey::Characters));
        assert_eq!(hash_key("dé"), Err(UnusableKey::Characters));
    }
}
