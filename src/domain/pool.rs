//! One model's deployments and their health: which one, now?
//!
//! The lowest priority number that can serve goes first; inside it, shares follow weights. State is per
//! deployment, never per instance: a throttled model does not bench its neighbours (AZURE.md, fact 2).
//!
//! Choosing reads atomics only (`ready`); the one that was picked is then taken under its own lock.

mod attempt;
mod bars;
mod chance;
mod failure;
mod ready;
mod refusing;
mod suspicions;
mod term;
mod tier;
mod tried;

#[cfg(test)]
pub(super) mod tests;

use std::{
    borrow::Cow,
    cmp::Reverse,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

pub use self::{
    attempt::Attempt,
    failure::{Failure, Few},
    refusing::Refusing,
    suspicions::{Charged, Suspicions},
    term::Term,
};
use self::{
    bars::Bars,
    chance::Chance,
    failure::Failures,
    ready::Ready,
    suspicions::ServedLately,
    tier::{Pick, Tier},
    tried::Tried,
};
use super::{
    breaker::{Breaker, Cause, Pass, Settings, State, Transition},
    budget::Budget,
    deployment::{Deployment, Model},
    health::Ability,
    name::{InstanceName, ModelName},
    outcome::Outcome,
    route::Operation,
};

/// A model's deployments.
#[derive(Debug)]
pub struct Pool {
    model: ModelName,
    /// By priority, the config's order inside each.
    members: Vec<Member>,
    tiers: Vec<Tier>,
    ready: Ready,
    budget: Budget,
    served: ServedLately,
    /// Nobody but one client may use the model.
    has_one_client: bool,
    /// For how long what was seen of a deployment counts.
    window: Duration,
}

/// A deployment and how it fares.
#[derive(Debug)]
pub struct Member {
    deployment: Deployment,
    health: Mutex<Health>,
    inflight: AtomicU32,
    failures: Mutex<Failures>,
    /// The member that Azure itself lets serve what this one can't, by its last word; [`NOWHERE`] if it is none of these.
    spills_to: AtomicUsize,
}

#[derive(Debug)]
struct Health {
    settings: Settings,
    breaker: Breaker,
    bars: Bars,
    /// What it has answered since it last served, where that was nothing but 4xx.
    refusing: Option<Refusing>,
    /// When it last served.
    served_at: Option<Instant>,
    /// Of the credential that its instance is asked with.
    term: Term,
    last: Option<(Outcome, Instant)>,
}

/// No member's place.
const NOWHERE: usize = usize::MAX;

/// When a deployment that failed without a word may be worth another try: a failure, unlike a limit, may be over at once.
pub const UNSAID_WAIT: Duration = Duration::from_secs(1);

/// Why no deployment can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Whether limits that deployments told of are all that stands in the way.
    pub throttled: bool,
    /// The soonest that one of the pool may be worth another try.
    pub back_at: Instant,
}

impl Pool {
    pub fn new(model: Model, settings: Settings) -> Self {
        let mut deployments = model.deployments;
        deployments.sort_by_key(|deployment| deployment.priority);
        let member = |deployment| Member::new(deployment, settings);
        Self {
            model: model.name,
            tiers: Tier::all(&deployments),
            ready: Ready::new(deployments.len(), settings),
            members: deployments.into_iter().map(member).collect(),
            budget: Budget::default(),
            served: ServedLately::default(),
            has_one_client: false,
            window: settings.window,
        }
    }

    /// With another share of retries than the default.
    #[must_use]
    pub fn with_budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// Says whether one client is all that may use the model: what it does wrong can harm no other.
    #[must_use]
    pub fn with_one_client(self, has_one_client: bool) -> Self {
        Self {
            has_one_client,
            ..self
        }
    }

    pub fn model(&self) -> &ModelName {
        &self.model
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// What its requests may spend on retries.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Whether a request could be sent somewhere now.
    pub fn is_ready(&self, now: Instant) -> bool {
        self.has_ready(&[], now)
    }

    /// What can become of a request now.
    pub fn ability(&self, now: Instant) -> Ability {
        let mut members = self.members.iter();
        if self.is_ready(now) {
            return match members.any(|member| member.is_ready(now) && !member.is_untried(now)) {
                true => Ability::Serves,
                false => Ability::Untried,
            };
        }
        match members.any(|member| matches!(member.state(now), State::Trial { .. })) {
            true => Ability::OnTrial,
            false if self.exhausted(&[], now).throttled => Ability::Throttled,
            false => Ability::Down,
        }
    }

    /// Whether a request that has `tried` those could be sent somewhere else now.
    pub fn has_ready(&self, tried: &[usize], now: Instant) -> bool {
        let (tried, moment) = (Tried::of(tried), self.ready.moment(now));
        let ready = |index: usize| self.ready.is_ready(index, moment) && !tried.has(index);
        let follows =
            |index: usize| !tried.has(index) && self.members[index].health.lock().follows(now);
        // Mostly the first look finds one, and it takes no locks.
        (0..self.members.len()).any(ready) || (0..self.members.len()).any(follows)
    }

    /// Those `tried`, and those that are not to be asked for this kind of work now.
    pub fn out_for<'a>(
        &self,
        operation: Operation,
        tried: &'a [usize],
        now: Instant,
    ) -> Cow<'a, [usize]> {
        if !self.ready.any_bars(self.ready.moment(now)) {
            return Cow::Borrowed(tried);
        }
        let members = self.members.iter().enumerate();
        let barred = members.filter(|(_, member)| member.health.lock().bars.has(operation, now));
        let barred = barred
            .map(|(index, _)| index)
            .filter(|index| !tried.contains(index));
        Cow::Owned(tried.iter().copied().chain(barred).collect())
    }

    /// What stands in the way where all of the pool are set aside for this kind of work; else what is `known` to.
    pub fn in_the_way(&self, operation: Operation, known: Exhausted, now: Instant) -> Exhausted {
        let until_for = |member: &Member| member.health.lock().bars.until_for(operation, now);
        let until: Option<Vec<_>> = self.members.iter().map(until_for).collect();
        let soonest = until.and_then(|all| all.into_iter().min());
        soonest.map_or(known, |back_at| Exhausted {
            throttled: false,
            back_at,
        })
    }

    /// Takes the deployment to ask now, none of those `tried`. `draw` decides among equals.
    pub fn choose(
        self: &Arc<Self>,
        tried: &[usize],
        now: Instant,
        draw: u64,
    ) -> Result<Attempt, Exhausted> {
        let mut chance = Chance::new(draw);
        // Another request may have taken a trial since it was picked; then there is one candidate fewer.
        for _ in 0..=self.members.len() {
            let Some(index) = self.pick(tried, now, &mut chance) else {
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
        let tried = Tried::of(tried);
        let untried = (0..self.members.len()).filter(|index| !tried.has(*index));
        let mut passes = untried.map(|index| {
            let pass = self.change(index, |health| health.pass_behind(now));
            pass.map(|pass| Attempt::new(Arc::clone(self), index, pass))
        });
        passes.find_map(|attempt| attempt)
    }

    fn pick(&self, tried: &[usize], now: Instant, chance: &mut Chance) -> Option<usize> {
        let (tried, now) = (Tried::of(tried), self.ready.moment(now));
        let mut let_by = None;
        for tier in &self.tiers {
            match tier.pick(&self.ready, &tried, now, chance) {
                Pick::None => {}
                Pick::Member(index) => return Some(index),
                // A slow start refuses nobody: if no later tier can serve, this one does.
                Pick::LetBy(index) => let_by = let_by.or(Some(index)),
            }
        }
        let_by
    }

    /// Takes in until when the gateway can prove itself to that instance: from then on none of its deployments is asked.
    pub fn note_term(&self, instance: &InstanceName, term: Term, now: Instant) {
        self.ready.moment(now);
        for (index, member) in self.members.iter().enumerate() {
            if member.deployment.instance.name == *instance {
                self.change(index, |health| health.term = term);
            }
        }
    }

    /// What stands in the way of the next attempt, those `tried` counted in.
    pub fn exhausted(&self, tried: &[usize], now: Instant) -> Exhausted {
        let (tried, soon) = (Tried::of(tried), now + UNSAID_WAIT);
        let mut throttled = true;
        let back_at = self.members.iter().enumerate().map(|(index, member)| {
            let health = member.health.lock();
            let by_limit = health.breaker.is_throttled();
            match health.state(now) {
                State::Open { until, cause } => {
                    throttled &= by_limit && cause != Cause::Credential;
                    until.max(now)
                }
                State::Trial { cause, .. } => {
                    throttled &= cause == Cause::Throttle;
                    soon
                }
                // It was asked and told of its limit, which is over by now.
                State::Closed | State::Ramping { .. } if by_limit => {
                    match health.breaker.names_no_time() {
                        true => soon,
                        false => now,
                    }
                }
                State::Closed | State::Ramping { .. } => {
                    throttled &= !tried.has(index);
                    soon
                }
            }
        });
        let back_at = back_at.min().unwrap_or(soon);
        Exhausted { throttled, back_at }
    }

    /// The members in the order that a request would consider them now: by priority and share those that are ready,
    /// then the others as they come back.
    pub fn order(&self, now: Instant) -> Vec<(usize, State)> {
        let moment = self.ready.moment(now);
        let states = self.members.iter().map(|member| member.state(now));
        let mut order: Vec<_> = states.enumerate().collect();
        order.sort_by_cached_key(|(index, state)| {
            let deployment = &self.members[*index].deployment;
            let weight = u64::from(deployment.weight.get()) * self.ready.share(*index, moment);
            let (ready, back) = match state {
                State::Open { until, .. } if *until > now => (false, Some(*until)),
                State::Trial { .. } => (false, None),
                _ => (true, None),
            };
            // Trials, of which nobody knows when they end, come last.
            let waits = (!ready, !ready && back.is_none(), back);
            (waits, deployment.priority, Reverse(weight))
        });
        order
    }

    /// Changes a member's health, and what choosing reads of it.
    fn change<T>(&self, index: usize, change: impl FnOnce(&mut Health) -> T) -> T {
        let mut health = self.members[index].health.lock();
        let changed = change(&mut health);
        self.ready.refresh(index, &health.breaker, &health.term);
        if let Some(until) = health.bars.until() {
            self.ready.note_bar(until);
        }
        changed
    }
}

impl Member {
    fn new(deployment: Deployment, settings: Settings) -> Self {
        Self {
            deployment,
            health: Mutex::new(Health {
                settings,
                breaker: Breaker::new(settings),
                bars: Bars::default(),
                refusing: None,
                served_at: None,
                term: Term::default(),
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

    pub fn state(&self, now: Instant) -> State {
        self.health.lock().state(now)
    }

    pub fn is_ready(&self, now: Instant) -> bool {
        let health = self.health.lock();
        health.term.holds(now) && health.breaker.is_ready(now)
    }

    /// Whether the next request would be the trial after its faults.
    fn is_untried(&self, now: Instant) -> bool {
        match self.state(now) {
            State::Open { cause, .. } => cause != Cause::Throttle,
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
    fn bars_now(&self, operation: Operation, now: Instant) -> bool {
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
}

impl Health {
    /// Keeps what it answers, whatever that is judged to be.
    fn take_in(&mut self, operation: Operation, outcome: &Outcome, status: u16, now: Instant) {
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

    fn judge(
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
    fn charge(
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
    fn state(&self, now: Instant) -> State {
        let state = self.breaker.state(now);
        if self.term.holds(now) {
            return state;
        }
        let back_at = self.term.back_at(now);
        let until = match state {
            State::Open { until, .. } => until.max(back_at),
            _ => back_at,
        };
        State::Open {
            until,
            cause: Cause::Credential,
        }
    }

    fn pass(&mut self, now: Instant) -> Option<Pass> {
        let holds = self.term.holds(now);
        holds.then(|| self.breaker.pass(now)).flatten()
    }

    fn follows(&self, now: Instant) -> bool {
        self.term.holds(now) && self.breaker.follows(now)
    }

    fn pass_behind(&mut self, now: Instant) -> Option<Pass> {
        let holds = self.term.holds(now);
        holds.then(|| self.breaker.pass_behind(now)).flatten()
    }
}
