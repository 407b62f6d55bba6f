//! An answer that has begun and whose outcome is not known: nothing of it goes out, unless its time to be held is up.

use std::time::Instant;

use super::{
    answer::{AttemptAnswer, Delivering},
    news::{Changes, News},
    turn::{Again, Over, Why},
};
use crate::{
    domain::{failover::Step, outcome::Outcome},
    proxy::walk::Walk,
    telemetry::record::AttemptRecord,
};

pub(crate) struct HeldAnswer(pub(super) AttemptAnswer);

/// What becomes of an answer of which nothing has gone out.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is made"
)]
pub(crate) enum Settled {
    /// It goes out.
    Deliver(Delivering, News),
    /// Nothing of it does.
    TakenBack(Over),
}

impl HeldAnswer {
    pub(crate) fn answer(&self) -> &AttemptAnswer {
        &self.0
    }

    /// Its outcome is known, and nothing of it has gone out.
    pub(crate) fn settle(mut self, outcome: Outcome, walk: &mut Walk) -> Settled {
        let now = Instant::now();
        let outcome = self.as_this_request_means_it(outcome, walk, now);
        if let Some(why) = self.asks_again(&outcome, walk) {
            return Settled::TakenBack(self.again(why, &outcome, walk));
        }
        let outcome = match outcome {
            // In every form: what is left is for its client to judge.
            Outcome::LimitRejected => Outcome::CallerError,
            outcome => outcome,
        };
        let answer = &self.0;
        if outcome == Outcome::Served {
            answer.added.note_taken(&answer.turn, &walk.call);
        }
        let (line, changes) = self.judge(&outcome, walk, now);
        let next = walk.follow(&outcome, self.0.status(), true, now);
        match next.step {
            Step::Deliver => {
                let Over { news, .. } = Over::new(next, None, changes);
                Settled::Deliver(Delivering::new(self.0, line), news)
            }
            Step::TryAnother | Step::GiveUp => {
                let over = Over::new(next, Some(line), changes);
                Settled::TakenBack(over)
            }
        }
    }

    /// It broke off before anything of it had gone out.
    pub(crate) fn broken_off(mut self, outcome: &Outcome, walk: &mut Walk) -> Over {
        if let Some(why) = self.asks_again(outcome, walk) {
            return self.again(why, outcome, walk);
        }
        let AttemptAnswer { turn, mut head, .. } = self.0;
        turn.end(Some(&mut head), outcome, walk)
    }

    /// It is out, in part at least, and only now its outcome is known.
    pub(crate) fn close(mut self, outcome: &Outcome, walk: &mut Walk) -> (Delivering, News) {
        let (line, changes) = self.judge(outcome, walk, Instant::now());
        (Delivering::new(self.0, line), News::new(None, changes))
    }

    fn judge(
        &mut self,
        outcome: &Outcome,
        walk: &mut Walk,
        now: Instant,
    ) -> (AttemptRecord, Changes) {
        let AttemptAnswer { turn, head, .. } = &mut self.0;
        turn.judge(Some(head), outcome, walk, now)
    }

    /// A 4xx that is to be tried elsewhere, where that is possible now: one of the operator's list, or one of a deployment
    /// that answers nothing else. Else the client gets it as it is.
    fn as_this_request_means_it(&self, outcome: Outcome, walk: &Walk, now: Instant) -> Outcome {
        if outcome == Outcome::NotDeployed && !walk.call.named.is_empty() {
            // It may be the one that the client named beside ours: it says nothing of ours then.
            return Outcome::NamedMissing;
        }
        let head = &self.0.head;
        let is_listed = walk.call.served.bounds.more_statuses.contains(&head.status);
        let elsewhere = match outcome {
            Outcome::CallerError | Outcome::Screened if is_listed => Outcome::Unwanted,
            Outcome::CallerError if head.is_suspect && head.status != 424 => Outcome::Refused,
            _ => return outcome,
        };
        if walk.could_go_on(now) {
            elsewhere
        } else {
            outcome
        }
    }

    /// Whether the same deployment is asked once more: with another token, or without what the gateway added.
    fn asks_again(&mut self, outcome: &Outcome, walk: &Walk) -> Option<Why> {
        let AttemptAnswer { turn, added, .. } = &mut self.0;
        let call = &walk.call;
        let is_renewable = || {
            let credential = &turn.target(call).connector.credential;
            !turn.history.is_renewed && credential.is_renewable() && call.relay.replayable()
        };
        if *outcome == Outcome::IdentityRejected && is_renewable() {
            return Some(Why::RefusedCredential);
        }
        let is_otherwise = added.ask_otherwise(turn, outcome, call.operation);
        is_otherwise.then_some(Why::RefusedAddition)
    }

    fn again(self, why: Why, outcome: &Outcome, walk: &Walk) -> Over {
        let AttemptAnswer {
            turn,
            credential,
            mut head,
            ..
        } = self.0;
        let line = turn.write_down(Some(&mut head), outcome, &walk.call, Instant::now());
        let again = Again {
            turn,
            credential,
            why,
        };
        Over::again(again, line)
    }
}
