//! How many tokens of output have passed, when nobody says.

/// Output that has passed.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    bytes: u64,
}

impl Tally {
    pub(super) fn add(&mut self, text: &[u8]) {
        self.bytes += text.len() as u64;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(super) fn tokens(&self) -> u64 {
        self.bytes.div_ceil(4)
    }
}
