//! What an answer cost: read as it passes, and worked out once, when the request has ended.

use std::cell::RefCell;

use pingora::http::ResponseHeader;

use crate::{
    domain::{
        event_stream::is_encoded,
        outcome::Outcome,
        route::Operation,
        usage::{Guess, Memo, Meter, Usage},
    },
    telemetry::record::AnswerEnd,
};

/// What is read of one attempt's answer.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one a request, and that is boxed"
)]
#[derive(Default)]
pub(super) enum AnswerMeter {
    /// Nothing of it has come, or nothing in it is counted in tokens.
    #[default]
    Nothing,
    Meter(Meter),
    /// It came compressed although it was asked for as it is.
    Encoded,
}

/// Whether a stream is asked for its usage by the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wish {
    /// There is nothing to ask: it is no chat's stream, or its client did.
    #[default]
    None,
    Asked,
    /// It may not be: its deployment, or its API, does not take it.
    NotAsked,
    /// It was, and that was refused.
    Refused,
}

/// What has passed of an attempt's answer, once its request has ended.
#[derive(Default)]
pub(super) struct Passed {
    pub(super) reading: AnswerMeter,
    pub(super) wish: Wish,
    /// None of it: the deployment may be at work on what it was sent.
    pub(super) is_at_work: bool,
}

thread_local! {
    /// What this thread's answers have in common.
    static MEMO: RefCell<Memo> = RefCell::default();
}

/// Lends a meter to what reads a piece as it came from the deployment.
pub(super) fn along<T>(
    meter: Option<&mut Meter>,
    read: impl FnOnce(Option<(&mut Meter, &mut Memo)>) -> T,
) -> T {
    match meter {
        Some(meter) => MEMO.with_borrow_mut(|memo| read(Some((meter, memo)))),
        None => read(None),
    }
}

impl AnswerMeter {
    /// Of an answer whose head has come.
    pub(super) fn for_head(operation: Operation, head: &ResponseHeader) -> Self {
        if !operation.uses_tokens() {
            return Self::Nothing;
        }
        match Meter::of(operation, head.status, &head.headers) {
            Some(meter) => Self::Meter(meter),
            None if head.status.is_success() && is_encoded(&head.headers) => Self::Encoded,
            None => Self::Nothing,
        }
    }

    /// The meter, where there is one.
    pub(super) fn meter(&mut self) -> Option<&mut Meter> {
        match self {
            Self::Meter(meter) => Some(meter),
            Self::Nothing | Self::Encoded => None,
        }
    }
}

impl Passed {
    /// Nothing; `is_at_work`: its request was sent.
    pub(super) fn nothing(is_at_work: bool) -> Self {
        Self {
            is_at_work,
            ..Self::default()
        }
    }

    /// What that used by its deployment's own word, else by what has passed, and why that is a guess where it is one. Only
    /// the attempt whose answer the client got counts: what failed before it was no answer of the client's.
    /// `outcome`: how that ended; `prompt`: its tokens.
    pub(super) fn used(
        &self,
        operation: Operation,
        prompt: impl FnOnce() -> u64,
        end: AnswerEnd,
        outcome: Option<&str>,
    ) -> Option<(Usage, Option<Guess>)> {
        let unsaid = |input| Usage {
            input,
            estimated: true,
            ..Usage::default()
        };
        let meter = match &self.reading {
            AnswerMeter::Meter(meter) => meter,
            AnswerMeter::Encoded => return Some((unsaid(prompt()), Some(Guess::Encoded))),
            AnswerMeter::Nothing if self.is_at_work && operation.uses_tokens() => {
                let left = end == AnswerEnd::ClientLeft;
                return left.then(|| (unsaid(prompt()), Some(Guess::ClientLeft)));
            }
            AnswerMeter::Nothing => return None,
        };
        if let Some(usage) = meter.usage() {
            return Some((usage, None));
        }
        let guess = match end {
            AnswerEnd::ClientLeft => Guess::ClientLeft,
            AnswerEnd::Broken | AnswerEnd::Idle => Guess::Broken,
            // An error that a stream told before any output is an error's answer.
            AnswerEnd::Complete if outcome == Some(Outcome::CallerError.label()) => return None,
            AnswerEnd::Complete if meter.is_unfinished() => Guess::Unfinished,
            AnswerEnd::Complete if meter.was_disbelieved() => Guess::Invalid,
            AnswerEnd::Complete if matches!(self.wish, Wish::NotAsked | Wish::Refused) => {
                Guess::NotAsked
            }
            AnswerEnd::Complete if !operation.is_of_words() => Guess::Untold,
            AnswerEnd::Complete => Guess::Missing,
        };
        Some((meter.estimate(prompt()), Some(guess)))
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;
    use crate::domain::event_stream::{Framer, KEPT};

    #[test]
    fn all_that_is_kept_of_an_open_stream_to_count_it_is_less_than_a_kilobyte() {
        let read =
            size_of::<AnswerMeter>() + size_of::<Wish>() + size_of::<Option<(Usage, Guess)>>();
        let framed = size_of::<Option<Framer>>() + KEPT;
        assert!(read + framed < 1024, "{read} and {framed}");
    }
}
