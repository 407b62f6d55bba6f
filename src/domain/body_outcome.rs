//! The pieces of an answer whose head does not settle what it means: a stream may begin well and be an error
//! (wire facts: Streams), a 404 may mean the deployment, a 429 may name its wait only in its body.
//!
//! Nothing here waits or writes: whoever holds the answer back gives each piece as it comes, and is told the outcome as
//! soon as there is one. Pieces may be cut anywhere. What is kept of them is bounded.

mod event_meaning;
mod stream_end;
mod stream_head;

use std::time::SystemTime;

use http::{HeaderMap, StatusCode, header};

use self::{
    event_meaning::{Meaning, may_be_error, meaning},
    stream_end::StreamEnd,
    stream_head::StreamHead,
};
use super::{
    additions::Added,
    event_stream::{Event, is_encoded, is_event_stream},
    outcome::{Fault, Outcome},
};

/// The most of a stream that is held, and the most of an error's body that is read, in bytes.
const MOST_HELD: usize = 64 << 10;

/// An answer that has begun and is not settled yet.
#[derive(Debug)]
pub struct UnsettledAnswer(Kind);

#[derive(Debug)]
enum Kind {
    Stream(Stream),
    Body(ErrorBody),
}

/// A stream before its first output.
#[derive(Debug)]
struct Stream {
    head: StreamHead,
    /// How much of it has come.
    seen: usize,
    has_output: bool,
    /// It said that it failed, and not yet why.
    has_failed: bool,
    /// It said that it failed, and why.
    error: Option<Outcome>,
    end: StreamEnd,
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
pub struct StreamWatch {
    head: StreamHead,
    has_failed: bool,
    error: Option<Outcome>,
    end: StreamEnd,
}

impl UnsettledAnswer {
    /// `None` where the head alone settles what the answer means, and where the rest can't be read.
    pub fn from_head(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Self> {
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
            .then(|| Self(Kind::Stream(Stream::new(StreamHead::read(headers, now)))))
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
            return Self::from_head(status, headers, now);
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

    /// Takes in an event of a stream.
    pub fn see(&mut self, event: &Event<'_>, now: SystemTime) {
        if let Kind::Stream(stream) = &mut self.0 {
            stream.see(event, now);
        }
    }

    /// Takes in the next piece, whose events have been seen; `end`: the last one. `Some` once the outcome is known, at the end
    /// at the latest.
    pub fn read(&mut self, piece: &[u8], end: bool, now: SystemTime) -> Option<Outcome> {
        match &mut self.0 {
            Kind::Stream(stream) => stream.outcome(piece.len(), end),
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
    pub fn into_watch(self) -> Option<StreamWatch> {
        match self.0 {
            Kind::Stream(stream) => Some(StreamWatch {
                head: stream.head,
                has_failed: stream.has_failed,
                error: None,
                end: stream.end,
            }),
            Kind::Body(_) => None,
        }
    }
}

/// Whether nothing comes behind an answer's head.
fn is_empty(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    length.is_some_and(|length| length == "0")
}

impl Stream {
    fn new(head: StreamHead) -> Self {
        Self {
            head,
            seen: 0,
            has_output: false,
            has_failed: false,
            error: None,
            end: StreamEnd::default(),
        }
    }

    fn see(&mut self, event: &Event<'_>, now: SystemTime) {
        let (meaning, form) = meaning(event);
        self.end.take_form(form);
        self.end.see(event);
        match meaning {
            Meaning::Nothing => {}
            // Nobody knows what half an event would have been.
            Meaning::Odd => self.end.is_odd |= event.is_odd || !event.is_unended,
            Meaning::Output => self.has_output = true,
            Meaning::Failed => self.has_failed = true,
            Meaning::Error(told) => {
                self.error
                    .get_or_insert_with(|| told.outcome(&self.head, now));
            }
        }
    }

    /// What it comes to with so many bytes more. An error beats output that came with it: none of it has gone out yet.
    fn outcome(&mut self, length: usize, end: bool) -> Option<Outcome> {
        self.seen = self.seen.saturating_add(length);
        if let Some(error) = self.error.take() {
            self.has_output = false;
            return Some(error);
        }
        if end {
            return Some(self.outcome_at_end());
        }
        (self.has_output || self.seen > MOST_HELD).then_some(Outcome::Served)
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
        if self.added.is_any() {
            Outcome::of_added(&self.body, self.added, outcome)
        } else {
            outcome
        }
    }
}

impl StreamWatch {
    /// Whether the answer's last event has come: nothing is missing if only the transfer's end is.
    pub fn is_whole(&self) -> bool {
        self.end.is_whole()
    }

    /// Takes in an event.
    pub fn see(&mut self, event: &Event<'_>, now: SystemTime) {
        self.end.see(event);
        if !may_be_error(event, self.end.is_chat()) {
            return;
        }
        match meaning(event).0 {
            Meaning::Failed => self.has_failed = true,
            Meaning::Error(told) => {
                self.error
                    .get_or_insert_with(|| told.outcome(&self.head, now));
            }
            Meaning::Nothing | Meaning::Odd | Meaning::Output => {}
        }
    }

    /// A piece has come, whose events have been seen; `Some` where the deployment says in it that it failed, or has ended
    /// without its end.
    pub fn outcome(&mut self, end: bool) -> Option<Outcome> {
        let at_end = || match (self.has_failed, self.end.may_end()) {
            (true, _) => Some(Outcome::fault(Fault::Status)),
            (false, true) => None,
            (false, false) => Some(Outcome::fault(Fault::Broken)),
        };
        self.error.take().or_else(|| end.then(at_end).flatten())
    }
}

#[cfg(test)]
mod tests;
