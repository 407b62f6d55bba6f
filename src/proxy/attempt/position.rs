//! Where a request stands on its way: which attempt is under way, and at which stage that is.

use std::mem;

use super::{
    answer::{AttemptAnswer, Delivering},
    connecting::Connecting,
    held::HeldAnswer,
    news::News,
    sent::Sent,
    turn::Again,
};
use crate::{
    domain::outcome::Outcome,
    proxy::{metering::Passed, walk::Walk},
    telemetry::record::AttemptRecord,
};

/// The attempt under way by its stage, or what comes next.
#[derive(Default)]
pub(crate) enum Position {
    /// A deployment is to be chosen.
    #[default]
    Choosing,
    /// The same deployment is to be asked once more.
    Again(Again),
    Connecting(Connecting),
    Sent(Sent),
    HeldAnswer(HeldAnswer),
    Delivering(Delivering),
    /// The client has left, before an answer began.
    Left(Passed),
}

impl Position {
    pub(crate) fn is_under_way(&self) -> bool {
        !matches!(self, Self::Choosing | Self::Again(_) | Self::Left(_))
    }

    /// Whom to ask once more.
    pub(crate) fn take_again(&mut self) -> Option<Again> {
        match mem::take(self) {
            Self::Again(again) => Some(again),
            _ => None,
        }
    }

    /// The answer under way.
    pub(crate) fn answer(&mut self) -> Option<&mut AttemptAnswer> {
        match self {
            Self::HeldAnswer(held) => Some(&mut held.0),
            Self::Delivering(delivering) => Some(&mut delivering.answer),
            _ => None,
        }
    }

    /// What is under way ends by no deployment's doing, or is out already: no other deployment takes its place.
    pub(crate) fn close(&mut self, outcome: &Outcome, walk: &mut Walk) -> News {
        let unanswered = match mem::take(self) {
            Self::Connecting(connecting) => connecting.cut_off(),
            Self::Sent(sent) => sent.cut_off(),
            Self::HeldAnswer(held) => {
                let (delivering, news) = held.close(outcome, walk);
                *self = Self::Delivering(delivering);
                return news;
            }
            Self::Delivering(mut delivering) => {
                let news = delivering.amend(outcome, walk);
                *self = Self::Delivering(delivering);
                return news;
            }
            over => {
                *self = over;
                return News::default();
            }
        };
        let (passed, news) = unanswered.leave(outcome, walk);
        *self = Self::Left(passed);
        news
    }

    /// The request has ended; `is_whole`: with all of an answer. What that was goes to its record.
    pub(crate) fn finish(self, is_whole: bool, walk: &Walk) -> (Option<AttemptRecord>, Passed) {
        match self {
            Self::Delivering(delivering) => {
                let (line, passed) = delivering.finish(is_whole, walk);
                (Some(line), passed)
            }
            Self::HeldAnswer(held) => (None, held.0.passed()),
            // It may be at work on what it was sent.
            Self::Sent(_) => (None, Passed::nothing(true)),
            Self::Left(passed) => (None, passed),
            Self::Choosing | Self::Again(_) | Self::Connecting(_) => (None, Passed::nothing(false)),
        }
    }
}
