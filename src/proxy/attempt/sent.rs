//! A request on its way, of whose answer no final head has come.

use std::sync::Arc;

use http::HeaderValue;
use pingora::http::ResponseHeader;

use super::{
    additions::Additions,
    answer::Answer,
    gauges,
    held::Held,
    turn::{Head, Turn},
    unanswered::{Unanswered, Waited},
};
use crate::{
    domain::spillover::Spillover,
    proxy::{metering::Reading, walk::Walk},
};

pub(crate) struct Sent {
    pub(super) turn: Turn,
    /// Our credential as it was sent.
    pub(super) credential: HeaderValue,
    pub(super) generation: u64,
    pub(super) added: Additions,
    pub(super) waited: Waited,
}

impl Sent {
    /// Something of an answer has come, be it no more than that it will.
    pub(crate) fn note_heard(&mut self) {
        self.waited.was_heard = true;
    }

    /// Its answer's head has come. What it means is not known yet.
    pub(crate) fn answered(mut self, head: &ResponseHeader, walk: &mut Walk) -> Held {
        let status = head.status.as_u16();
        let is_suspect = self.turn.chosen.answered(status);
        let (spillover, spilled_to) = self.read_spillover(head, walk);
        Held(Answer {
            turn: self.turn,
            credential: self.credential,
            added: self.added,
            head: Head {
                status,
                is_suspect,
                spillover,
                spilled_to,
            },
            reading: Reading::of(walk.call.operation, head),
        })
    }

    /// Takes in what the head says of Azure's own spillover, and of the limits of whoever answered.
    fn read_spillover(
        &self,
        head: &ResponseHeader,
        walk: &mut Walk,
    ) -> (Option<Spillover>, Option<Arc<str>>) {
        let targets = &walk.call.served.targets;
        let metrics = &self.turn.target(&walk.call).metrics;
        let spillover = Spillover::read(&head.headers);
        if !matches!(spillover, Some(Spillover::Answered { .. })) {
            gauges::read(metrics, head);
            return (spillover, None);
        }
        metrics.count_spillover();
        let spilled_to = gauges::served_by(head);
        if let Some(name) = spilled_to {
            self.turn.chosen.note_spill(name);
        }
        // What is left is the other one's.
        if let Some(index) = self.turn.chosen.spills_to() {
            // Before anything is decided: where nobody else is left, the answer is the client's.
            walk.progress.note_spilled(index);
            gauges::read(&targets[index].metrics, head);
        }
        (spillover, spilled_to.map(Into::into))
    }

    /// Its connection has ended.
    pub(crate) fn cut_off(self) -> Unanswered {
        Unanswered {
            turn: self.turn,
            credential: self.credential,
            generation: self.generation,
            sent: Some(self.waited),
        }
    }
}
