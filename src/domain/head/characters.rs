//! Which characters may stand where, as tables.

/// What a token is made of (RFC 9110, 5.6.2).
pub(super) static TOKEN: Characters = Characters::alphanumeric_and(b"!#$%&'*+-.^_`|~");

pub(super) fn is_token(word: &[u8]) -> bool {
    !word.is_empty() && TOKEN.all(word)
}

/// A set of bytes: one look-up for each byte of a head, and not one comparison for each that it might be.
pub(super) struct Characters([bool; 256]);

impl Characters {
    pub(super) const fn alphanumeric_and(others: &[u8]) -> Self {
        let (mut set, mut byte, mut other) = ([false; 256], 0, 0);
        while byte < set.len() {
            set[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        while other < others.len() {
            set[others[other] as usize] = true;
            other += 1;
        }
        Self(set)
    }

    /// How many bytes at the beginning are of the set.
    pub(super) fn span(&self, bytes: &[u8]) -> usize {
        let end = bytes.iter().position(|byte| !self.0[usize::from(*byte)]);
        end.unwrap_or(bytes.len())
    }

    pub(super) fn all(&self, bytes: &[u8]) -> bool {
        self.span(bytes) == bytes.len()
    }
}
