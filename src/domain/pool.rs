//! One model's deployments and their health: which one, now?
//!
//! The lowest priority number that can serve goes first; inside it, shares follow weights. State is per
//! deployment, never per instance: a throttled model does not bench its neighbours (AZURE.md, fact 2).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    breaker::{Breaker, Cause, Pass, State, Transition},
    deployment::{Deployment, Model},
    name::ModelName,
    outcome::Outcome,
};

/// A model's deployments.
#[derive(Debug)]
pub struct Pool {
    model: ModelName,
    /// By priority, the config's order inside each.
    members: Vec<Member>,
}

/// A deployment and how it fares.
#[derive(Debug)]
pub struct Member {
    deployment: Deployment,
    breaker: Mutex<Breaker>,
    inflight: AtomicU32,
    last: Mutex<Option<(Outcome, Instant)>>,
}

/// When a deployment that failed without a word may be worth another try: a failure, unlike a limit, may be over at once.
const UNSAID_WAIT: Duration = Duration::from_secs(1);

/// Why no deployment can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Whether a deployment's own word is all that stands in the way of those not tried.
    pub throttled: bool,
    /// The soonest that one of the pool may be worth another try.
    pub back_at: Instant,
}

impl Pool {
    pub fn new(model: Model) -> Self {
        let mut members: Vec<Member> = model.deployments.into_iter().map(Member::new).collect();
        members.sort_by_key(|member| member.deployment.priority);
        Self {
            model: model.name,
            members,
        }
    }

    pub fn model(&self) -> &ModelName {
        &self.model
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether a request could be sent somewhere now.
    pub fn is_ready(&self, now: Instant) -> bool {
        self.members
            .iter()
            .any(|member| member.breaker.lock().is_ready(now))
    }

    /// Whether a deployment other than those `tried` could be asked now.
    pub fn has_ready(&self, tried: &[usize], now: Instant) -> bool {
        let mut members = self.members.iter().enumerate();
        members.any(|(index, member)| !tried.contains(&index) && member.is_ready(now))
    }

    /// Takes the deployment to ask now, none of those `tried`. `draw` decides among equals.
    pub fn choose(
        self: &Arc<Self>,
        tried: &[usize],
        now: Instant,
        draw: u64,
    ) -> Result<Attempt, Exhausted> {
        loop {
            let index = self
                .pick(tried, now, draw)
                .ok_or_else(|| self.exhausted(tried, now))?;
            // Another request may have taken the trial since; then there is one candidate fewer.
            if let Some(pass) = self.members[index].breaker.lock().pass(now) {
                self.members[index].inflight.fetch_add(1, Ordering::Relaxed);
                return Ok(Attempt {
                    pool: Arc::clone(self),
                    index,
                    pass,
                    judged: false,
                });
            }
        }
    }

    fn pick(&self, tried: &[usize], now: Instant, draw: u64) -> Option<usize> {
        let ready = |index: &usize| {
            !tried.contains(index) && self.members[*index].breaker.lock().is_ready(now)
        };
        let first = (0..self.members.len()).find(ready)?;
        let priority = self.members[first].deployment.priority;
        let end = first
            + self.members[first..]
                .partition_point(|member| member.deployment.priority == priority);
        let weight = |index: usize| u64::from(self.members[index].deployment.weight.get());
        // Only the first is known to be ready; asking the others twice is cheaper than remembering them.
        let total: u64 = (first..end).filter(ready).map(weight).sum();
        let mut left = draw % total.max(1);
        (first..end).filter(ready).find(|index| {
            let weight = weight(*index);
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        })
    }

    /// What stands in the way of the next attempt, those `tried` counted in.
    pub fn exhausted(&self, tried: &[usize], now: Instant) -> Exhausted {
        let mut throttled = true;
        let back_at = self.members.iter().enumerate().map(|(index, member)| {
            match member.breaker.lock().state() {
                State::Open { until, cause } => {
                    throttled &= cause == Cause::Throttle;
                    until.max(now)
                }
                State::Trial { cause, .. } => {
                    throttled &= cause == Cause::Throttle;
                    now
                }
                State::Closed => {
                    throttled &= !tried.contains(&index);
                    now + UNSAID_WAIT
                }
            }
        });
        let back_at = back_at.min().unwrap_or(now + UNSAID_WAIT);
        Exhausted { throttled, back_at }
    }
}

impl Member {
    fn new(deployment: Deployment) -> Self {
        let (breaker, inflight, last) = Default::default();
        Self {
            deployment,
            breaker,
            inflight,
            last,
        }
    }

    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    pub fn state(&self) -> State {
        self.breaker.lock().state()
    }

    pub fn is_ready(&self, now: Instant) -> bool {
        self.breaker.lock().is_ready(now)
    }

    pub fn inflight(&self) -> u32 {
        self.inflight.load(Ordering::Relaxed)
    }

    /// How the last attempt here ended, and when.
    pub fn last(&self) -> Option<(Outcome, Instant)> {
        *self.last.lock()
    }
}

/// One try at one deployment. It counts as in flight until it is judged or dropped.
#[derive(Debug)]
#[must_use]
pub struct Attempt {
    pool: Arc<Pool>,
    index: usize,
    pass: Pass,
    judged: bool,
}

impl Attempt {
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
    pub fn judge(&mut self, outcome: &Outcome, now: Instant) -> Option<Transition> {
        if self.judged {
            return None;
        }
        self.judged = true;
        let member = self.member();
        *member.last.lock() = Some((*outcome, now));
        member.breaker.lock().note(self.pass, outcome, now)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.member().inflight.fetch_sub(1, Ordering::Relaxed);
        if !self.judged {
            self.member().breaker.lock().give_back(self.pass);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::{
            deployment::{Capacity, Endpoint, Instance, Kind, Priority, Weight},
            outcome::Fault,
        },
        *,
    };

    /// A pool of `(name, priority, weight)`.
    pub(crate) fn pool_of(members: &[(&str, u32, u32)]) -> Arc<Pool> {
        let deployments = members.iter().map(|(name, priority, weight)| Deployment {
            instance: Arc::new(Instance {
                name: (*name).into(),
                endpoint: Endpoint::parse("https://contoso.openai.azure.com").unwrap(),
                kind: Kind::AzureOpenai,
                identity: "vm".into(),
                scope: String::new(),
                geography: None,
                ca: None,
                connect_to: None,
            }),
            name: "gpt-4o".into(),
            capacity: Capacity::Standard,
            priority: Priority::new(*priority).unwrap(),
            weight: Weight::new(*weight).unwrap(),
        });
        let model = Model {
            name: "gpt-4o".into(),
            version: None,
            deployments: deployments.collect(),
            timeouts: Default::default(),
        };
        Arc::new(Pool::new(model))
    }

    fn chosen(pool: &Arc<Pool>, tried: &[usize], now: Instant, draw: u64) -> Option<String> {
        let attempt = pool.choose(tried, now, draw).ok()?;
        Some(attempt.deployment().instance.name.to_string())
    }

    fn throttle(pool: &Arc<Pool>, index: usize, wait: Duration, now: Instant) {
        let tried: Vec<usize> = (0..pool.members.len()).filter(|i| *i != index).collect();
        let mut attempt = pool.choose(&tried, now, 0).unwrap();
        attempt.judge(&Outcome::Throttled { wait }, now);
    }

    #[test]
    fn shares_follow_weights() {
        let (pool, now) = (
            pool_of(&[("a", 1, 5), ("b", 1, 3), ("c", 1, 2)]),
            Instant::now(),
        );
        let mut random = fastrand::Rng::with_seed(7);
        let mut counts = [0_f64; 3];
        for _ in 0..10_000 {
            counts[pool.choose(&[], now, random.u64(..)).unwrap().index()] += 1.0;
        }
        let expected = [5000.0, 3000.0, 2000.0];
        let chi_square: f64 = counts
            .iter()
            .zip(expected)
            .map(|(seen, e)| (seen - e) * (seen - e) / e)
            .sum();
        // 13.8 is passed by chance once in a thousand, with two degrees of freedom.
        assert!(chi_square < 13.8, "{counts:?} {chi_square}");
    }

    #[test]
    fn every_draw_falls_to_one_of_the_ready() {
        let (pool, now) = (
            pool_of(&[("a", 1, 1), ("b", 1, 2), ("c", 1, 1), ("d", 2, 9)]),
            Instant::now(),
        );
        throttle(&pool, 1, Duration::from_secs(9), now);
        let names: Vec<_> = (0..4)
            .map(|draw| chosen(&pool, &[], now, draw).unwrap())
            .collect();
        assert_eq!(names, ["a", "c", "a", "c"]);
        assert_eq!(chosen(&pool, &[0, 2], now, 1).as_deref(), Some("d"));
    }

    #[test]
    fn a_later_priority_gets_nothing_while_an_earlier_one_can_serve() {
        let (pool, t) = (pool_of(&[("std", 2, 1), ("ptu", 1, 1)]), Instant::now());
        let ptu = pool.choose(&[], t, 0).unwrap().index();
        for draw in 0..100 {
            assert_eq!(chosen(&pool, &[], t, draw).as_deref(), Some("ptu"));
        }
        throttle(&pool, ptu, Duration::from_secs(2), t);
        assert_eq!(chosen(&pool, &[], t, 0).as_deref(), Some("std"));
        assert_eq!(
            chosen(&pool, &[], t + Duration::from_secs(2), 0).as_deref(),
            Some("ptu")
        );
    }

    #[test]
    fn while_one_tries_a_deployment_again_the_others_go_elsewhere() {
        let (pool, t) = (pool_of(&[("ptu", 1, 1), ("std", 2, 1)]), Instant::now());
        throttle(&pool, 0, Duration::from_secs(1), t);
        let later = t + Duration::from_secs(1);
        let mut trial = pool.choose(&[], later, 0).unwrap();
        assert_eq!(trial.index(), 0);
        assert_eq!(chosen(&pool, &[], later, 0).as_deref(), Some("std"));
        trial.judge(&Outcome::Served, later);
        assert_eq!(chosen(&pool, &[], later, 0).as_deref(), Some("ptu"));
    }

    #[test]
    fn a_dropped_trial_leaves_its_place_to_the_next() {
        let (pool, t) = (pool_of(&[("ptu", 1, 1)]), Instant::now());
        throttle(&pool, 0, Duration::ZERO, t);
        drop(pool.choose(&[], t, 0).unwrap());
        assert!(pool.choose(&[], t, 0).is_ok());
        assert_eq!(pool.members()[0].inflight(), 0);
    }

    #[test]
    fn exhaustion_tells_throttling_from_failure_and_the_soonest_return() {
        let (pool, t) = (pool_of(&[("a", 1, 1), ("b", 1, 1)]), Instant::now());
        throttle(&pool, 0, Duration::from_secs(9), t);
        throttle(&pool, 1, Duration::from_secs(4), t);
        let back_at = t + Duration::from_secs(4);
        assert_eq!(
            pool.choose(&[0, 1], t, 0).unwrap_err(),
            Exhausted {
                throttled: true,
                back_at
            }
        );

        let pool = pool_of(&[("a", 1, 1), ("b", 1, 1)]);
        throttle(&pool, 0, Duration::from_secs(9), t);
        pool.choose(&[0], t, 0)
            .unwrap()
            .judge(&Outcome::fault(Fault::Connect), t);
        let back_at = t + UNSAID_WAIT;
        assert_eq!(
            pool.choose(&[0, 1], t, 0).unwrap_err(),
            Exhausted {
                throttled: false,
                back_at
            }
        );
    }
}
