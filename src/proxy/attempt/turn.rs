//! The deployment whose turn it is: what of it stays the same from stage to stage, and how the end of its turn is judged.

use std::{sync::Arc, time::Instant};

use http::HeaderValue;

use super::news::{Changes, News};
use crate::{
    domain::{
        additions::{Form, RefusedForms},
        failover::Step,
        outcome::{Blame, Fault, Outcome},
        pool::{Attempt, Failure},
        spillover::Spillover,
        trace::SpanId,
    },
    proxy::{
        call::Call,
        model_backend::Target,
        walk::{Next, Walk},
    },
    telemetry::{metrics::InFlight, record::AttemptRecord},
};

/// A deployment that was chosen. It counts as in flight until this is dropped.
pub(crate) struct Turn {
    pub(super) chosen: Attempt,
    /// When this try began.
    pub(super) began: Instant,
    /// What the deployment is told is its caller's span, where the request is part of a trace.
    pub(super) span: Option<SpanId>,
    pub(super) history: History,
    _inflight: InFlight,
}

/// What earlier tries of the same turn have shown.
#[derive(Default)]
pub(super) struct History {
    /// How many times its request was lost with its connection, and was sent again.
    pub(super) resent: u8,
    /// It goes over a connection that nobody has used before.
    pub(super) is_alone: bool,
    /// It refused one credential already and got a fresh one.
    pub(super) is_renewed: bool,
    /// It refused to be asked for a stream's usage.
    pub(super) refused_usage: bool,
    /// It refused these forms of the most output,
    pub(super) refused_forms: RefusedForms,
    /// and is asked in this one.
    pub(super) form: Option<Form>,
}

/// A deployment that is asked once more before it is judged. Each try is an attempt of the record; this one's last is
/// written down.
pub(crate) struct Again {
    pub(super) turn: Turn,
    /// Our credential as it was sent.
    pub(super) credential: HeaderValue,
    pub(super) why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The request was lost with its connection, which says nothing of the deployment.
    NewConnection,
    /// It refused our credential.
    RefusedCredential,
    /// It refused what the gateway had added.
    RefusedAddition,
}

/// An attempt that is over.
#[must_use]
pub(crate) struct Over {
    pub(crate) step: Step,
    /// Its deployment, where that is the one to try.
    pub(crate) again: Option<Again>,
    pub(crate) news: News,
}

impl Over {
    pub(super) fn new(next: Next, line: Option<AttemptRecord>, changes: Changes) -> Self {
        let news = News {
            line,
            changes,
            out_of_budget: next.out_of_budget,
        };
        Self {
            step: next.step,
            again: None,
            news,
        }
    }

    /// The same deployment is asked once more, unjudged; this try is written down.
    pub(super) fn again(again: Again, line: AttemptRecord) -> Self {
        Self {
            step: Step::TryAnother,
            again: Some(again),
            news: News::new(Some(line), Changes::default()),
        }
    }
}

/// What an answer's head says beside its headers' own words.
pub(super) struct Head {
    pub(super) status: u16,
    /// It is one 4xx more of a deployment that answers nothing else.
    pub(super) is_suspect: bool,
    /// What it says of Azure's own spillover.
    pub(super) spillover: Option<Spillover>,
    /// The deployment of the same instance that Azure said it was served by.
    pub(super) spilled_to: Option<Arc<str>>,
}

impl Turn {
    pub(crate) fn new(chosen: Attempt, call: &Call, now: Instant) -> Self {
        let inflight = call.served.targets[chosen.index()].metrics.enter();
        Self {
            chosen,
            began: now,
            span: span(call),
            history: History::default(),
            _inflight: inflight,
        }
    }

    /// The same deployment once more.
    pub(super) fn begin_again(&mut self, call: &Call) {
        self.began = Instant::now();
        self.span = span(call);
    }

    pub(super) fn target<'a>(&self, call: &'a Call) -> &'a Target {
        &call.served.targets[self.chosen.index()]
    }

    /// Ends it, and says what follows. Nothing of an answer is at hand.
    pub(super) fn end(
        mut self,
        head: Option<&mut Head>,
        outcome: &Outcome,
        walk: &mut Walk,
    ) -> Over {
        let now = Instant::now();
        let status = head.as_ref().map_or(0, |head| head.status);
        let (line, changes) = self.judge(head, outcome, walk, now);
        Over::new(
            walk.follow(outcome, status, false, now),
            Some(line),
            changes,
        )
    }

    /// Says how this try ended and what that means for its pool, with its line for the record.
    pub(super) fn judge(
        &mut self,
        head: Option<&mut Head>,
        outcome: &Outcome,
        walk: &mut Walk,
        now: Instant,
    ) -> (AttemptRecord, Changes) {
        let spillover = head.as_ref().and_then(|head| head.spillover);
        let line = self.write_down(head, outcome, &walk.call, now);
        let changes = self.tell_pool(spillover, outcome, walk, now);
        (line, changes)
    }

    /// How this try ended, for the record. Its pool is told of the last try of a turn only.
    pub(super) fn write_down(
        &self,
        mut head: Option<&mut Head>,
        outcome: &Outcome,
        call: &Call,
        now: Instant,
    ) -> AttemptRecord {
        let status = head.as_ref().map(|head| head.status);
        self.note_failure(outcome, status, now);
        let deployment = self.chosen.deployment();
        AttemptRecord {
            instance: deployment.instance.name.clone(),
            deployment: deployment.name.clone(),
            capacity: deployment.capacity,
            priority: deployment.priority,
            outcome: outcome.label(),
            may_be_billed: outcome.may_be_billed(),
            spilled_to: head.as_mut().and_then(|head| head.spilled_to.take()),
            status,
            began: self.began.saturating_duration_since(call.arrived),
            took: now.saturating_duration_since(self.began),
            span: self.span,
        }
    }

    /// Tells the pool how it ended. What may be the request's own doing is held back until the request's end shows it.
    pub(super) fn tell_pool(
        &mut self,
        spillover: Option<Spillover>,
        outcome: &Outcome,
        walk: &mut Walk,
        now: Instant,
    ) -> Changes {
        let mut changes = Changes::default();
        let own = spillover.map_or(*outcome, |it| it.own(outcome));
        let (suspicions, draw) = (&mut walk.suspicions, fastrand::u64(..));
        let transition = suspicions.judge(&mut self.chosen, &own, now, draw);
        changes.add(self.chosen.index(), transition, now);
        self.tell_of_spilled(spillover, outcome, walk, &mut changes, now);
        let charged = walk.suspicions.resolve(outcome, now, fastrand::u64(..));
        changes.add_all(&charged, now);
        changes
    }

    /// Takes in that an answer which had been judged well ended otherwise.
    pub(super) fn amend(
        &self,
        head: &Head,
        outcome: &Outcome,
        walk: &mut Walk,
        now: Instant,
    ) -> Changes {
        let mut changes = Changes::default();
        self.note_failure(outcome, Some(head.status), now);
        let draw = fastrand::u64(..);
        let transition = if matches!(head.spillover, Some(Spillover::Answered { .. })) {
            None
        } else if may_be_its_own(outcome) {
            let client = Some(&walk.call.client.name);
            self.chosen.doubt(outcome, client, now, draw)
        } else {
            self.chosen.amend(outcome, now, draw)
        };
        changes.add(self.chosen.index(), transition, now);
        self.tell_of_spilled(head.spillover, outcome, walk, &mut changes, now);
        changes
    }

    /// What an answer by Azure's own spillover says of the deployment that it spilled to.
    fn tell_of_spilled(
        &self,
        spillover: Option<Spillover>,
        outcome: &Outcome,
        walk: &mut Walk,
        changes: &mut Changes,
        now: Instant,
    ) {
        let (Some(other), Some(index)) = (
            spillover.and_then(|it| it.other(outcome)),
            self.chosen.spills_to(),
        ) else {
            return;
        };
        if other.blame() == Blame::Unclear {
            if let Some(held) = self.chosen.hold_spilled(&other, now) {
                walk.suspicions.add(held);
            }
            return;
        }
        let told = self.chosen.judge_spilled(&other, now, fastrand::u64(..));
        let Some((member, transition)) = told else {
            return;
        };
        if other.is_failure() {
            member.note_failure(Failure {
                outcome: other,
                status: neighbours_status(&other),
                at: now,
            });
        }
        changes.add(index, Some(transition), now);
    }

    /// Keeps what failed for those who ask why a deployment is left alone.
    fn note_failure(&self, outcome: &Outcome, status: Option<u16>, now: Instant) {
        if outcome.is_failure() {
            self.chosen.member().note_failure(Failure {
                outcome: *outcome,
                status,
                at: now,
            });
        }
    }
}

fn span(call: &Call) -> Option<SpanId> {
    call.is_traced.then(|| SpanId::from_draw(fastrand::u64(..)))
}

/// Whether an answer that began well may have ended so by what its client sent: no other deployment can be asked now.
fn may_be_its_own(outcome: &Outcome) -> bool {
    outcome.blame() == Blame::Unclear || *outcome == Outcome::fault(Fault::Broken)
}

/// By its neighbour's word, which has a status for each.
fn neighbours_status(outcome: &Outcome) -> Option<u16> {
    match outcome {
        Outcome::Throttled { .. } => Some(429),
        Outcome::Faulted { .. } => Some(503),
        _ => None,
    }
}
