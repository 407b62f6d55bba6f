//! An answer from its head on; once it is judged and goes out, it may still end otherwise than it was judged.

use std::time::Instant;

use http::HeaderValue;

use super::{
    additions::Additions,
    news::News,
    turn::{Head, Turn},
};
use crate::{
    domain::{additions::Added, deployment::Deployment, outcome::Outcome, usage::Meter},
    proxy::{
        metering::{AnswerMeter, Passed, Wish},
        walk::Walk,
    },
    telemetry::record::AttemptRecord,
};

pub(crate) struct AttemptAnswer {
    pub(super) turn: Turn,
    /// Our credential as it was sent.
    pub(super) credential: HeaderValue,
    pub(super) added: Additions,
    pub(super) head: Head,
    /// What is read of it.
    pub(super) reading: AnswerMeter,
}

impl AttemptAnswer {
    pub(crate) fn deployment(&self) -> &Deployment {
        self.turn.chosen.deployment()
    }

    /// What its deployment was asked with.
    pub(crate) fn credential(&self) -> &HeaderValue {
        &self.credential
    }

    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    /// What its request had added.
    pub(crate) fn added(&self) -> Added {
        self.added.said()
    }

    /// Whether the gateway asked it for the usage of its stream.
    pub(crate) fn was_asked_for_usage(&self) -> bool {
        self.added.usage == Wish::Asked
    }

    /// It looks well so far.
    pub(crate) fn looks_well(&self) {
        self.turn.chosen.looks_well();
    }

    /// What counts its tokens, where something does.
    pub(crate) fn meter(&mut self) -> Option<&mut Meter> {
        self.reading.meter()
    }

    pub(super) fn passed(self) -> Passed {
        Passed {
            reading: self.reading,
            wish: self.added.usage,
            is_at_work: false,
        }
    }
}

/// One that was judged, and goes out.
pub(crate) struct Delivering {
    pub(super) answer: AttemptAnswer,
    /// What the record will say of it.
    line: AttemptRecord,
}

impl Delivering {
    pub(super) fn new(answer: AttemptAnswer, line: AttemptRecord) -> Self {
        Self { answer, line }
    }

    /// It ends otherwise than it was judged.
    pub(crate) fn amend(&mut self, outcome: &Outcome, walk: &mut Walk) -> News {
        let AttemptAnswer { turn, head, .. } = &self.answer;
        let changes = turn.amend(head, outcome, walk, Instant::now());
        self.line.outcome = outcome.label();
        News::new(None, changes)
    }

    /// Its request has ended; `is_whole`: with all of the answer.
    pub(super) fn finish(self, is_whole: bool, walk: &Walk) -> (AttemptRecord, Passed) {
        if is_whole && self.line.outcome == Outcome::Served.label() {
            let client = Some(&walk.call.client.name);
            let index = self.answer.turn.chosen.index();
            let pool = &walk.call.served.pool;
            pool.note_whole(client, index, Instant::now());
        }
        (self.line, self.answer.passed())
    }
}
