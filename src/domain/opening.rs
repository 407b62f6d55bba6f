//! The first pieces of an answer whose head does not settle what it means: a stream may begin well and be an error
//! (AZURE.md fact 1), a 404 may mean the deployment, a 429 may name its wait only in its body.
//!
//! Nothing here waits or writes: whoever holds the answer back gives each piece as it comes, and is told the outcome as
//! soon as there is one. Pieces may be cut anywhere. What is kept of them is bounded.

mod end;
mod events;
mod meaning;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

use self::{
    end::End,
    events::Events,
    meaning::{Meaning, meaning},
};
use super::{
    additions::Added,
    outcome::{Fault, Outcome},
    wait,
};

/// The most of a stream that is held, and the most of an error's body that is read, in bytes.
const MOST_HELD: usize = 64 << 10;

/// An answer that has begun and is not settled yet.
#[derive(Debug)]
pub struct Opening(Kind);

#[derive(Debug)]
enum Kind {
    Stream(Stream),
    Body(ErrorBody),
}

/// A stream before its first output.
#[derive(Debug)]
struct Stream {
    events: Events,
    head: Head,
    /// How much of it has come.
    seen: usize,
    has_output: bool,
    /// It said that it failed, and not yet why.
    has_failed: bool,
    end: End,
}

/// What the head of a stream says for the case that the stream is an error.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    wait: Option<Duration>,
    /// No requests or no tokens were left, or it says when to come back: an error without words is a throttle then.
    is_exhausted: bool,
}

#[derive(Debug)]
struct ErrorBody {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    /// What the gateway had added to the request.
    added: Added,
}

/// A stream after the commit: it can still say that it failed.
#[derive(Debug)]
pub struct Watch {
    events: Events,
    head: Head,
    has_failed: bool,
    end: End,
}

impl Opening {
    /// `None` where the head alone settles what the answer means, and where the rest can't be read.
    pub fn of(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Self> {
        if is_encoded(headers) {
            return None;
        }
        if !is_empty(headers) && Outcome::is_open_until_body(status, headers, now) {
            return Some(Self(Kind::Body(ErrorBody {
                status,
                headers: headers.clone(),
                body: Vec::new(),
                added: Added::default(),
            })));
        }
        (status == StatusCode::OK && is_event_stream(headers))
            .then(|| Self(Kind::Stream(Stream::new(Head::read(headers, now)))))
    }

    /// The same for the answer to a request that something was added to: whether that is what is refused, its body says.
    pub fn of_added(
        status: StatusCode,
        headers: &HeaderMap,
        added: Added,
        now: SystemTime,
    ) -> Option<Self> {
        let is_refusal = added.is_any() && matches!(status.as_u16(), 400 | 422);
        if !is_refusal || is_encoded(headers) || is_empty(headers) {
            return Self::of(status, headers, now);
        }
        Some(Self(Kind::Body(ErrorBody {
            status,
            headers: headers.clone(),
            body: Vec::new(),
            added,
        })))
    }

    /// Whether the model has said something in it: only of a stream that can be read.
    pub fn has_output(&self) -> bool {
        matches!(&self.0, Kind::Stream(stream) if stream.has_output)
    }

    /// Whether it is a stream of events, which may begin with long silence; else an error's body.
    pub fn is_stream(&self) -> bool {
        matches!(self.0, Kind::Stream(_))
    }

    /// Takes in the next piece; `end`: the last one. `Some` once the outcome is known, at the end at the latest.
    pub fn read(&mut self, piece: &[u8], end: bool, now: SystemTime) -> Option<Outcome> {
        match &mut self.0 {
            Kind::Stream(stream) => stream.read(piece, end, now),
            Kind::Body(body) => body.read(piece, end, now),
        }
    }

    /// What it means that the answer broke off here with `fault`.
    pub fn broken_off(&self, fault: Fault, now: SystemTime) -> Outcome {
        match &self.0 {
            // What these mean the rest could not have changed for the better.
            Kind::Body(body) if matches!(body.status.as_u16(), 401 | 403 | 424 | 429) => {
                body.outcome(now)
            }
            Kind::Body(_) | Kind::Stream(_) => Outcome::fault(fault),
        }
    }

    /// What reads the rest of a stream.
    pub fn into_watch(self) -> Option<Watch> {
        match self.0 {
            Kind::Stream(stream) => Some(Watch {
                events: stream.events,
                head: stream.head,
                has_failed: stream.has_failed,
                end: stream.end,
            }),
            Kind::Body(_) => None,
        }
    }
}

/// Whether an answer is a stream of events.
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    const KIND: &[u8] = b"text/event-stream";
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.as_bytes().get(..KIND.len()));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(KIND))
}

/// The same, where its events can be read as they pass.
pub fn is_readable_stream(headers: &HeaderMap) -> bool {
    is_event_stream(headers) && !is_encoded(headers)
}

/// Whether an answer's content is compressed, or otherwise can't be read.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    let coding = headers.get(header::CONTENT_ENCODING);
    coding.is_some_and(|coding| coding != "identity")
}

/// Whether nothing comes behind an answer's head.
fn is_empty(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    length.is_some_and(|length| length == "0")
}

impl Head {
    fn read(headers: &HeaderMap, now: SystemTime) -> Self {
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

impl Stream {
    fn new(head: Head) -> Self {
        Self {
            events: Events::default(),
            head,
            seen: 0,
            has_output: false,
            has_failed: false,
            end: End::default(),
        }
    }

    /// An error beats output that came with it: none of it has gone out yet.
    fn read(&mut self, piece: &[u8], end: bool, now: SystemTime) -> Option<Outcome> {
        self.seen = self.seen.saturating_add(piece.len());
        let (mut has_output, mut error) = (false, None);
        self.events.read(piece, end, |event| {
            let (meaning, form) = meaning(&event);
            self.end.take_form(form);
            self.end.see(&event);
            match meaning {
                Meaning::Nothing => {}
                // Nobody knows what half an event would have been.
                Meaning::Odd => self.end.is_odd |= event.is_odd || !event.is_unended,
                Meaning::Output => has_output = true,
                Meaning::Failed => self.has_failed = true,
                Meaning::Error(told) => error = error.take().or(Some(told)),
            }
        });
        if let Some(error) = error {
            return Some(error.outcome(&self.head, now));
        }
        self.has_output = has_output;
        if end {
            return Some(self.outcome_at_end());
        }
        (has_output || self.seen > MOST_HELD).then_some(Outcome::Served)
    }

    /// What it comes to if all of it is here already.
    fn outcome_at_end(&self) -> Outcome {
        match (self.has_failed, self.has_output, self.end.is_odd) {
            (true, ..) => Outcome::fault(Fault::Status),
            // Of what is odd whoever asked may make sense.
            (false, true, _) | (false, _, true) if self.end.may_end() => Outcome::Served,
            _ => Outcome::fault(Fault::Broken),
        }
    }
}

impl ErrorBody {
    fn read(&mut self, piece: &[u8], end: bool, now: SystemTime) -> Option<Outcome> {
        let room = MOST_HELD - self.body.len();
        self.body.extend_from_slice(&piece[..piece.len().min(room)]);
        (end || piece.len() > room).then(|| self.outcome(now))
    }

    fn outcome(&self, now: SystemTime) -> Outcome {
        let outcome = Outcome::of_error_body(self.status, &self.headers, &self.body, now);
        match self.added.is_any() {
            true => Outcome::of_added(&self.body, self.added, outcome),
            false => outcome,
        }
    }
}

impl Watch {
    /// Whether the answer's last event has come: nothing is missing if only the transfer's end is.
    pub fn is_whole(&self) -> bool {
        self.end.is_whole()
    }

    /// Takes in the next piece; `Some` where the deployment says in it that it failed, or has ended without its end.
    pub fn read(&mut self, piece: &[u8], end: bool, now: SystemTime) -> Option<Outcome> {
        let (mut error, head) = (None, self.head);
        let (has_failed, its_end) = (&mut self.has_failed, &mut self.end);
        self.events.read(piece, end, |event| {
            its_end.see(&event);
            if !event.may_be_error(its_end.is_chat()) {
                return;
            }
            match meaning(&event).0 {
                Meaning::Failed => *has_failed = true,
                Meaning::Error(told) => error = error.or(Some(told.outcome(&head, now))),
                Meaning::Nothing | Meaning::Odd | Meaning::Output => {}
            }
        });
        let at_end = || match (self.has_failed, self.end.may_end()) {
            (true, _) => Some(Outcome::fault(Fault::Status)),
            (false, true) => None,
            (false, false) => Some(Outcome::fault(Fault::Broken)),
        };
        error.or_else(|| end.then(at_end).flatten())
    }
}

#[cfg(test)]
mod tests;
