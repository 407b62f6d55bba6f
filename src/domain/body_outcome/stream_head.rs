//! What the head of a stream says for the case that the stream is an error.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use crate::domain::wait;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StreamHead {
    pub(super) wait: Option<Duration>,
    /// No requests or no tokens were left, or it says when to come back: an error without words is a throttle then.
    pub(super) is_exhausted: bool,
}

impl StreamHead {
    pub(super) fn read(headers: &HeaderMap, now: SystemTime) -> Self {
        let is_none_left = |name| headers.get(name).is_some_and(|left| left == "0");
        let wait = wait::retry_after(headers, now);
        Self {
            wait,
            is_exhausted: wait.is_some()
                || is_none_left("x-ratelimit-remaining-requests")
                || is_none_left("x-ratelimit-remaining-tokens"),
        }
    }
}
