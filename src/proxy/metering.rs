//! What an answer cost: read as it passes, and worked out once, when the request has ended.

use std::cell::RefCell;

use pingora::http::ResponseHeader;

use super::exchange::{Current, Exchange, Wish};
use crate::{
    domain::{
        event_stream::is_encoded,
        outcome::Outcome,
        route::Operation,
        usage::{Guess, Memo, Meter, Usage},
    },
    telemetry::record::End,
};

/// What is read of one attempt's answer.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one a request, and that is boxed"
)]
#[derive(Default)]
pub(super) enum Reading {
    /// Nothing of it has come, or nothing in it is counted in tokens.
    #[default]
    Nothing,
    Meter(Meter),
    /// It came compressed although it was asked for as it is.
    Encoded,
}

/// An answer's head has come.
pub(super) fn begin(exchange: &mut Exchange, head: &ResponseHeader) {
    let Some(admitted) = exchange.admitted() else {
        return;
    };
    let (_, operation) = admitted.call;
    let Some(current) = &mut admitted.current else {
        return;
    };
    if !operation.uses_tokens() {
        return;
    }
    current.reading = match Meter::of(operation, head.status, &head.headers) {
        Some(meter) => Reading::Meter(meter),
        None if head.status.is_success() && is_encoded(&head.headers) => Reading::Encoded,
        None => Reading::Nothing,
    };
}

thread_local! {
    /// What this thread's answers have in common.
    static MEMO: RefCell<Memo> = RefCell::default();
}

/// Lends the attempt's meter, where it has one, to what reads a piece as it came from the deployment.
pub(super) fn along<T>(
    current: &mut Option<Current>,
    read: impl FnOnce(Option<(&mut Meter, &mut Memo)>) -> T,
) -> T {
    match current.as_mut().map(|current| &mut current.reading) {
        Some(Reading::Meter(meter)) => MEMO.with_borrow_mut(|memo| read(Some((meter, memo)))),
        _ => read(None),
    }
}

/// Writes down what the request used, and why that is a guess where it is one. Only the attempt whose answer the client
/// got counts: what failed before it was no answer of the client's.
pub(super) fn conclude(exchange: &mut Exchange, end: End) {
    let last = exchange.attempts.last().map(|last| last.outcome);
    let is_refused = exchange.refusal.is_some();
    let Some(admitted) = exchange.admitted() else {
        return;
    };
    let (received, _) = admitted.relay.passed_on();
    let prompt = &mut admitted.prompt;
    let prompt = || prompt.tokens() + received.div_ceil(4);
    let Some(current) = admitted.current.as_ref().filter(|_| !is_refused) else {
        return;
    };
    let (_, operation) = admitted.call;
    if !operation.uses_tokens() {
        return;
    }
    let Some((usage, guess)) = used(current, operation, prompt, end, last) else {
        return;
    };
    (exchange.usage, exchange.guess) = (Some(usage), guess);
}

/// What an attempt used by its deployment's own word, else by what has passed.
fn used(
    current: &Current,
    operation: Operation,
    prompt: impl FnOnce() -> u64,
    end: End,
    outcome: Option<&str>,
) -> Option<(Usage, Option<Guess>)> {
    let unsaid = |input| Usage {
        input,
        estimated: true,
        ..Usage::default()
    };
    let meter = match &current.reading {
        Reading::Meter(meter) => meter,
        Reading::Encoded => return Some((unsaid(prompt()), Some(Guess::Encoded))),
        // It may be at work on what it was sent.
        Reading::Nothing if current.sent_at.is_some() && current.status.is_none() => {
            return (end == End::ClientLeft).then(|| (unsaid(prompt()), Some(Guess::ClientLeft)));
        }
        Reading::Nothing => return None,
    };
    if let Some(usage) = meter.usage() {
        return Some((usage, None));
    }
    let guess = match end {
        End::ClientLeft => Guess::ClientLeft,
        End::Broken | End::Idle => Guess::Broken,
        // An error that a stream told before any output is an error's answer.
        End::Complete if outcome == Some(Outcome::CallerError.label()) => return None,
        End::Complete if meter.is_unfinished() => Guess::Unfinished,
        End::Complete if meter.was_disbelieved() => Guess::Invalid,
        End::Complete if matches!(current.usage, Wish::NotAsked | Wish::Refused) => Guess::NotAsked,
        End::Complete if !operation.is_of_words() => Guess::Untold,
        End::Complete => Guess::Missing,
    };
    Some((meter.estimate(prompt()), Some(guess)))
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;
    use crate::domain::event_stream::{Framer, KEPT};

    #[test]
    fn all_that_is_kept_of_an_open_stream_to_count_it_is_less_than_a_kilobyte() {
        let read = size_of::<Reading>() + size_of::<Wish>() + size_of::<Option<(Usage, Guess)>>();
        let framed = size_of::<Option<Framer>>() + KEPT;
        assert!(read + framed < 1024, "{read} and {framed}");
    }
}
