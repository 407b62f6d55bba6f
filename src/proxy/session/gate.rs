//! Whether an answer goes out as it comes, and what is known of it so far: shared by the hooks, which read each piece on
//! its way, and the stand-in, which holds the pieces.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use pingora::http::ResponseHeader;

use crate::domain::{
    answer::{Answer, Verdict},
    body_outcome::UnsettledAnswer,
    forwarding::Mask,
    outcome::{Fault, Outcome},
    usage::{Memo, Meter},
};

/// One attempt's answer on its way to the client.
#[derive(Default)]
pub(crate) struct Gate {
    pub(super) state: GateState,
    pub(crate) answer: Answer,
    /// What the answer came to at an end that no hook was asked about.
    verdict: Option<Outcome>,
    /// When the first bytes of a body went out, where that was not right after a hook had seen them.
    pub(crate) first_out: Option<Instant>,
    /// Takes out what the deployment was asked with, of an answer that is an error.
    pub(super) mask: Option<Mask>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum GateState {
    /// What comes goes out.
    #[default]
    Open,
    /// Nothing goes out: another attempt may still take its place.
    Held { until: Instant },
    /// What comes goes out, but the transfer is cut off where it would end.
    Doomed,
}

/// What a piece of an answer changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Nothing: it goes the way of those before it.
    None,
    /// Nothing of it has gone out, and now its outcome is known.
    Settled(Outcome),
    /// It went out unjudged, and now its outcome is known.
    Late(Outcome),
    /// It went out as served, and now says that it failed.
    Failed(Outcome),
}

impl Gate {
    /// Holds an answer until it is settled; a stream no longer than `until`.
    pub(crate) fn hold(&mut self, opening: UnsettledAnswer, until: Instant) {
        self.state = GateState::Held { until };
        self.answer = Answer::opened(opening);
    }

    /// From here on nothing goes out of it that holds this credential.
    pub(crate) fn mask(&mut self, sent: &HeaderValue) {
        if self.mask.is_none() {
            self.mask = Mask::from_sent(sent);
        }
    }

    /// Takes in the next piece on its way, and makes it what goes out of it now. The meter reads along.
    pub(crate) fn pass(
        &mut self,
        piece: &mut Option<Bytes>,
        end: bool,
        meter: Option<(&mut Meter, &mut Memo)>,
    ) -> Word {
        let come = piece.take();
        let (has_come, now) = (come.is_some(), SystemTime::now());
        let (out, verdict) = self.answer.pass(come.unwrap_or_default(), end, now, meter);
        *piece = Some(out).filter(|out| !out.is_empty() || has_come && !self.answer.is_changed());
        match verdict {
            None => Word::None,
            Some(Verdict::Settled(outcome)) if self.is_held() => Word::Settled(outcome),
            Some(Verdict::Settled(outcome)) => Word::Late(outcome),
            Some(Verdict::Failed(outcome)) => Word::Failed(outcome),
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        matches!(self.state, GateState::Held { .. })
    }

    /// Lets out what is held.
    pub(crate) fn open(&mut self) {
        self.state = GateState::Open;
    }

    /// Nothing more is to be believed: where the transfer would end it is cut off.
    pub(crate) fn doom(&mut self) {
        self.state = GateState::Doomed;
    }

    /// What an answer came to that ended where no hook could see it, if it is not judged yet.
    pub(crate) fn take_verdict(&mut self) -> Option<Outcome> {
        self.verdict.take()
    }

    /// What it means that the attempt ended here with `fault`, if its answer had begun and is not judged yet.
    pub(crate) fn broken_off(&mut self, fault: Fault) -> Option<Outcome> {
        if let Some(verdict) = self.verdict.take() {
            return Some(verdict);
        }
        self.answer.broken_off(fault, SystemTime::now())
    }

    /// The end has come, perhaps where no hook saw it: `rest` is what still goes out. `Err`: the answer is not to be
    /// delivered.
    pub(super) fn finish(&mut self, rest: &mut Option<Bytes>) -> Result<(), ()> {
        let (outcome, was_held) = match self.pass(rest, true, None) {
            Word::None => return Ok(()),
            Word::Settled(outcome) => (outcome, true),
            Word::Late(outcome) | Word::Failed(outcome) => (outcome, false),
        };
        self.verdict = Some(outcome);
        match (outcome.is_delivered(), was_held) {
            (true, true) => self.open(),
            (true, false) => {}
            (false, true) => return Err(()),
            (false, false) => self.doom(),
        }
        Ok(())
    }

    /// The time to hold a stream is over. `Err`: it is no stream, and overdue.
    pub(super) fn time_is_up(&mut self, is_body_among: bool, now: Instant) -> Result<(), ()> {
        if !self.answer.is_open_stream() {
            return Err(());
        }
        self.open();
        self.first_out = is_body_among.then_some(now);
        Ok(())
    }
}

/// Whether an answer begins with this head: what comes before it does not, but for the one that ends HTTP.
pub(crate) fn is_final(head: &ResponseHeader) -> bool {
    !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS
}
