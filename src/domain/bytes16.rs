//! Sixteen bytes looked at in one go: which is the first of a kind.
//!
//! A search that begins like this is as good as one byte by byte where it soon ends, and many times as fast elsewhere.

use std::ops::BitOr;

use wide::u8x16;

#[derive(Clone, Copy)]
pub(super) struct Bytes16(u8x16);

/// Which of sixteen bytes are meant: all bits of each.
#[derive(Clone, Copy)]
pub(super) struct Marks(u8x16);

impl Bytes16 {
    #[inline(always)]
    pub(super) fn of(bytes: [u8; 16]) -> Self {
        Self(u8x16::new(bytes))
    }

    /// Those that are less than `least`.
    #[inline(always)]
    pub(super) fn below(self, least: u8) -> Marks {
        Marks(self.0.simd_lt(u8x16::splat(least)))
    }

    #[inline(always)]
    pub(super) fn equal(self, byte: u8) -> Marks {
        Marks(self.0.simd_eq(u8x16::splat(byte)))
    }
}

impl Marks {
    #[inline(always)]
    pub(super) fn first(self) -> Option<usize> {
        let marks = self.0.to_bitmask();
        (marks != 0).then(|| marks.trailing_zeros() as usize)
    }
}

impl BitOr for Marks {
    type Output = Self;

    #[inline(always)]
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
            bytes in prop::array::uniform16(prop_oneof![any::<u8>(), 30..36_u8, 90..95_u8]),
            least in any::<u8>(),
            byte in prop_oneof![any::<u8>(), 30..36_u8],
        ) {
            let all = Bytes16::of(bytes);
            let first = |is: &dyn Fn(u8) -> bool| bytes.iter().position(|it| is(*it));
            prop_assert_eq!(all.below(least).first(), first(&|it| it < least));
            prop_assert_eq!(all.equal(byte).first(), first(&|it| it == byte));
            let either = all.below(least) | all.equal(byte);
            prop_assert_eq!(either.first(), first(&|it| it < least || it == byte));
        }
    }
}
