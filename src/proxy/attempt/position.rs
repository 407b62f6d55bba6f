//! Where a request stands on its way: which attempt is under way, and at which stage that is.

use std::mem;

use super::{
    again::Again,
    answer::{Answer, Delivering},
    connecting::Connecting,
    held::Held,
    over::News,
    sent::Sent,
};
use crate::{
    domain::outcome::Outcome,
    proxy::{metering::Passed, walk::Walk},
    telemetry::record::AttemptRecord,
};

/// What is to be done next.
#[derive(Default)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one a request, and that is boxed"
)]
pub(crate) enum Position {
    /// A deployment is to be chosen.
    #[default]
    Choosing,
    /// The same deployment is to be asked once more.
    Again(Again),
    UnderWay(Attempt),
    /// The client has left, before an answer began.
    Left(Passed),
}

/// An attempt under way, or the one whose answer is being delivered.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one a request, and that is boxed"
)]
pub(crate) enum Attempt {
    Connecting(Connecting),
    Sent(Sent),
    Held(Held),
    Delivering(Delivering),
}

impl Position {
    /// Whom to ask once more.
    pub(crate) fn take_again(&mut self) -> Option<Again> {
        match mem::take(self) {
            Self::Again(again) => Some(again),
            _ => None,
        }
    }

    /// The answer under way.
    pub(crate) fn answer(&mut self) -> Option<&mut Answer> {
        match self {
            Self::UnderWay(Attempt::Held(held)) => Some(&mut held.0),
            Self::UnderWay(Attempt::Delivering(delivering)) => Some(&mut delivering.answer),
            _ => None,
        }
    }

    /// The request has ended; `is_whole`: with all of an answer. What that was goes to its record.
    pub(crate) fn finish(self, is_whole: bool, walk: &Walk) -> (Option<AttemptRecord>, Passed) {
        match self {
            Self::UnderWay(Attempt::Delivering(delivering)) => {
                let (line, passed) = delivering.finish(is_whole, walk);
                (Some(line), passed)
            }
            Self::UnderWay(Attempt::Held(held)) => (None, held.0.passed()),
            // It may be at work on what it was sent.
            Self::UnderWay(Attempt::Sent(_)) => (None, Passed::nothing(true)),
            Self::Left(passed) => (None, passed),
            Self::Choosing | Self::Again(_) | Self::UnderWay(Attempt::Connecting(_)) => {
                (None, Passed::nothing(false))
            }
        }
    }
}

impl Attempt {
    /// Its end is not its deployment's doing, or is out already: no other deployment takes its place.
    pub(crate) fn close(self, outcome: &Outcome, walk: &mut Walk) -> (Position, News) {
        let unanswered = match self {
            Self::Connecting(connecting) => connecting.cut_off(),
            Self::Sent(sent) => sent.cut_off(),
            Self::Held(held) => {
                let (delivering, news) = held.close(outcome, walk);
                return (Position::UnderWay(Self::Delivering(delivering)), news);
            }
            Self::Delivering(mut delivering) => {
                let news = delivering.amend(outcome, walk);
                return (Position::UnderWay(Self::Delivering(delivering)), news);
            }
        };
        let (passed, news) = unanswered.leave(outcome, walk);
        (Position::Left(passed), news)
    }
}
