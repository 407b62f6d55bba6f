//! Stretches of answers as they were read last, and where they led. Of a stream's events most are the same but for a word
//! of output, and what filters say is as long as all the rest: to compare takes a tenth of the time that reading takes.
//!
//! What comes of a stretch depends on nothing but its bytes and the cursor where it begins, so it does not matter whose
//! answer it was, and one memo serves every answer that is read by one thread.

use super::{cursor::Cursor, token_counts::Tier};

/// The longest stretch that is kept.
const LONGEST: usize = 1024;
/// So many of each kind are kept.
const KEPT: usize = 4;

/// Where a stretch stands in an answer or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// From its beginning to its output.
    Before,
    /// From the end of its output, to more of it or the end.
    Behind,
    /// What filters say, from bracket to bracket.
    Filters,
}

/// What a stretch comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StretchEnd {
    pub(super) cursor: Cursor,
    /// The tier that it names. Of usage it says nothing.
    pub(super) tier: Option<Tier>,
}

struct Stretch {
    bytes: Vec<u8>,
    from: Cursor,
    end: StretchEnd,
}

#[derive(Default)]
struct Shelf {
    stretches: Vec<Stretch>,
    /// The next one to make room.
    oldest: usize,
}

/// The stretches that were read last: some 12 KiB once it is full.
#[derive(Default)]
pub struct Memo([Shelf; 3]);

impl Memo {
    /// How much of this was read before from the same place, and what came of it.
    pub(super) fn recall(
        &self,
        side: Side,
        from: &Cursor,
        rest: &[u8],
    ) -> Option<(usize, StretchEnd)> {
        let known = self.0[side as usize]
            .stretches
            .iter()
            .find(|it| rest.starts_with(&it.bytes) && it.from == *from)?;
        Some((known.bytes.len(), known.end))
    }

    /// Keeps what came of a stretch.
    pub(super) fn learn(&mut self, side: Side, from: Cursor, bytes: &[u8], end: StretchEnd) {
        if (1..=LONGEST).contains(&bytes.len()) {
            self.0[side as usize].keep(from, bytes, end);
        }
    }
}

impl Shelf {
    fn keep(&mut self, from: Cursor, bytes: &[u8], end: StretchEnd) {
        if let Some(old) = self.stretches.get_mut(self.oldest) {
            old.bytes.clear();
            old.bytes.extend_from_slice(bytes);
            (old.from, old.end) = (from, end);
        } else {
            let bytes = bytes.to_vec();
            self.stretches.push(Stretch { bytes, from, end });
        }
        self.oldest = (self.oldest + 1) % KEPT;
    }
}
