//! May this deployment be tried now? Two clocks answer, and the later one counts.
//!
//! *Told* is what the deployment itself said: ready again when its wait is over, one request a moment ahead. *Faults* is what
//! we saw: too many of them set it aside for a pause, then one request at a time tries it, and after its return its share
//! grows slowly. Neither clock moves the other: one throttled request benches a deployment for its own word, no longer.
//!
//! A trial's first good sign, or its good end, lets the others follow. While it is out without a sign for longer than a
//! refusal takes, only those follow that have nowhere else to go.

mod cooldown;
mod faults;
mod pass;
mod settings;
mod state;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use self::cooldown::Cooldown;
pub(super) use self::faults::Faults;
pub use self::{
    faults::Doubter,
    pass::Pass,
    settings::Settings,
    state::{BreakerState, Cause, Transition},
};
use super::outcome::{Fault, Outcome};

/// From when on a deployment may be tried, if nothing else happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    From(Instant),
    /// Not before its trial has ended.
    Unknown,
}

/// One deployment's two clocks.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    cooldown: Cooldown,
    faults: Faults,
    aside: Option<Aside>,
    /// How many trials in a row failed; the pause is doubled so often.
    failed_trials: u32,
    trial: Option<Trial>,
    /// How many there were.
    trials: u32,
    era: u32,
    /// It did work for somebody, since it was last found not to be there.
    has_served: bool,
    /// Where the share started to grow; it may long be whole again.
    ramp_since: Option<Instant>,
}

/// A deployment that failed is left alone.
#[derive(Clone, Copy, Debug)]
struct Aside {
    until: Instant,
    cause: Cause,
}

/// A request that finds out.
#[derive(Clone, Copy, Debug)]
struct Trial {
    number: u32,
    since: Instant,
    /// It looks well so far.
    has_good_sign: bool,
}

/// A failure mostly shows itself within this time; what takes longer may well be at work.
const TRIAL_LEAD: Duration = Duration::from_secs(1);

impl Breaker {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            cooldown: Cooldown::default(),
            faults: Faults::default(),
            aside: None,
            failed_trials: 0,
            trial: None,
            trials: 0,
            era: 0,
            has_served: false,
            ramp_since: None,
        }
    }

    pub fn state(&self, now: Instant) -> BreakerState {
        match self.obstacle() {
            _ if self.follows_leader(now) => {
                let (since, cause) = self.cooldown.until().unwrap_or((now, Cause::Throttle));
                BreakerState::Trial { since, cause }
            }
            Some((until, cause)) if until > now => BreakerState::Open { until, cause },
            Some((since, cause)) if self.trial.is_some() => BreakerState::Trial { since, cause },
            Some((until, cause)) if self.needs_trial() => BreakerState::Open { until, cause },
            _ => match self.ramp_since {
                Some(since) if self.share(since, now) < 1.0 => BreakerState::Ramping {
                    share: self.share(since, now),
                },
                _ => BreakerState::Closed,
            },
        }
    }

    pub fn is_ready(&self, now: Instant) -> bool {
        match self.readiness() {
            Readiness::Ready => true,
            Readiness::From(at) => at <= now,
            Readiness::Unknown => false,
        }
    }

    pub(super) fn readiness(&self) -> Readiness {
        if self.is_untroubled() {
            return Readiness::Ready;
        }
        match self.obstacle() {
            _ if self.trial.is_some_and(|trial| !trial.has_good_sign) => Readiness::Unknown,
            Some((until, _)) => {
                let free = self.cooldown.free_from().map_or(until, |(free, _)| free);
                Readiness::From(if self.needs_trial() { until } else { free })
            }
            None => Readiness::Ready,
        }
    }

    /// Where its share started to grow. A trial is one request in any case, and needs no smaller share.
    pub(super) fn ramp_since(&self) -> Option<Instant> {
        self.ramp_since.filter(|_| !self.needs_trial())
    }

    /// Whether nothing was against it since it last served: nobody has to find out anything.
    fn is_untroubled(&self) -> bool {
        self.aside.is_none() && self.trial.is_none() && !self.cooldown.has_word()
    }

    /// Whether its last word, over or not, was that it is at its limit, and nothing else is wrong with it.
    pub(super) fn is_throttled(&self) -> bool {
        self.aside.is_none() && self.cooldown.cause() == Some(Cause::Throttle)
    }

    /// Whether its last word names no time at all: it may be asked again, and nobody knows when that is of use.
    pub(super) fn names_no_time(&self) -> bool {
        self.cooldown.is_momentary()
    }

    /// Lets a request through, if one may go now.
    #[inline]
    pub fn pass(&mut self, now: Instant) -> Option<Pass> {
        if self.is_untroubled() {
            return Some(self.ordinary());
        }
        self.pass_if_ready(now)
    }

    fn pass_if_ready(&mut self, now: Instant) -> Option<Pass> {
        if !self.is_ready(now) {
            return None;
        }
        let trial = self.needs_trial() && self.trial.is_none();
        if trial {
            self.trials = self.trials.wrapping_add(1);
            self.trial = Some(Trial {
                number: self.trials,
                since: now,
                has_good_sign: false,
            });
        }
        Some(Pass {
            trial,
            follows: self.needs_trial() && !trial,
            number: self.trials,
            leads: !trial && self.cooldown.go_ahead(now),
            era: self.era,
        })
    }

    /// Whether all that keeps requests back now is one ahead of them that may well be at work.
    pub(super) fn follows(&self, now: Instant) -> bool {
        self.follows_leader(now) || self.follows_trial(now)
    }

    fn follows_leader(&self, now: Instant) -> bool {
        !self.needs_trial() && self.cooldown.lead(now).is_some()
    }

    fn follows_trial(&self, now: Instant) -> bool {
        self.trial.is_some_and(|it| now >= it.since + TRIAL_LEAD)
            && self.obstacle().is_none_or(|(until, _)| until <= now)
    }

    /// The trial looks well: its answer has begun, and not with a failure.
    pub(super) fn good_sign(&mut self, pass: Pass) {
        let is_it = |trial: &&mut Trial| pass.trial && pass.number == trial.number;
        if let Some(trial) = self.trial.as_mut().filter(is_it) {
            trial.has_good_sign = true;
        }
    }

    /// Lets a request through that has nowhere else to go, if it could follow in a moment anyway.
    pub(super) fn pass_behind(&mut self, now: Instant) -> Option<Pass> {
        self.follows(now).then_some(Pass {
            trial: false,
            follows: self.needs_trial(),
            number: self.trials,
            leads: false,
            era: self.era,
        })
    }

    /// Takes in how an attempt ended that was let through by `pass`. `draw` spreads the pauses.
    #[inline]
    pub fn note(
        &mut self,
        pass: Pass,
        outcome: &Outcome,
        now: Instant,
        draw: u64,
    ) -> Option<Transition> {
        // So it is with most, most of the time, and needs no call.
        if *outcome == Outcome::Served && !pass.finds_out() && self.is_untroubled() {
            if pass.era == self.era {
                self.has_served = true;
                self.faults.pass_by();
            }
            return None;
        }
        self.note_news(pass, outcome, now, draw)
    }

    #[inline(never)]
    fn note_news(
        &mut self,
        pass: Pass,
        outcome: &Outcome,
        now: Instant,
        draw: u64,
    ) -> Option<Transition> {
        if says_nothing(outcome) {
            self.give_back(pass);
            return None;
        }
        // An answer to a request from before it was set aside says nothing new, but for the deployment's own word.
        let current = pass.era == self.era;
        let tries = pass.trial && self.needs_trial();
        if pass.trial {
            self.end_trial(pass);
            self.asked_first(pass);
        }
        match outcome {
            Outcome::Throttled { wait } => {
                self.asked_first(pass);
                let unsaid = self.settings.unsaid_pause.min(self.settings.longest_pause);
                let wait = wait.unwrap_or(unsaid);
                let returns = now + wait.min(self.settings.longest_pause);
                let closed = current && pass.finds_out() && self.close(returns);
                self.tell(wait, Cause::Throttle, now)
                    .or(closed.then_some(Transition::Closed))
            }
            Outcome::Faulted { wait, .. } => {
                let told = wait.and_then(|wait| self.tell(wait, Cause::Fault, now));
                let trips = current && (tries || self.faults.add(&self.settings, now));
                if trips {
                    return Some(self.set_aside(pass, Cause::Fault, now, draw));
                }
                told
            }
            Outcome::IdentityRejected | Outcome::IdentityUnfit if current => {
                Some(self.set_aside(pass, Cause::Credential, now, draw))
            }
            Outcome::Redirected if current => {
                Some(self.set_aside(pass, Cause::Redirect, now, draw))
            }
            Outcome::NotTheApi if current => {
                Some(self.set_aside(pass, Cause::NotTheApi, now, draw))
            }
            Outcome::NotDeployed if current => {
                // Of one that did serve it may be the request's own wish that isn't there: an image tool's model.
                let is_gone = tries || !self.has_served || self.faults.add(&self.settings, now);
                is_gone.then(|| self.set_aside(pass, Cause::Configuration, now, draw))
            }
            Outcome::IdentityRejected
            | Outcome::IdentityUnfit
            | Outcome::Redirected
            | Outcome::NotTheApi
            | Outcome::NotDeployed => None,
            _ => {
                self.has_served |= current && *outcome == Outcome::Served;
                self.worked(pass, current, now)
            }
        }
    }

    /// Takes in a failure that may be its request's own: nothing is charged yet, and a trial leaves its place to the next
    /// request. `wait`: what the deployment said of when to come back, which holds all the same.
    pub(super) fn hold(
        &mut self,
        pass: Pass,
        wait: Option<Duration>,
        now: Instant,
    ) -> Option<Transition> {
        self.give_back(pass);
        wait.and_then(|wait| self.tell(wait, Cause::Fault, now))
    }

    /// Takes in that a failure which was held back is the deployment's after all: its request was served elsewhere.
    pub(super) fn charge(
        &mut self,
        pass: Pass,
        outcome: &Outcome,
        now: Instant,
        draw: u64,
    ) -> Option<Transition> {
        let outcome = match outcome {
            // Its word was heard when it came.
            Outcome::Faulted { fault, .. } => Outcome::fault(*fault),
            outcome => *outcome,
        };
        self.note(
            Pass {
                leads: false,
                ..pass
            },
            &outcome,
            now,
            draw,
        )
    }

    /// Takes in that a failure which was held back is still unclear: nobody served its request.
    pub(super) fn doubt(
        &mut self,
        pass: Pass,
        by: Doubter<'_>,
        now: Instant,
        draw: u64,
    ) -> Option<Transition> {
        let trips = pass.era == self.era && self.faults.doubt(by, &self.settings, now);
        trips.then(|| self.set_aside(pass, Cause::Fault, now, draw))
    }

    /// Takes in that an answer which began well ended otherwise.
    pub fn amend(
        &mut self,
        pass: Pass,
        outcome: &Outcome,
        now: Instant,
        draw: u64,
    ) -> Option<Transition> {
        let ordinary = Pass {
            trial: false,
            follows: false,
            leads: false,
            ..pass
        };
        self.note(ordinary, outcome, now, draw)
    }

    /// Takes in what an answer says that this deployment gave to a request sent to another one (Azure's own spillover).
    pub(super) fn note_unsent(
        &mut self,
        outcome: &Outcome,
        now: Instant,
        draw: u64,
    ) -> Option<Transition> {
        self.note(self.ordinary(), outcome, now, draw)
    }

    /// What a request is let through as that finds nothing out; also one that was sent to another and answered by this.
    pub(super) fn ordinary(&self) -> Pass {
        Pass {
            trial: false,
            follows: false,
            number: self.trials,
            leads: false,
            era: self.era,
        }
    }

    /// A trial that found nothing out leaves its place to the next request.
    pub fn give_back(&mut self, pass: Pass) {
        self.end_trial(pass);
        if pass.leads {
            self.cooldown.turn_back();
        }
    }

    fn end_trial(&mut self, pass: Pass) {
        let is_it = |trial: &mut Trial| pass.trial && pass.number == trial.number;
        self.trial.take_if(is_it);
    }

    /// The latest trial, or one that followed it, has an answer: a wait that was cut needs no other trial, and nobody is
    /// kept waiting for the end of the one under way. A request from before that trial can't know of the wait it was for.
    fn asked_first(&mut self, pass: Pass) {
        if pass.finds_out() && pass.number == self.trials {
            self.cooldown.tried();
            self.trial.take_if(|_| self.aside.is_none());
        }
    }

    /// Takes in that the deployment wants to be left alone for so long.
    pub(super) fn tell(
        &mut self,
        wait: Duration,
        cause: Cause,
        now: Instant,
    ) -> Option<Transition> {
        let before = self.obstacle().filter(|(until, _)| *until > now);
        self.cooldown
            .hear(wait, cause, self.settings.longest_pause, now);
        let (until, cause) = self.obstacle().filter(|(until, _)| *until > now)?;
        // Many answers on their way say the same; one line in the log is enough.
        before
            .is_none()
            .then_some(Transition::Opened { until, cause })
    }

    fn worked(&mut self, pass: Pass, current: bool, now: Instant) -> Option<Transition> {
        self.asked_first(pass);
        let mut closed = self.cooldown.end(now);
        if current && pass.finds_out() {
            closed |= self.close(now);
        } else if current {
            self.faults.pass_by();
        }
        (closed && self.aside.is_none()).then_some(Transition::Closed)
    }

    fn set_aside(&mut self, pass: Pass, cause: Cause, now: Instant, draw: u64) -> Transition {
        self.failed_trials = if pass.trial && self.aside.is_some() {
            self.failed_trials.saturating_add(1)
        } else {
            0
        };
        let until = now + self.settings.pause(self.failed_trials, draw);
        self.aside = Some(Aside { until, cause });
        self.era = self.era.wrapping_add(1);
        self.has_served &= cause != Cause::Configuration;
        self.faults = Faults::default();
        self.ramp_since = None;
        let (until, cause) = self.obstacle().unwrap_or((until, cause));
        Transition::Opened { until, cause }
    }

    /// Ends what its faults began; whether there was something to end.
    fn close(&mut self, returns: Instant) -> bool {
        let Some(aside) = self.aside.take() else {
            return false;
        };
        self.failed_trials = 0;
        self.trial = None;
        if aside.cause == Cause::Fault && !self.settings.ramp.is_zero() {
            self.ramp_since = Some(returns);
        }
        true
    }

    /// What stands, or last stood, in the way: the later of the clocks, over or not.
    fn obstacle(&self) -> Option<(Instant, Cause)> {
        let aside = self.aside.map(|aside| (aside.until, aside.cause));
        let told = self.cooldown.until();
        match (aside, told) {
            (Some(aside), Some(told)) if told.0 > aside.0 => Some(told),
            (aside, told) => aside.or(told),
        }
    }

    fn needs_trial(&self) -> bool {
        self.aside.is_some() || self.cooldown.is_cut()
    }

    fn share(&self, since: Instant, now: Instant) -> f64 {
        self.settings.share(now.saturating_duration_since(since))
    }
}

/// Outcomes that don't come from the deployment, or say nothing of its other work.
fn says_nothing(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::ClientLeft
            | Outcome::OperationRejected
            | Outcome::NotFound
            | Outcome::Refused
            | Outcome::NamedMissing
            | Outcome::Faulted {
                fault: Fault::Credential | Fault::OwnLimit,
                ..
            }
    )
}
