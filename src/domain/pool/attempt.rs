//! One try at one deployment, and what its end tells the pool.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{Member, NOWHERE, Pool};
use crate::domain::{
    breaker::{Pass, Transition},
    deployment::Deployment,
    outcome::Outcome,
};

/// One try at one deployment. It counts as in flight until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Attempt {
    pool: Arc<Pool>,
    index: usize,
    pass: Pass,
    judged: bool,
}

impl Attempt {
    pub(super) fn new(pool: Arc<Pool>, index: usize, pass: Pass) -> Self {
        pool.members[index].inflight.fetch_add(1, Ordering::Relaxed);
        Self {
            pool,
            index,
            pass,
            judged: false,
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
            health.breaker.note(self.pass, outcome, now, draw)
        })
    }

    /// Tells the pool that an answer which had been judged well ended otherwise.
    pub fn amend(&self, outcome: &Outcome, now: Instant, draw: u64) -> Option<Transition> {
        self.pool.change(self.index, |health| {
            health.last = Some((*outcome, now));
            health.breaker.amend(self.pass, outcome, now, draw)
        })
    }

    /// Remembers that Azure let `deployment`, of the same instance, serve this (AZURE.md 8).
    pub fn note_spill(&self, deployment: &str) {
        let instance = &self.deployment().instance.name;
        let named = |member: &Member| {
            member.deployment.instance.name == *instance
                && member.deployment.name.as_str() == deployment
        };
        let target = self.pool.members.iter().position(named);
        let target = target.filter(|target| *target != self.index);
        let target = target.unwrap_or(NOWHERE);
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
