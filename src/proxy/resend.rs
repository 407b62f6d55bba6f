//! A request that was lost with its connection: what is known of that, and the same request once more over another one.

use std::time::Instant;

use h2::Reason;
use pingora::{Error, ErrorSource, ErrorType, RetryType};

use super::exchange::{Again, Current, Exchange};
use crate::domain::resend::{Lost, Told};

/// What Pingora says where a stream could not be had on a connection over HTTP/2 that was there.
const NO_STREAM: &str = "while creating new stream";
/// What it says where a stream was ended while its body was being written.
const NO_ROOM: &str = "cannot reserve capacity";
/// How Pingora's words end where a connection over HTTP/1.1 ended before any byte of an answer.
const NOTHING_READ: &str = "bytes already read: 0";

/// Something of the current attempt's answer has come, be it no more than that it will.
pub(super) fn note_heard(exchange: &mut Exchange) {
    let current = exchange.admitted().and_then(|it| it.current.as_mut());
    if let Some(current) = current {
        current.was_heard = true;
    }
}

/// What HTTP/2 says of why a request was lost. To streams that a GOAWAY leaves to end nothing is told of it.
pub(super) fn told(error: &Error) -> Told {
    let Some(why) = error.root_cause().downcast_ref::<h2::Error>() else {
        let is_stopped =
            error.etype() == &ErrorType::H2Error && says(error, |words| words == NO_ROOM);
        return match is_stopped && error.esource() == &ErrorSource::Upstream {
            true => Told::Stopped,
            false => Told::Nothing,
        };
    };
    match why.reason() {
        _ if !why.is_remote() => match error.etype() {
            // To a stream that is not there any more.
            ErrorType::WriteError => Told::Stopped,
            _ => Told::Nothing,
        },
        Some(Reason::HTTP_1_1_REQUIRED) => Told::WantsHttp1,
        Some(Reason::REFUSED_STREAM) => Told::NotProcessed,
        Some(_) if why.is_go_away() => Told::NotProcessed,
        _ => Told::Nothing,
    }
}

/// Makes Pingora send the request once more to the same deployment, where `error` says so little of that; the sending that
/// was lost is written down. `reused`: its connection had been used before.
pub(super) fn again(exchange: &mut Exchange, error: &Error, reused: bool) -> Option<Box<Error>> {
    let now = Instant::now();
    let admitted = exchange.admitted()?;
    let current = admitted.current.as_mut()?;
    if !admitted.relay.replayable() || error.esource() == &ErrorSource::Downstream {
        return None;
    }
    let lost = lost(current, error, reused, now);
    let outcome = lost.again(admitted.progress.may_repeat(), current.resent)?;
    current.resent += 1;
    let connections = &admitted.served.targets[current.attempt.index()].connections;
    match lost.told {
        Told::WantsHttp1 => connections.note_http1(),
        // Others that it carries find the next connection too.
        Told::NotProcessed | Told::Stopped => connections.retire(current.generation),
        // What else the pool holds may be as old.
        Told::Nothing => current.alone = true,
    }
    current.again = Some(Again::NewConnection);
    exchange.write_down(&outcome, now);
    exchange.response_bytes = 0;
    exchange.start_clock();
    let mut retried = Error::explain(
        error.etype().clone(),
        "the request was lost with its connection",
    );
    retried.as_up();
    retried.set_retry(true);
    Some(retried)
}

fn lost(current: &Current, error: &Error, reused: bool, now: Instant) -> Lost {
    let told = told(error);
    let is_write = error.etype() == &ErrorType::WriteError;
    // An end that has nothing to do with what was asked says so, and one in an answer's head says how much of it there was.
    let is_silent = error.retry == RetryType::ReusedOnly
        && (error.root_cause().is::<h2::Error>()
            || says(error, |words| words.ends_with(NOTHING_READ)));
    let is_unsent = says(error, |words| words == NO_STREAM);
    let is_end = is_write || is_silent || is_unsent || told != Told::Nothing;
    Lost {
        reused,
        was_heard: current.status.is_some() || current.was_heard || !is_end,
        unwritten: is_write || is_unsent,
        after: current
            .sent_at
            .map(|sent| now.saturating_duration_since(sent)),
        told,
    }
}

fn says(error: &Error, what: impl FnOnce(&str) -> bool) -> bool {
    let context = error.context.as_ref();
    context.is_some_and(|context| what(context.as_str()))
}
