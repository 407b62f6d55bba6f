//! A model's deployments and their states.

use std::{
    borrow::Cow,
    cmp::Reverse,
    time::{Duration, Instant},
};

use super::{
    credential_validity::CredentialValidity,
    draws::Draws,
    member::{Health, Member},
    ready::Ready,
    served_lately::ServedLately,
    tier::{Pick, Tier},
    tried::Tried,
};
use crate::domain::{
    breaker::{BreakerState, Cause, Doubter, Pass, Settings, Transition},
    budget::Budget,
    deployment::Model,
    health::Ability,
    name::{ClientName, InstanceName, ModelName},
    route::Operation,
};

/// A model's deployments.
#[derive(Debug)]
pub struct Pool {
    model: ModelName,
    /// By priority, the config's order inside each.
    pub(super) members: Vec<Member>,
    tiers: Vec<Tier>,
    ready: Ready,
    budget: Budget,
    served: ServedLately,
    /// Nobody but one client may use the model.
    has_one_client: bool,
    /// For how long what was seen of a deployment counts.
    window: Duration,
}

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
            return if members.any(|member| member.is_ready(now) && !member.is_untried(now)) {
                Ability::Serves
            } else {
                Ability::Untried
            };
        }
        if members.any(|member| matches!(member.state(now), BreakerState::Trial { .. })) {
            Ability::OnTrial
        } else if self.exhausted(&[], now).throttled {
            Ability::Throttled
        } else {
            Ability::Down
        }
    }

    /// Whether a request that has `tried` those could be sent somewhere else now.
    pub fn has_ready(&self, tried: &[usize], now: Instant) -> bool {
        let (tried, moment) = (Tried::new(tried), self.ready.moment(now));
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
        let barred = members
            .filter(|(_, member)| member.health.lock().bars.has(operation, now))
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

    pub(super) fn pick(&self, tried: &[usize], now: Instant, draws: &mut Draws) -> Option<usize> {
        let (tried, now) = (Tried::new(tried), self.ready.moment(now));
        let mut let_by = None;
        for tier in &self.tiers {
            match tier.pick(&self.ready, &tried, now, draws) {
                Pick::None => {}
                Pick::Member(index) => return Some(index),
                // A slow start refuses nobody: if no later tier can serve, this one does.
                Pick::LetBy(index) => let_by = let_by.or(Some(index)),
            }
        }
        let_by
    }

    /// Takes in until when the gateway can prove itself to that instance: from then on none of its deployments is asked.
    pub fn note_credential(
        &self,
        instance: &InstanceName,
        validity: CredentialValidity,
        now: Instant,
    ) {
        self.ready.moment(now);
        for (index, member) in self.members.iter().enumerate() {
            if member.deployment.instance.name == *instance {
                self.change(index, |health| health.validity = validity);
            }
        }
    }

    /// What stands in the way of the next attempt, those `tried` counted in.
    pub fn exhausted(&self, tried: &[usize], now: Instant) -> Exhausted {
        let (tried, soon) = (Tried::new(tried), now + UNSAID_WAIT);
        let mut throttled = true;
        let back_at = self
            .members
            .iter()
            .enumerate()
            .map(|(index, member)| {
                let health = member.health.lock();
                let by_limit = health.breaker.is_throttled();
                match health.state(now) {
                    BreakerState::Open { until, cause } => {
                        throttled &= by_limit && cause != Cause::Credential;
                        until.max(now)
                    }
                    BreakerState::Trial { cause, .. } => {
                        throttled &= cause == Cause::Throttle;
                        soon
                    }
                    // It was asked and told of its limit, which is over by now.
                    BreakerState::Closed | BreakerState::Ramping { .. } if by_limit => {
                        if health.breaker.names_no_time() {
                            soon
                        } else {
                            now
                        }
                    }
                    BreakerState::Closed | BreakerState::Ramping { .. } => {
                        throttled &= !tried.has(index);
                        soon
                    }
                }
            })
            .min()
            .unwrap_or(soon);
        Exhausted { throttled, back_at }
    }

    /// The members in the order that a request would consider them now: by priority and share those that are ready,
    /// then the others as they come back.
    pub fn order(&self, now: Instant) -> Vec<(usize, BreakerState)> {
        let moment = self.ready.moment(now);
        let states = self.members.iter().map(|member| member.state(now));
        let mut order: Vec<_> = states.enumerate().collect();
        order.sort_by_cached_key(|(index, state)| {
            let deployment = &self.members[*index].deployment;
            let weight = u64::from(deployment.weight.get()) * self.ready.share(*index, moment);
            let (ready, back) = match state {
                BreakerState::Open { until, .. } if *until > now => (false, Some(*until)),
                BreakerState::Trial { .. } => (false, None),
                _ => (true, None),
            };
            // Trials, of which nobody knows when they end, come last.
            let waits = (!ready, !ready && back.is_none(), back);
            (waits, deployment.priority, Reverse(weight))
        });
        order
    }

    /// Takes in that a client's request failed here, and that nobody served it.
    pub(super) fn doubt(
        &self,
        index: usize,
        pass: Pass,
        client: Option<&ClientName>,
        now: Instant,
        draw: u64,
    ) -> Option<Transition> {
        let is_served_elsewhere = self.served.note_doubt(client, index, self.window, now);
        let by = Doubter {
            client,
            is_served_elsewhere,
            is_alone: self.has_one_client,
        };
        self.change(index, |health| health.breaker.doubt(pass, by, now, draw))
    }

    /// Takes in that a client has its whole answer. Only while there are doubts does anybody want to know.
    pub fn note_whole(&self, client: Option<&ClientName>, index: usize, now: Instant) {
        self.served.note(client, index, now);
    }

    /// Changes a member's health, and what choosing reads of it.
    pub(super) fn change<T>(&self, index: usize, change: impl FnOnce(&mut Health) -> T) -> T {
        let mut health = self.members[index].health.lock();
        let changed = change(&mut health);
        self.ready.refresh(index, &health.breaker, &health.validity);
        if let Some(until) = health.bars.until() {
            self.ready.note_bar(until);
        }
        changed
    }
}
