//! `forebay hash-key`: a client's key to what the config holds of it, and keys that can't be guessed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom as _, SystemRandom};
use thiserror::Error;

use crate::domain::{
    client::{KeyHash, key},
    secret::Secret,
};

/// What tells a key of ours from others', to people and to scanners for leaked secrets.
const PREFIX: &str = "fbk_";
/// Of the operating system's randomness, in a key that is made: 256 bits.
const RANDOM_BYTES: usize = 32;
/// A key that can take fewer values than two to the power of this can be guessed.
const SAFE_BITS: f64 = 128.0;
/// What has no more different characters than this is a pattern, however long.
const PATTERN: usize = 8;

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
    #[error(
        "there is no key on stdin; write one to stdin, or generate one with `forebay hash-key --generate`"
    )]
    Empty,
    #[error(
        "a key is sent in a header, so it may contain only visible ASCII characters, no spaces or line breaks"
    )]
    Characters,
    #[error("a key may have at most {} characters", key::LONGEST)]
    TooLong,
}

/// A new key; it is nowhere but here.
#[derive(Clone, Debug)]
pub struct GeneratedKey {
    pub key: Secret,
    pub hash: KeyHash,
}

/// The operating system gave no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the operating system returned no random numbers, so no key can be generated")]
pub struct NoRandomness;

/// Makes a key of 256 random bits, in letters, digits, `-` and `_` that every header and URL takes.
pub fn generate_key() -> Result<GeneratedKey, NoRandomness> {
    let mut random = [0; RANDOM_BYTES];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| NoRandomness)?;
    let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let hash = KeyHash::of(key.as_bytes());
    let key = Secret::new(key);
    Ok(GeneratedKey { key, hash })
}

/// Hashes a key as read from stdin: one line break at its end is not part of it.
pub fn hash_key(key: &str) -> Result<HashedKey, UnusableKey> {
    let line = key.strip_suffix('\n').unwrap_or(key);
    let key = line.strip_suffix('\r').unwrap_or(line);
    match () {
        () if key.is_empty() => return Err(UnusableKey::Empty),
        () if !key.bytes().all(|b| b.is_ascii_graphic()) => return Err(UnusableKey::Characters),
        () if key.len() > key::LONGEST => return Err(UnusableKey::TooLong),
        () => {}
    }
    let warning = "this key has less than 128 bits, so it can be guessed, also from its hash; \
                   generate a strong key with `forebay hash-key --generate`";
    Ok(HashedKey {
        hash: KeyHash::of(key.as_bytes()),
        warning: (most_bits(key) < SAFE_BITS).then_some(warning),
    })
}

/// Whether a character is of a kind.
type Kind = fn(&u8) -> bool;

/// How much chance can be in a key at most: as if each of its characters were drawn from all of their kinds.
fn most_bits(key: &str) -> f64 {
    let mut different: Vec<u8> = key.bytes().collect();
    different.sort_unstable();
    different.dedup();
    if different.len() <= PATTERN {
        return 0.0;
    }
    let has = |kind: Kind| different.iter().any(kind);
    let is_hex = different.iter().all(u8::is_ascii_hexdigit)
        && !(has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase));
    let kinds: [(Kind, u32); 4] = [
        (u8::is_ascii_digit, 10),
        (u8::is_ascii_lowercase, 26),
        (u8::is_ascii_uppercase, 26),
        (u8::is_ascii_punctuation, 32),
    ];
    let all = kinds.into_iter().filter(|(kind, _)| has(*kind));
    let kinds: u32 = all.map(|(_, size)| size).sum();
    let alphabet = if is_hex { kinds.min(16) } else { kinds };
    key.len() as f64 * f64::from(alphabet).log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hashed_without_its_line_break() {
        let hashed = hash_key("demo\r\n").unwrap();
        assert_eq!(hashed.hash, KeyHash::of(b"demo"));
        assert!(hashed.warning.is_some());
    }

    #[test]
    fn a_key_of_less_than_128_bits_is_warned_of() {
        for (key, is_safe) in [
            ("0f1e2d3c4b5a69788796a5b4c3d2e1f0", true),
            ("0F1E2D3C4B5A69788796A5B4C3D2E1F0", true),
            ("6f1c1d3e-8f2a-4b7c-9d0e-1a2b3c4d5e6f", true),
            ("Zk3vQ9xB2mT7wLp4Rf8Ns1", true),
            ("0f1e2d3c4b5a69788796a5b4c3d2e1f", false),
            ("Zk3vQ9xB2mT7wLp4Rf8N", false),
            ("31415926535897932384626433832795028841", false),
            ("swordfish", false),
            (&"ab".repeat(100), false),
            (&"k".repeat(500), false),
        ] {
            let warning = hash_key(key).unwrap().warning;
            assert_eq!(warning.is_none(), is_safe, "{key}");
        }
    }

    #[test]
    fn a_key_that_no_client_could_send_is_refused() {
        assert_eq!(hash_key("\n"), Err(UnusableKey::Empty));
        assert_eq!(hash_key("demo\n\n"), Err(UnusableKey::Characters));
        assert_eq!(hash_key("dé"), Err(UnusableKey::Characters));
        assert_eq!(hash_key(&"k".repeat(1025)), Err(UnusableKey::TooLong));
    }

    #[test]
    fn a_generated_key_is_safe_and_never_the_same() {
        let (one, another) = (generate_key().unwrap(), generate_key().unwrap());
        assert_ne!(one.key, another.key);
        let key = one.key.expose();
        assert!(key.starts_with(PREFIX) && key.len() == 47, "{key}");
        let hashed = hash_key(key).unwrap();
        assert_eq!((hashed.hash, hashed.warning), (one.hash, None));
    }
}
