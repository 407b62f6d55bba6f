//! How an answer departs from the straight way: slower, silent for a while, broken off, or with an odd usage.

use std::{convert::Infallible, time::Duration};

use super::faults::{OddUsage, StreamError};

/// How an answer departs from the straight way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deviation {
    /// Before each event, or each piece of a plain answer.
    pub(crate) delay: Option<Duration>,
    /// Before the event of that number alone.
    pub(crate) silence: Option<(usize, Duration)>,
    pub(crate) breaks: Option<BreakPoint>,
    /// Its usage is not what it should be.
    pub(crate) odd_usage: Option<OddUsage>,
}

impl Deviation {
    /// What passes before the event of that number.
    pub(crate) fn before(&self, at: usize) -> Duration {
        let silence = self.silence.filter(|(here, _)| *here == at);
        self.delay.unwrap_or_default() + silence.map_or(Duration::ZERO, |(_, long)| long)
    }
}

/// Where a stream breaks, and how.
#[derive(Clone, Debug)]
pub(crate) struct BreakPoint {
    pub(crate) after_events: usize,
    pub(crate) kind: BreakKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BreakKind {
    Reset,
    Close,
    Error(Box<StreamError>),
}

/// The transfer ends here without its end; hyper passes this on as a broken connection or stream.
#[derive(Debug, thiserror::Error)]
#[error("broken off on purpose")]
pub(crate) struct BrokenOff;

impl From<Infallible> for BrokenOff {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
