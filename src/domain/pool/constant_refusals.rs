//! A deployment that answers nothing but 4xx, whoever asks: is it the callers', or is it set up wrongly?
//!
//! Its 4xx alone can't tell. From the time that it looks so its next ones are asked of another deployment as well, where
//! that can be; who serves such a request shows whose fault it is.

use std::time::Instant;

/// So many in a row, and none that it served.
const MANY: u32 = 5;

/// What it has answered since it last served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusing {
    /// Of the latest.
    pub status: u16,
    /// When the first came.
    pub since: Instant,
    pub times: u32,
}

impl Refusing {
    pub(super) fn add(this: Option<Self>, status: u16, now: Instant) -> Self {
        let (since, times) = this.map_or((now, 0), |it| (it.since, it.times));
        Self {
            status,
            since,
            times: times.saturating_add(1),
        }
    }

    /// Whether these are too many to be chance.
    pub fn is_suspect(&self) -> bool {
        self.times >= MANY
    }
}
