//! An answer that was judged, and goes out. It may still end otherwise than it was judged.

use std::time::Instant;

use super::{answer::Answer, over::News};
use crate::{
    domain::outcome::Outcome,
    proxy::{metering::Passed, walk::Walk},
    telemetry::record::AttemptRecord,
};

pub(crate) struct Delivering {
    pub(super) answer: Answer,
    /// What the record will say of it.
    line: AttemptRecord,
}

impl Delivering {
    pub(super) fn new(answer: Answer, line: AttemptRecord) -> Self {
        Self { answer, line }
    }

    /// It ends otherwise than it was judged.
    pub(crate) fn amend(&mut self, outcome: &Outcome, walk: &mut Walk) -> News {
        let Answer { turn, head, .. } = &self.answer;
        let changes = turn.amend(head, outcome, walk, Instant::now());
        self.line.outcome = outcome.label();
        News::changes(changes)
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
