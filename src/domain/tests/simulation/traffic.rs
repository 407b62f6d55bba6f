//! Requests come, are driven through the pool, and end; at each step what must be true is checked.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    ops::Add,
    sync::Arc,
    time::{Duration, Instant},
};

use super::world::{Life, Phase, SLOWEST};
use crate::domain::{
    breaker::{BreakerState, Cause, Settings},
    deployment::Bounds,
    failover::{Progress, Repeat, Step},
    name::ClientName,
    outcome::{Fault, Outcome},
    pool::{Attempt, Pool, Suspicions, tests::pool_with},
};

/// A deployment that is well is asked before so many requests went elsewhere. The smallest share is one of thirty, so
/// that chance passes it over so often once in ten million times.
const PASSED_OVER: u32 = 500;

/// What happened, to be sure that it did.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) served: u64,
    /// Attempts after the first.
    pub(super) moved: u64,
    pub(super) refused: u64,
    pub(super) throttled: u64,
    pub(super) trials: u64,
    /// Streams that ended otherwise than they began.
    pub(super) broken: u64,
    /// Refused while another request was the trial of a deployment that is well.
    pub(super) behind_a_trial: u64,
    /// Set aside for a credential or a configuration.
    pub(super) rejected: u64,
    /// Waits that were too long to be kept.
    pub(super) cut: u64,
    /// Failures that were held back, and charged since a fellow served.
    pub(super) charged: u64,
    /// The same where nobody did.
    pub(super) doubted: u64,
}

pub(super) struct Traffic {
    start: Instant,
    at: Duration,
    settings: Settings,
    bounds: Bounds,
    random: fastrand::Rng,
    /// Requests a second.
    rate: f64,
    pool: Arc<Pool>,
    lives: Vec<Life>,
    /// What each said last longest: not before.
    told: Vec<Duration>,
    /// Whether nothing but limits was heard of it since it last served, and none that was cut.
    only_limits: Vec<bool>,
    passed_over: Vec<u32>,
    asked: Vec<u64>,
    events: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    free: Vec<usize>,
    order: u64,
    tally: Tally,
}

enum Happening {
    Arrives,
    Ends(Asking, Attempt, Outcome),
    /// The last byte of an answer, or where it breaks.
    Finishes(Attempt),
}

/// A request under way, of one of a few clients.
struct Asking {
    progress: Progress,
    suspicions: Suspicions,
    client: ClientName,
}

impl Traffic {
    /// Members are `(priority, weight)`; `lives` in the order of the pool, by priority.
    pub(super) fn new(seed: u64, members: &[(u32, u32)], lives: Vec<Life>, rate: f64) -> Self {
        let members: Vec<_> = members
            .iter()
            .map(|(priority, weight)| ("any", *priority, *weight))
            .collect();
        let settings = Settings::default();
        let mut traffic = Self {
            start: Instant::now(),
            at: Duration::ZERO,
            settings,
            bounds: Bounds::default(),
            random: fastrand::Rng::with_seed(seed),
            rate,
            pool: pool_with(&members, settings),
            told: vec![Duration::ZERO; lives.len()],
            only_limits: vec![true; lives.len()],
            passed_over: vec![0; lives.len()],
            asked: vec![0; lives.len()],
            lives,
            events: BinaryHeap::new(),
            happenings: Vec::new(),
            free: Vec::new(),
            order: 0,
            tally: Tally::default(),
        };
        traffic.plan(Duration::ZERO, Happening::Arrives);
        traffic
    }

    /// How often each was asked.
    pub(super) fn asked(&self) -> &[u64] {
        &self.asked
    }

    pub(super) fn run_until(&mut self, until: Duration) {
        while let Some(Reverse((at, _, place))) = self.events.peek().copied()
            && at < until
        {
            self.events.pop();
            self.at = at;
            self.free.push(place);
            match self.happenings[place].take() {
                Some(Happening::Arrives) => self.arrives(),
                Some(Happening::Ends(progress, attempt, outcome)) => {
                    self.ends(progress, attempt, outcome)
                }
                Some(Happening::Finishes(attempt)) => self.finishes(&attempt),
                None => unreachable!("each happens once"),
            }
        }
    }

    /// Lets what is under way go.
    pub(super) fn ended(self) -> Tally {
        drop(self.happenings);
        assert!(
            self.pool
                .members()
                .iter()
                .all(|member| member.inflight() == 0)
        );
        self.tally
    }

    fn plan(&mut self, later: Duration, happening: Happening) {
        let place = self.free.pop().unwrap_or(self.happenings.len());
        if place == self.happenings.len() {
            self.happenings.push(None);
        }
        self.happenings[place] = Some(happening);
        self.order += 1;
        self.events
            .push(Reverse((self.at + later, self.order, place)));
    }

    fn now(&self) -> Instant {
        self.start + self.at
    }

    fn arrives(&mut self) {
        let next = -self.random.f64().max(1e-9).ln() / self.rate;
        self.plan(Duration::from_secs_f64(next), Happening::Arrives);
        self.pool.budget().note_request(self.now());
        let client = ["one", "two", "three"][self.random.usize(..3)].into();
        self.asks(Asking {
            progress: Progress::new(self.now(), Repeat::Harmless),
            suspicions: Suspicions::default(),
            client,
        });
    }

    fn asks(&mut self, mut asking: Asking) {
        let (now, draw) = (self.now(), self.random.u64(..));
        let states: Vec<_> = self
            .pool
            .members()
            .iter()
            .map(|member| member.state(now))
            .collect();
        let Ok(attempt) = self.pool.choose(asking.progress.tried(), now, draw) else {
            return self.is_refused(asking);
        };
        let index = attempt.index();
        self.may_be_asked(index, &asking.progress, &states);
        self.tally.moved += u64::from(!asking.progress.tried().is_empty());
        self.asked[index] += 1;
        asking.progress.start(index);
        let (outcome, latency) = self.lives[index].answer(&mut self.random, self.at);
        if self.random.u32(..100) == 0 {
            let patience = latency.mul_f64(self.random.f64());
            return self.plan(
                patience,
                Happening::Ends(asking, attempt, Outcome::ClientLeft),
            );
        }
        self.plan(latency, Happening::Ends(asking, attempt, outcome));
    }

    fn ends(&mut self, mut asking: Asking, mut attempt: Attempt, outcome: Outcome) {
        let (now, draw) = (self.now(), self.random.u64(..));
        asking.suspicions.judge(&mut attempt, &outcome, now, draw);
        self.hears(attempt.index(), &outcome);
        let charged = asking.suspicions.resolve(&outcome, now, draw);
        self.tally.charged += charged.len() as u64;
        for one in charged {
            self.only_limits[one.index()] = false;
        }
        let client = Some(&asking.client);
        if matches!(outcome, Outcome::Faulted { .. }) && asking.progress.tried().len() > 1 {
            self.pool.budget().note_wasted(client, now);
        }
        let budget_left = self.pool.budget().allows(client, now);
        match asking
            .progress
            .after(&outcome, &self.bounds, budget_left, now)
        {
            Step::Deliver => {
                self.tally.served += 1;
                let rest = SLOWEST.mul_f64(self.random.f64());
                self.plan(rest, Happening::Finishes(attempt));
            }
            Step::TryAnother => {
                drop(attempt);
                self.asks(asking);
            }
            Step::GiveUp if outcome == Outcome::ClientLeft => {}
            Step::GiveUp => {
                let tried = asking.progress.tried().len();
                assert!(
                    tried >= self.bounds.attempts as usize,
                    "{tried}, budget left: {budget_left}"
                );
                self.tally.refused += 1;
                self.is_over(asking);
            }
        }
    }

    /// Nobody served it.
    fn is_over(&mut self, mut asking: Asking) {
        let (now, draw) = (self.now(), self.random.u64(..));
        let doubts = asking.suspicions.end(Some(&asking.client), now, draw);
        self.tally.doubted += doubts.len() as u64;
        for one in doubts {
            self.only_limits[one.index()] = false;
        }
    }

    /// An answer of a deployment that fails meanwhile breaks off.
    fn finishes(&mut self, attempt: &Attempt) {
        if let Phase::Failing(_) = self.lives[attempt.index()].phase(self.at) {
            let broken = Outcome::fault(Fault::Broken);
            attempt.amend(&broken, self.now(), self.random.u64(..));
            self.hears(attempt.index(), &broken);
            self.tally.broken += 1;
        }
    }

    /// Invariant 3: nothing is asked before its own word is over, and what is ready is not passed over.
    fn may_be_asked(&mut self, chosen: usize, progress: &Progress, states: &[BreakerState]) {
        assert!(chosen < self.lives.len() && !progress.tried().contains(&chosen));
        assert!(self.told[chosen] <= self.at, "{chosen} was asked too early");
        self.tally.trials += u64::from(matches!(states[chosen], BreakerState::Open { .. }));
        let priority = |index: usize| self.pool.members()[index].deployment().priority;
        for (index, state) in states.iter().enumerate() {
            if self.told[index] <= self.at && self.only_limits[index] {
                let ahead = BreakerState::Trial {
                    since: self.start + self.told[index],
                    cause: Cause::Throttle,
                };
                assert!(
                    [BreakerState::Closed, ahead].contains(state),
                    "{index}: its word is over: {state:?}"
                );
            }
            let is_ready = match state {
                BreakerState::Closed => true,
                BreakerState::Open { until, .. } => *until <= self.now(),
                BreakerState::Ramping { .. } | BreakerState::Trial { .. } => false,
            };
            if index == chosen || !is_ready || progress.tried().contains(&index) {
                continue;
            }
            assert!(
                priority(index) >= priority(chosen),
                "{index} goes before {chosen}"
            );
            self.passed_over[index] += u32::from(priority(index) == priority(chosen));
            assert!(
                self.passed_over[index] < PASSED_OVER,
                "{index} is forgotten"
            );
        }
        self.passed_over[chosen] = 0;
    }

    /// Invariant 2: where nothing is left to ask, no deployment could have served.
    ///
    /// One that has been well for long could have: whatever it had said is over (no wait is longer than the longest
    /// pause), and so is a pause of its faults (the attempt that began it took no longer than the slowest). Left are one
    /// that this request asked before it was well again, and one that nobody wanted meanwhile, so that another request is
    /// its trial right now.
    fn is_refused(&mut self, asking: Asking) {
        let progress = asking.progress.clone();
        self.is_over(asking);
        self.tally.refused += 1;
        let long = self.settings.longest_pause + SLOWEST;
        for (index, life) in self.lives.iter().enumerate() {
            if life.is_well_for(long, self.at) && !progress.tried().contains(&index) {
                let state = self.pool.members()[index].state(self.now());
                assert!(
                    matches!(state, BreakerState::Trial { .. }),
                    "{index} would have served: {state:?}"
                );
                self.tally.behind_a_trial += 1;
            }
        }
        let exhausted = self.pool.exhausted(progress.tried(), self.now());
        let longest = self.now() + self.settings.longest_pause;
        assert!((self.now()..=longest).contains(&exhausted.back_at));
        self.tally.throttled += u64::from(exhausted.throttled);
    }

    /// What the gateway knows now of a deployment's own word.
    fn hears(&mut self, index: usize, outcome: &Outcome) {
        let wait = match outcome {
            Outcome::Throttled { wait } => *wait,
            Outcome::Faulted { wait, .. } => *wait,
            _ => None,
        };
        let longest = self.settings.longest_pause;
        if let Some(wait) = wait {
            self.tally.cut += u64::from(wait > longest);
            self.told[index] = self.told[index].max(self.at + wait.min(longest));
        }
        match outcome {
            Outcome::Throttled { wait } => {
                self.only_limits[index] &= wait.is_none_or(|wait| wait <= longest)
            }
            Outcome::Served | Outcome::CallerError => {
                let state = self.pool.members()[index].state(self.now());
                self.only_limits[index] |= state == BreakerState::Closed;
            }
            Outcome::ClientLeft => {}
            _ => self.only_limits[index] = false,
        }
        let state = self.pool.members()[index].state(self.now());
        if let BreakerState::Open {
            cause: Cause::Credential | Cause::Configuration,
            ..
        } = state
        {
            self.tally.rejected += 1;
        }
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            served: self.served + other.served,
            moved: self.moved + other.moved,
            refused: self.refused + other.refused,
            throttled: self.throttled + other.throttled,
            trials: self.trials + other.trials,
            broken: self.broken + other.broken,
            behind_a_trial: self.behind_a_trial + other.behind_a_trial,
            rejected: self.rejected + other.rejected,
            cut: self.cut + other.cut,
            charged: self.charged + other.charged,
            doubted: self.doubted + other.doubted,
        }
    }
}
