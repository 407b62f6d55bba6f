//! Ids that look like Azure's.

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
