//! The way of a request from one attempt to the next: which deployment is asked, what follows once that has ended, and what
//! the client is told when nothing is left.

use std::time::Instant;

use super::call::Call;
use crate::domain::{
    failover::{Progress, Step},
    outcome::{Blame, Outcome},
    pool::{Attempt, Charged, Suspicions, UNSAID_WAIT},
    refusal::Refusal,
    route::Operation,
};

/// One request on its way, whichever attempt is under way.
pub(super) struct Walk {
    pub(super) call: Call,
    pub(super) progress: Progress,
    /// Its failures so far that may be its own doing.
    pub(super) suspicions: Suspicions,
}

/// What follows from how an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) step: Step,
    /// The retry budget did not allow a further move.
    pub(super) out_of_budget: bool,
}

impl Walk {
    pub(super) fn new(call: Call, progress: Progress) -> Self {
        Self {
            call,
            progress,
            suspicions: Suspicions::default(),
        }
    }

    /// The next deployment that can be asked.
    pub(super) fn choose(&mut self, now: Instant) -> Result<Attempt, Refusal> {
        let Self { call, progress, .. } = self;
        let (pool, operation) = (&call.served.pool, call.operation);
        let out = pool.out_for(operation, progress.tried(), now);
        let mut attempt = pool
            .choose(&out, now, fastrand::u64(..))
            .map_err(|exhausted| {
                let exhausted = pool.in_the_way(operation, exhausted, now);
                progress.refusal(&exhausted, &call.served.bounds, now)
            })?;
        drop(out);
        attempt.asks(operation);
        progress.start(attempt.index());
        Ok(attempt)
    }

    /// What follows from an attempt's end. `status`: what it was answered, 0 for nothing; `at_hand`: whether that could
    /// still be delivered.
    pub(super) fn follow(
        &mut self,
        outcome: &Outcome,
        status: u16,
        at_hand: bool,
        now: Instant,
    ) -> Next {
        let Self { call, progress, .. } = self;
        if call.operation == Operation::Responses && call.relay.acts() {
            progress.note_acts();
        }
        let client = Some(&call.client.name);
        let (budget, is_fault) = (call.served.pool.budget(), outcome.is_load());
        if is_fault && progress.has_moved_on() {
            budget.note_wasted(client, now);
        }
        let budget_left = !is_fault || budget.allows(client, now);
        let step = progress.after(outcome, &call.served.bounds, budget_left, now);
        if step == Step::Deliver {
            return Next {
                step,
                out_of_budget: false,
            };
        }
        let has_ready = self.has_ready(now);
        let goes_on = step == Step::TryAnother && self.call.relay.replayable();
        let is_told = self.is_told(outcome, status) && at_hand;
        let step = if is_told && !(goes_on && has_ready) {
            Step::Deliver
        } else if goes_on {
            Step::TryAnother
        } else {
            Step::GiveUp
        };
        Next {
            step,
            out_of_budget: !budget_left && has_ready,
        }
    }

    /// Whether a failure is told to the client as it is, where nobody is left to ask: it is most likely the request's own.
    fn is_told(&mut self, outcome: &Outcome, status: u16) -> bool {
        // A switch of protocols that nobody asked for is no answer, whoever else says the same.
        let is_answer = status >= 200;
        if !is_answer || outcome.blame() != Blame::Unclear {
            return false;
        }
        let is_alike = self.progress.failed_alike(outcome, status);
        (is_alike || outcome.is_refusal()) && !outcome.is_silent()
    }

    /// Whether a fault now could be followed by an attempt elsewhere.
    pub(super) fn could_go_on(&self, now: Instant) -> bool {
        self.call.relay.replayable()
            && self.progress.could_go_on(&self.call.served.bounds, now)
            && self.has_ready(now)
    }

    fn has_ready(&self, now: Instant) -> bool {
        let pool = &self.call.served.pool;
        let out = pool.out_for(self.call.operation, self.progress.tried(), now);
        pool.has_ready(&out, now)
    }

    /// The request has ended: what was held back of its failures is charged as far as it may be.
    pub(super) fn end(&mut self, now: Instant) -> Vec<Charged> {
        let client = Some(&self.call.client.name);
        if self.suspicions.is_empty() {
            Vec::new()
        } else {
            self.suspicions.end(client, now, fastrand::u64(..))
        }
    }

    /// What the client is told when no further attempt is made.
    pub(super) fn last_word(&self, now: Instant) -> Refusal {
        let (call, pool) = (&self.call, &self.call.served.pool);
        let out = pool.out_for(call.operation, self.progress.tried(), now);
        let mut exhausted = pool.exhausted(&out, now);
        if !call.relay.replayable() && pool.has_ready(&out, now) {
            // It is this request alone that can't go on: sent once more, it will find them. Nobody named a time, and a
            // client that is sent back at once has used up its own tries before anything has changed.
            (exhausted.throttled, exhausted.back_at) = (false, now + UNSAID_WAIT);
        }
        let exhausted = pool.in_the_way(call.operation, exhausted, now);
        self.progress.refusal(&exhausted, &call.served.bounds, now)
    }
}
