//! Which members a request has asked already: mostly none or few, but in a large pool that is throttled as a whole, many.

/// Up to so many are found as fast by looking at each.
const FEW: usize = 8;

pub(super) enum Tried<'a> {
    Few(&'a [usize]),
    /// One bit a member.
    Many(Vec<u64>),
}

impl<'a> Tried<'a> {
    pub(super) fn new(tried: &'a [usize]) -> Self {
        if tried.len() <= FEW {
            return Self::Few(tried);
        }
        let last = tried.iter().max().copied().unwrap_or_default();
        let mut bits = vec![0; last / 64 + 1];
        for index in tried {
            bits[index / 64] |= 1 << (index % 64);
        }
        Self::Many(bits)
    }

    pub(super) fn has(&self, index: usize) -> bool {
        match self {
            Self::Few(tried) => tried.contains(&index),
            Self::Many(bits) => bits
                .get(index / 64)
                .is_some_and(|word| word >> (index % 64) & 1 == 1),
        }
    }
}
