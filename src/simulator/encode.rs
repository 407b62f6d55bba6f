//! Text forms of bytes, and ids that look like Azure's.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};

/// Base64 with padding, as in `encoding_format: base64`.
pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Base64 without padding and safe in URLs, as in a JWT.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// `prefix` and as many random letters.
pub(crate) fn id(prefix: &str, letters: usize, rng: &mut fastrand::Rng) -> String {
    let letters = (0..letters).map(|_| rng.alphanumeric());
    prefix.chars().chain(letters).collect()
}

/// A random UUID.
pub(crate) fn uuid(rng: &mut fastrand::Rng) -> String {
    uuid::Builder::from_random_bytes(rng.u128(..).to_be_bytes())
        .into_uuid()
        .to_string()
}
