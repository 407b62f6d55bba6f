//! One try at one deployment, and what its end tells the pool.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{
    draws::Draws,
    held_failure::HeldFailure,
    member::{Member, NOWHERE},
    members::{Exhausted, Pool},
    tried::Tried,
};
use crate::domain::{
    breaker::{Pass, Transition},
    deployment::Deployment,
    name::ClientName,
    outcome::Outcome,
    route::Operation,
};

/// One try at one deployment. It counts as in flight until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Attempt {
    pool: Arc<Pool>,
    index: usize,
    pass: Pass,
    operation: Operation,
    /// What it was answered.
    status: u16,
    judged: bool,
}

impl Attempt {
    fn new(pool: Arc<Pool>, index: usize, pass: Pass) -> Self {
        pool.members[index].inflight.fetch_add(1, Ordering::Relaxed);
        Self {
            pool,
            index,
            pass,
            operation: Operation::ChatCompletions,
            status: 0,
            judged: false,
        }
    }

    /// Says for which kind of work it is.
    pub fn asks(&mut self, operation: Operation) {
        self.operation = operation;
    }

    /// Takes in the status of its answer. Whether it is the next 4xx of a deployment that answers nothing else.
    pub fn answered(&mut self, status: u16) -> bool {
        self.status = status;
        (400..500).contains(&status) && self.member().refusing().is_some_and(|it| it.is_suspect())
    }

    /// The answer looks well so far: where it is the deployment's trial, others may follow.
    pub fn looks_well(&self) {
        if self.pass.is_trial() {
            self.pool
                .change(self.index, |health| health.breaker.good_sign(self.pass));
        }
    }

    /// The deployment's place in its pool, for the list of those tried.
    pub fn index(&self) -> usize {
        self.index
    }

    pub fn member(&self) -> &Member {
        &self.pool.members[self.index]
    }

    pub fn deployment(&self) -> &Deployment {
        &self.member().deployment
    }

    /// Tells the pool how it ended. Only the first word counts; an attempt dropped without one counts as left.
    pub fn judge(&mut self, outcome: &Outcome, now: Instant, draw: u64) -> Option<Transition> {
        if self.judged {
            return None;
        }
        self.judged = true;
        self.pool.change(self.index, |health| {
            health.last = Some((*outcome, now));
            health.take_in(self.operation, outcome, self.status, now);
            health.judge(self.pass, self.operation, outcome, now, draw)
        })
    }

    /// Takes in a failure that may be the request's own: nothing is charged yet. `None`: it was judged before.
    pub fn hold(
        &mut self,
        outcome: &Outcome,
        now: Instant,
    ) -> Option<(HeldFailure, Option<Transition>)> {
        if self.judged {
            return None;
        }
        self.judged = true;
        let told = match outcome {
            Outcome::Faulted { wait, .. } => *wait,
            _ => None,
        };
        let transition = self.pool.change(self.index, |health| {
            health.last = Some((*outcome, now));
            health.take_in(self.operation, outcome, self.status, now);
            health.breaker.hold(self.pass, told, now)
        });
        let held = HeldFailure {
            pool: Arc::clone(&self.pool),
            index: self.index,
            pass: self.pass,
            operation: self.operation,
            outcome: *outcome,
        };
        Some((held, transition))
    }

    /// Tells the pool that an answer which had been judged well ended otherwise, perhaps by its request's own doing.
    pub fn doubt(
        &self,
        outcome: &Outcome,
        client: Option<&ClientName>,
        now: Instant,
        draw: u64,
    ) -> Option<Transition> {
        self.pool
            .change(self.index, |health| health.last = Some((*outcome, now)));
        self.pool.doubt(self.index, self.pass, client, now, draw)
    }

    /// Tells the pool that an answer which had been judged well ended otherwise.
    pub fn amend(&self, outcome: &Outcome, now: Instant, draw: u64) -> Option<Transition> {
        self.pool.change(self.index, |health| {
            health.last = Some((*outcome, now));
            health.breaker.amend(self.pass, outcome, now, draw)
        })
    }

    /// Remembers that Azure let `deployment`, of the same instance, serve this (wire facts: Spillover).
    pub fn note_spill(&self, deployment: &str) {
        let instance = &self.deployment().instance.name;
        let named = |member: &Member| {
            member.deployment.instance.name == *instance
                && member.deployment.name.as_str() == deployment
        };
        let member = self.pool.members.iter().position(named);
        let target = member
            .filter(|target| *target != self.index)
            .unwrap_or(NOWHERE);
        self.member().spills_to.store(target, Ordering::Relaxed);
    }

    /// The member of the pool that this one spills to, by Azure's last word.
    pub fn spills_to(&self) -> Option<usize> {
        let target = self.member().spills_to.load(Ordering::Relaxed);
        (target < self.pool.members.len()).then_some(target)
    }

    /// Tells the pool what the answer says of the deployment that Azure let serve this; if we know it.
    pub fn judge_spilled(
        &self,
        outcome: &Outcome,
        now: Instant,
        draw: u64,
    ) -> Option<(&Member, Transition)> {
        let target = self.spills_to()?;
        let told = self.pool.change(target, |health| {
            health.last = Some((*outcome, now));
            health.breaker.note_unsent(outcome, now, draw)
        })?;
        Some((&self.pool.members[target], told))
    }

    /// The same of a failure that may be the request's own.
    pub fn hold_spilled(&self, outcome: &Outcome, now: Instant) -> Option<HeldFailure> {
        let index = self.spills_to()?;
        let pass = self.pool.change(index, |health| {
            health.last = Some((*outcome, now));
            health.breaker.ordinary()
        });
        Some(HeldFailure {
            pool: Arc::clone(&self.pool),
            index,
            pass,
            operation: self.operation,
            outcome: *outcome,
        })
    }
}

impl Pool {
    /// Takes the deployment to ask now, none of those `tried`. `draw` decides among equals.
    pub fn choose(
        self: &Arc<Self>,
        tried: &[usize],
        now: Instant,
        draw: u64,
    ) -> Result<Attempt, Exhausted> {
        let mut draws = Draws::new(draw);
        // Another request may have taken a trial since it was picked; then there is one candidate fewer.
        for _ in 0..=self.members.len() {
            let Some(index) = self.pick(tried, now, &mut draws) else {
                break;
            };
            if let Some(pass) = self.change(index, |health| health.pass(now)) {
                return Ok(Attempt::new(Arc::clone(self), index, pass));
            }
        }
        let behind = self.behind_another(tried, now);
        behind.ok_or_else(|| self.exhausted(tried, now))
    }

    /// Rather than to refuse it, a request is sent right behind one that is a moment ahead.
    fn behind_another(self: &Arc<Self>, tried: &[usize], now: Instant) -> Option<Attempt> {
        let tried = Tried::new(tried);
        let untried = (0..self.members.len()).filter(|index| !tried.has(*index));
        let mut passes = untried.map(|index| {
            let pass = self.change(index, |health| health.pass_behind(now));
            pass.map(|pass| Attempt::new(Arc::clone(self), index, pass))
        });
        passes.find_map(|attempt| attempt)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.member().inflight.fetch_sub(1, Ordering::Relaxed);
        if !self.judged {
            self.pool
                .change(self.index, |health| health.breaker.give_back(self.pass));
        }
    }
}
