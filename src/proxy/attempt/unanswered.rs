//! An attempt that ended with its connection before anything of an answer had come: what is known of that, and the same
//! request once more over another connection.

use std::time::Instant;

use h2::Reason;
use http::HeaderValue;
use pingora::{Error, ErrorSource, ErrorType, RetryType};

use super::{
    news::News,
    turn::{Again, Over, Turn, Why},
};
use crate::{
    domain::{
        outcome::Outcome,
        resend::{Lost, Told},
    },
    proxy::{metering::Passed, walk::Walk},
};

/// What Pingora says where a stream could not be had on a connection over HTTP/2 that was there.
const NO_STREAM: &str = "while creating new stream";
/// What it says where a stream was ended while its body was being written.
const NO_ROOM: &str = "cannot reserve capacity";
/// How Pingora's words end where a connection over HTTP/1.1 ended before any byte of an answer.
const NOTHING_READ: &str = "bytes already read: 0";

pub(crate) struct Unanswered {
    pub(super) turn: Turn,
    pub(super) credential: HeaderValue,
    pub(super) generation: u64,
    /// `None`: its request was not sent.
    pub(super) sent: Option<Waited>,
}

/// How a request waited for its answer.
pub(super) struct Waited {
    pub(super) since: Instant,
    /// Something of an answer has come.
    pub(super) was_heard: bool,
}

/// Its request was lost with its connection, and is to be sent once more.
#[derive(Clone, Copy)]
pub(crate) struct Loss {
    outcome: Outcome,
    told: Told,
}

impl Unanswered {
    /// Whether `error` says so little of the deployment that it is sent the request once more. `reused`: its connection had
    /// been used before.
    pub(crate) fn loss(&self, error: &Error, reused: bool, walk: &Walk) -> Option<Loss> {
        if !walk.call.relay.replayable() || error.esource() == &ErrorSource::Downstream {
            return None;
        }
        let lost = self.lost(error, reused, Instant::now());
        let resent = self.turn.history.resent;
        let outcome = lost.again(walk.progress.may_repeat(), resent)?;
        let told = lost.told;
        Some(Loss { outcome, told })
    }

    fn lost(&self, error: &Error, reused: bool, now: Instant) -> Lost {
        let (told, sent) = (told(error), self.sent.as_ref());
        let is_write = error.etype() == &ErrorType::WriteError;
        // An end that has nothing to do with what was asked says so, and one in an answer's head says how much of it there
        // was.
        let is_silent = error.retry == RetryType::ReusedOnly
            && (error.root_cause().is::<h2::Error>()
                || says(error, |words| words.ends_with(NOTHING_READ)));
        let is_unsent = says(error, |words| words == NO_STREAM);
        let is_end = is_write || is_silent || is_unsent || told != Told::Nothing;
        Lost {
            reused,
            was_heard: sent.is_some_and(|sent| sent.was_heard) || !is_end,
            unwritten: is_write || is_unsent,
            after: sent.map(|sent| now.saturating_duration_since(sent.since)),
            told,
        }
    }

    /// Once more to the same deployment; the sending that was lost is written down.
    pub(crate) fn resend(mut self, loss: Loss, walk: &Walk) -> Over {
        let connections = &self.turn.target(&walk.call).connections;
        match loss.told {
            Told::WantsHttp1 => connections.note_http1(),
            // Others that it carries find the next connection too.
            Told::NotProcessed | Told::Stopped => connections.retire(self.generation),
            // What else the pool holds may be as old.
            Told::Nothing => self.turn.history.is_alone = true,
        }
        self.turn.history.resent += 1;
        let now = Instant::now();
        let line = self.turn.write_down(None, &loss.outcome, &walk.call, now);
        let again = Again {
            turn: self.turn,
            credential: self.credential,
            why: Why::NewConnection,
        };
        Over::again(again, line)
    }

    /// It is over, without a connection.
    pub(crate) fn unconnected(self, error: &Error, walk: &mut Walk) -> Over {
        let fault = self.turn.target(&walk.call).connector.note_failure(error);
        self.end(&Outcome::fault(fault), walk)
    }

    /// It is over, without an answer.
    pub(crate) fn end(self, outcome: &Outcome, walk: &mut Walk) -> Over {
        self.turn.end(None, outcome, walk)
    }

    /// It is over, and so is the request, for no deployment's sake.
    pub(super) fn leave(mut self, outcome: &Outcome, walk: &mut Walk) -> (Passed, News) {
        let (line, changes) = self.turn.judge(None, outcome, walk, Instant::now());
        let passed = Passed::nothing(self.sent.is_some());
        (passed, News::new(Some(line), changes))
    }
}

/// What HTTP/2 says of why a request was lost. To streams that a GOAWAY leaves to end nothing is told of it.
pub(crate) fn told(error: &Error) -> Told {
    let Some(why) = error.root_cause().downcast_ref::<h2::Error>() else {
        let is_stopped =
            error.etype() == &ErrorType::H2Error && says(error, |words| words == NO_ROOM);
        return if is_stopped && error.esource() == &ErrorSource::Upstream {
            Told::Stopped
        } else {
            Told::Nothing
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

fn says(error: &Error, what: impl FnOnce(&str) -> bool) -> bool {
    let context = error.context.as_ref();
    context.is_some_and(|context| what(context.as_str()))
}
