//! A deployment in its pool, and its state.

use std::{
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
    time::Instant,
};

use parking_lot::Mutex;

use super::{
    barred_operations::Bars,
    constant_refusals::Refusing,
    credential_validity::CredentialValidity,
    failure::{Failure, Failures},
};
use crate::domain::{
    breaker::{Breaker, BreakerState, Cause, Pass, Settings, Transition},
    deployment::Deployment,
    outcome::Outcome,
    route::Operation,
};

/// A deployment and how it fares.
#[derive(Debug)]
pub struct Member {
    pub(super) deployment: Deployment,
    pub(super) health: Mutex<Health>,
    pub(super) inflight: AtomicU32,
    failures: Mutex<Failures>,
    /// The member that Azure itself lets serve what this one can't, by its last word; [`NOWHERE`] if it is none of these.
    pub(super) spills_to: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct Health {
    settings: Settings,
    pub(super) breaker: Breaker,
    pub(super) bars: Bars,
    /// What it has answered since it last served, where that was nothing but 4xx.
    refusing: Option<Refusing>,
    /// When it last served.
    served_at: Option<Instant>,
    /// Of the credential that its instance is asked with.
    pub(super) validity: CredentialValidity,
    pub(super) last: Option<(Outcome, Instant)>,
}

/// No member's place.
pub(super) const NOWHERE: usize = usize::MAX;

impl Member {
    pub(super) fn new(deployment: Deployment, settings: Settings) -> Self {
        Self {
            deployment,
            health: Mutex::new(Health {
                settings,
                breaker: Breaker::new(settings),
                bars: Bars::default(),
                refusing: None,
                served_at: None,
                validity: CredentialValidity::default(),
                last: None,
            }),
            inflight: AtomicU32::new(0),
            failures: Mutex::default(),
            spills_to: AtomicUsize::new(NOWHERE),
        }
    }

    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    pub fn state(&self, now: Instant) -> BreakerState {
        self.health.lock().state(now)
    }

    pub fn is_ready(&self, now: Instant) -> bool {
        let health = self.health.lock();
        health.validity.holds(now) && health.breaker.is_ready(now)
    }

    /// Whether the next request would be the trial after its faults.
    pub(super) fn is_untried(&self, now: Instant) -> bool {
        match self.state(now) {
            BreakerState::Open { cause, .. } => cause != Cause::Throttle,
            _ => false,
        }
    }

    pub fn inflight(&self) -> u32 {
        self.inflight.load(Ordering::Relaxed)
    }

    /// The kinds of work that it was last found not to do, why, and until when it is not asked for them.
    pub fn bars(&self) -> Vec<(Operation, Cause, Instant)> {
        self.health.lock().bars.all().collect()
    }

    /// Whether it is not to be asked for this kind of work now.
    pub(super) fn bars_now(&self, operation: Operation, now: Instant) -> bool {
        self.health.lock().bars.has(operation, now)
    }

    /// What it has answered since it last served, where that was nothing but 4xx.
    pub fn refusing(&self) -> Option<Refusing> {
        self.health.lock().refusing
    }

    /// When it last served.
    pub fn served_at(&self) -> Option<Instant> {
        self.health.lock().served_at
    }

    /// How the last attempt here ended, and when.
    pub fn last(&self) -> Option<(Outcome, Instant)> {
        self.health.lock().last
    }

    /// Keeps what it failed with, until the next of its kind.
    pub fn note_failure(&self, failure: Failure) {
        self.failures.lock().note(failure);
    }

    /// The last failure that it is left alone for where this is the cause, however long ago.
    pub fn failure(&self, cause: Cause) -> Option<Failure> {
        self.failures.lock().of(cause)
    }

    /// The same of one kind of work, which it is not asked for while it does others.
    pub fn failure_of_one(&self, cause: Cause) -> Option<Failure> {
        self.failures.lock().of_one(cause)
    }

    /// `INSTANCE/DEPLOYMENT`.
    pub fn name(&self) -> String {
        let Deployment { instance, name, .. } = &self.deployment;
        format!("{}/{name}", instance.name)
    }
}

impl Health {
    /// Keeps what it answers, whatever that is judged to be.
    pub(super) fn take_in(
        &mut self,
        operation: Operation,
        outcome: &Outcome,
        status: u16,
        now: Instant,
    ) {
        match outcome {
            Outcome::Served => {
                self.served_at = Some(now);
                self.refusing = None;
            }
            // A tool's error says nothing either way, nor does a session that was not granted.
            Outcome::Screened => self.refusing = None,
            Outcome::CallerError
            | Outcome::Unwanted
            | Outcome::NotDeployed
            | Outcome::NotFound
            | Outcome::Refused
                if (400..500).contains(&status)
                    && status != 424
                    && operation != Operation::Realtime =>
            {
                self.refusing = Some(Refusing::add(self.refusing, status, now));
            }
            _ => {}
        }
    }

    pub(super) fn judge(
        &mut self,
        pass: Pass,
        operation: Operation,
        outcome: &Outcome,
        now: Instant,
        draw: u64,
    ) -> Option<Transition> {
        let change = self.breaker.note(pass, outcome, now, draw);
        match outcome {
            Outcome::Served => change.or(self.bars.served(operation)),
            Outcome::OperationRejected | Outcome::NotFound | Outcome::Refused => {
                let settings = self.settings;
                change.or(self.bars.refused(operation, outcome, &settings, now, draw))
            }
            _ => change,
        }
    }

    /// Takes in that a failure which was held back is the deployment's.
    pub(super) fn charge(
        &mut self,
        pass: Pass,
        operation: Operation,
        outcome: &Outcome,
        now: Instant,
        draw: u64,
    ) -> Option<Transition> {
        match outcome {
            Outcome::NotFound | Outcome::Refused => {
                let settings = self.settings;
                self.bars.refused(operation, outcome, &settings, now, draw)
            }
            _ => self.breaker.charge(pass, outcome, now, draw),
        }
    }

    /// Without a credential a deployment is as good as closed off, however it fares itself; that is an operator's to
    /// mend, so it is named before anything else that stands in the way.
    pub(super) fn state(&self, now: Instant) -> BreakerState {
        let state = self.breaker.state(now);
        if self.validity.holds(now) {
            return state;
        }
        let back_at = self.validity.back_at(now);
        let until = match state {
            BreakerState::Open { until, .. } => until.max(back_at),
            _ => back_at,
        };
        BreakerState::Open {
            until,
            cause: Cause::Credential,
        }
    }

    pub(super) fn pass(&mut self, now: Instant) -> Option<Pass> {
        let holds = self.validity.holds(now);
        holds.then(|| self.breaker.pass(now)).flatten()
    }

    pub(super) fn follows(&self, now: Instant) -> bool {
        self.validity.holds(now) && self.breaker.follows(now)
    }

    pub(super) fn pass_behind(&mut self, now: Instant) -> Option<Pass> {
        let holds = self.validity.holds(now);
        holds.then(|| self.breaker.pass_behind(now)).flatten()
    }
}
