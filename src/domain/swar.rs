//! Bytes8 bytes looked at in one go: which is the first of a kind.
//!
//! A search that begins like this is as good as one byte by byte where it soon ends, and several times as fast elsewhere.

use std::ops::BitOr;

/// Bytes8 bytes, the first one lowest.
#[derive(Clone, Copy)]
pub(super) struct Bytes8(u64);

/// Which of eight bytes are meant: the highest bit of each. Only up to the first one they can be trusted.
#[derive(Clone, Copy)]
pub(super) struct Marks(u64);

/// The same for each of the bytes.
const EACH: u64 = u64::from_le_bytes([1; 8]);

impl Bytes8 {
    pub(super) fn new(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// Those that are less than `least`, which is at most 128: their difference borrows from the byte above, so that one
    /// behind the first can seem to be less and isn't.
    pub(super) fn below(self, least: u8) -> Marks {
        let difference = self.0.wrapping_sub(EACH * u64::from(least));
        Marks(difference & !self.0 & (EACH << 7))
    }

    pub(super) fn equal(self, byte: u8) -> Marks {
        Self(self.0 ^ (EACH * u64::from(byte))).below(1)
    }
}

impl Marks {
    pub(super) fn first(self) -> Option<usize> {
        (self.0 != 0).then(|| self.0.trailing_zeros() as usize / 8)
    }
}

impl BitOr for Marks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_is_the_same_as_byte_by_byte(
            bytes in prop::array::uniform8(prop_oneof![any::<u8>(), 30..36_u8, 90..95_u8]),
            least in 0..=128_u8,
            byte in prop_oneof![any::<u8>(), 30..36_u8],
        ) {
            let eight = Bytes8::new(bytes);
            let first = |is: &dyn Fn(u8) -> bool| bytes.iter().position(|it| is(*it));
            prop_assert_eq!(eight.below(least).first(), first(&|it| it < least));
            prop_assert_eq!(eight.equal(byte).first(), first(&|it| it == byte));
            let either = eight.below(least) | eight.equal(byte);
            prop_assert_eq!(either.first(), first(&|it| it < least || it == byte));
        }
    }
}
