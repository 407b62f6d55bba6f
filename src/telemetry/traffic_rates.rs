//! Rates of traffic: counters are read every second, and the differences kept.
//!
//! Requests know nothing of it: they count, and this reads. A few looks are kept, so that a rate is that of the last
//! seconds and an error of this morning is not shown at noon. Time comes in as an argument.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::Serialize;

use super::metrics::{Buckets, Class, DeploymentMetrics, LogReading, Metrics};
use crate::domain::name::ModelName;

/// How often [`TrafficRates::beat`] wants to be called.
pub const EVERY: Duration = Duration::from_secs(1);
/// Rates are those of so many seconds.
const SECONDS: usize = 10;
/// What is told of the last minute is looked at more seldom, and so covers up to one of these more.
const STRETCH: Duration = Duration::from_secs(10);
const STRETCHES: usize = 6;
/// So many seconds' rates are kept for a curve.
const HISTORY: usize = 120;

/// Outcomes that are an answer to a client.
const ANSWERED: [&str; 2] = ["served", "caller_error"];

/// A model and its deployments' counters, in the order in which they are shown.
pub type Watched = (ModelName, Vec<Arc<DeploymentMetrics>>);

/// Shared by who keeps it beating and who looks.
pub struct TrafficRates {
    metrics: Arc<Metrics>,
    models: Vec<Watched>,
    looks: Mutex<Looks>,
}

struct Looks {
    /// The oldest first, as below.
    seconds: VecDeque<Second>,
    stretches: VecDeque<Stretch>,
    history: VecDeque<Rate>,
}

/// Of requests and tokens, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    pub requests: f64,
    pub tokens: f64,
}

/// Counted until then: requests, and tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    requests: u64,
    tokens: u64,
}

struct Second {
    at: Instant,
    all: Sum,
    /// Of each deployment, those of all models in one row. Requests are those that it answered.
    deployments: Vec<Sum>,
}

struct Stretch {
    at: Instant,
    answers: [u64; 5],
    logs: BTreeMap<String, LogReading>,
    store_failures: u64,
    overhead: Buckets,
    /// As above. Those that nothing was sent to share one with the look before.
    deployments: Vec<Arc<Attempts>>,
}

/// What was counted of a deployment's attempts.
#[derive(Debug, Default)]
struct Attempts {
    by_outcome: Vec<(&'static str, u64)>,
    first_token: Buckets,
}

/// What a look at it says.
#[derive(Debug)]
pub struct TrafficReading {
    pub rate: Rate,
    /// What clients got in the last minute, in the order of [`Class::ALL`].
    pub answers: [u64; 5],
    pub logs: Vec<LogRates>,
    /// Writes of what clients have spent that failed in the last minute.
    pub store_failures: u64,
    /// Over all models, in the last minute.
    pub overhead: Buckets,
    /// A second each, the oldest first.
    pub history: Vec<Rate>,
    /// Of each model its deployments, as they were given.
    pub models: Vec<Vec<DeploymentReading>>,
}

/// How a log stands.
#[derive(Clone, Debug, Serialize)]
pub struct LogRates {
    pub log: String,
    /// Whether it could not be written when it last had to be.
    pub failing: bool,
    pub lines_dropped: u64,
    /// In the last minute.
    #[serde(rename = "lines_dropped_last_minute")]
    pub dropped_lately: u64,
}

/// The same of one deployment.
#[derive(Debug)]
pub struct DeploymentReading {
    /// Of requests that it answered.
    pub rate: Rate,
    /// Attempts of the last minute by outcome, without those that there were none of.
    pub attempts: Vec<(&'static str, u64)>,
    /// In the last minute.
    pub first_token: Buckets,
}

impl TrafficRates {
    pub fn new(metrics: Arc<Metrics>, models: Vec<Watched>, now: Instant) -> Self {
        let rates = Self {
            metrics,
            models,
            looks: Mutex::new(Looks {
                seconds: VecDeque::with_capacity(SECONDS + 2),
                stretches: VecDeque::with_capacity(STRETCHES + 2),
                history: VecDeque::with_capacity(HISTORY + 1),
            }),
        };
        rates.beat(now);
        rates
    }

    /// Looks at the counters. To be called [`EVERY`] second; where it is late, the rates are still right.
    pub fn beat(&self, now: Instant) {
        let second = self.second(now);
        let mut looks = self.looks.lock();
        if let Some(before) = looks.seconds.back() {
            let rate = second.all.rate(before.all, second.at - before.at);
            push(&mut looks.history, rate, HISTORY);
        }
        push(&mut looks.seconds, second, SECONDS + 1);
        let last = looks.stretches.back();
        // A little early rather than a whole beat late.
        if last.is_none_or(|it| now.saturating_duration_since(it.at) + EVERY / 2 > STRETCH) {
            let stretch = self.stretch(now, last);
            push(&mut looks.stretches, stretch, STRETCHES + 1);
        }
    }

    pub fn read(&self, now: Instant) -> TrafficReading {
        let looks = self.looks.lock();
        let current = self.stretch(now, looks.stretches.back());
        let minute = looks.stretches.front();
        let (first, last) = (looks.seconds.front(), looks.seconds.back());
        let rate = |of: &dyn Fn(&Second) -> Sum| match (first, last) {
            (Some(first), Some(last)) => of(last).rate(of(first), last.at - first.at),
            _ => Rate::default(),
        };
        let deployment = |place: usize| {
            let before = minute.map(|it| &*it.deployments[place]);
            current.deployments[place].reading(before, rate(&|it| it.deployments[place]))
        };
        let mut places = 0..;
        let models = self.models.iter().map(|(_, deployments)| {
            let places = places.by_ref().take(deployments.len());
            places.map(deployment).collect()
        });
        let was = |i: usize| minute.map_or(0, |it| it.answers[i]);
        TrafficReading {
            rate: rate(&|it| it.all),
            answers: std::array::from_fn(|i| current.answers[i].saturating_sub(was(i))),
            logs: current.logs(minute),
            store_failures: current.store_failures - minute.map_or(0, |it| it.store_failures),
            overhead: current.overhead.since(minute.map(|it| &it.overhead)),
            history: looks.history.iter().copied().collect(),
            models: models.collect(),
        }
    }

    fn deployments(&self) -> impl Iterator<Item = &Arc<DeploymentMetrics>> {
        self.models.iter().flat_map(|(_, deployments)| deployments)
    }

    fn second(&self, at: Instant) -> Second {
        let sum = |metrics: &Arc<DeploymentMetrics>| {
            let attempts = metrics.attempts();
            let answered = attempts.iter().filter(|(it, _)| ANSWERED.contains(it));
            Sum {
                requests: answered.map(|(_, number)| number).sum(),
                tokens: metrics.tokens_used(),
            }
        };
        let deployments: Vec<_> = self.deployments().map(sum).collect();
        let all = Sum {
            requests: self.metrics.finished().iter().sum(),
            tokens: deployments.iter().map(|it| it.tokens).sum(),
        };
        Second {
            at,
            all,
            deployments,
        }
    }

    fn stretch(&self, at: Instant, before: Option<&Stretch>) -> Stretch {
        let mut overhead = Buckets::default();
        for (model, _) in &self.models {
            overhead.add(&self.metrics.overhead(model));
        }
        let before = |place: usize| before.map(|it| &it.deployments[place]);
        let attempts = |(place, metrics): (usize, &Arc<DeploymentMetrics>)| {
            let mut by_outcome = metrics.attempts();
            by_outcome.sort_unstable();
            match before(place) {
                Some(same) if same.by_outcome == by_outcome => Arc::clone(same),
                _ => Arc::new(Attempts {
                    by_outcome,
                    first_token: metrics.times_to_first_token(),
                }),
            }
        };
        Stretch {
            at,
            answers: self.metrics.finished(),
            logs: self.metrics.logs(),
            store_failures: self.metrics.counter_store_failures().get(),
            overhead,
            deployments: self.deployments().enumerate().map(attempts).collect(),
        }
    }
}

impl Stretch {
    fn logs(&self, before: Option<&Self>) -> Vec<LogRates> {
        let was = |log: &str| before.and_then(|it| it.logs.get(log));
        let rates = |(log, reading): (&String, &LogReading)| LogRates {
            log: log.clone(),
            failing: reading.failing,
            lines_dropped: reading.lines_dropped,
            dropped_lately: reading.lines_dropped - was(log).map_or(0, |it| it.lines_dropped),
        };
        self.logs.iter().map(rates).collect()
    }
}

impl TrafficReading {
    /// Answers of the last minute, by class.
    pub fn answered(&self) -> impl Iterator<Item = (Class, u64)> {
        Class::ALL.into_iter().zip(self.answers)
    }

    /// Times to a first token over all models, in the last minute.
    pub fn first_token(&self) -> Buckets {
        let mut all = Buckets::default();
        let deployments = self.models.iter().flatten();
        deployments.for_each(|it| all.add(&it.first_token));
        all
    }
}

impl Sum {
    fn rate(self, before: Self, passed: Duration) -> Rate {
        let a_second = |now: u64, before: u64| {
            let seconds = passed.as_secs_f64();
            let came = now.saturating_sub(before) as f64;
            if seconds > 0.0 { came / seconds } else { 0.0 }
        };
        Rate {
            requests: a_second(self.requests, before.requests),
            tokens: a_second(self.tokens, before.tokens),
        }
    }
}

impl Attempts {
    fn reading(&self, before: Option<&Self>, rate: Rate) -> DeploymentReading {
        let was = |outcome: &str| {
            let mut counted = before.iter().flat_map(|it| &it.by_outcome);
            counted.find(|(it, _)| *it == outcome).map_or(0, |it| it.1)
        };
        let came = |(outcome, now): &(&'static str, u64)| {
            let came = now.saturating_sub(was(outcome));
            (came > 0).then_some((*outcome, came))
        };
        DeploymentReading {
            rate,
            attempts: self.by_outcome.iter().filter_map(came).collect(),
            first_token: self.first_token.since(before.map(|it| &it.first_token)),
        }
    }
}

/// Adds a look, and lets go of those that are too old.
fn push<T>(looks: &mut VecDeque<T>, look: T, most: usize) {
    if looks.len() == most {
        looks.pop_front();
    }
    looks.push_back(look);
}

#[cfg(test)]
mod tests {
    use super::{super::record::tests::record, *};

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The deployments of the record that others are made from: east is throttled, west serves.
    fn watched(now: Instant) -> (Arc<Metrics>, TrafficRates) {
        let metrics = Arc::new(Metrics::new());
        let model = ModelName::from("gpt-4o");
        let deployment =
            |instance: &str| metrics.deployment(&model, &instance.into(), &"gpt-4o".into());
        let deployments = ["east", "west"].map(deployment).to_vec();
        let rates = TrafficRates::new(Arc::clone(&metrics), vec![(model, deployments)], now);
        (metrics, rates)
    }

    #[test]
    fn rates_are_those_of_the_last_ten_seconds() {
        let t = Instant::now();
        let (metrics, rates) = watched(t);
        for second in 1..=30 {
            for _ in 0..if second <= 10 { 50 } else { 2 } {
                metrics.account(&record());
            }
            rates.beat(t + secs(second));
        }
        let reading = rates.read(t + secs(30));
        // 30 tokens in and 12 out; what it was cached or reasoned is part of them.
        let rate = Rate {
            requests: 2.0,
            tokens: 84.0,
        };
        assert_eq!(reading.rate, rate);
        let [east, west] = &reading.models[0][..] else {
            panic!("{reading:?}")
        };
        assert_eq!((east.rate, west.rate), (Rate::default(), rate));
        assert_eq!(reading.history.len(), 30);
        assert_eq!(reading.history[9].requests, 50.0);
        assert_eq!(reading.history[10].requests, 2.0);
    }

    #[test]
    fn a_minute_is_told_by_outcome_and_what_is_older_is_not() {
        let t = Instant::now();
        let (metrics, rates) = watched(t);
        metrics.account(&record());
        let mut refused = record();
        (refused.refusal, refused.status) = (Some("throttled"), Some(429));
        metrics.account(&refused);
        let log = metrics.log("access");
        log.dropped.inc_by(3);
        log.failing.set(1);
        metrics.counter_store_failures().inc_by(2);
        // It is there at once, not only with the next look.
        let reading = rates.read(t);
        assert_eq!(reading.answers, [1, 0, 1, 0, 0]);
        let [log] = &reading.logs[..] else { panic!() };
        assert_eq!((log.log.as_str(), log.failing), ("access", true));
        assert_eq!((log.lines_dropped, log.dropped_lately), (3, 3));
        assert_eq!(reading.store_failures, 2);
        assert_eq!(reading.models[0][0].attempts, [("throttled", 2)]);
        assert_eq!(reading.models[0][1].attempts, [("served", 2)]);
        // The record's 41.5 ms, in the bucket from 25 to 50 ms.
        let first = reading.models[0][1].first_token.quantile(0.5).unwrap();
        assert!((0.025..=0.05).contains(&first), "{first}");
        assert!(reading.overhead.quantile(0.5).is_some());

        for second in 1..=75 {
            rates.beat(t + secs(second));
        }
        metrics.account(&record());
        let reading = rates.read(t + secs(75));
        assert_eq!(reading.answers, [1, 0, 0, 0, 0]);
        let log = &reading.logs[0];
        assert_eq!((log.lines_dropped, log.dropped_lately), (3, 0));
        assert_eq!(reading.store_failures, 0);
        assert_eq!(reading.models[0][0].attempts, [("throttled", 1)]);
        assert_eq!(
            reading.models[0][1].first_token.counts.iter().sum::<u64>(),
            1
        );
        assert_eq!(reading.history.len(), 75);
    }

    #[test]
    fn where_beats_come_late_the_rates_are_right_and_little_is_kept() {
        let t = Instant::now();
        let (metrics, rates) = watched(t);
        for beat in 1..=300 {
            (0..30).for_each(|_| metrics.account(&record()));
            rates.beat(t + secs(3 * beat));
        }
        let reading = rates.read(t + secs(900));
        assert_eq!(reading.rate.requests, 10.0);
        assert_eq!(reading.history.len(), HISTORY);
        let looks = rates.looks.lock();
        assert_eq!(looks.seconds.len(), SECONDS + 1);
        assert_eq!(looks.stretches.len(), STRETCHES + 1);
        // Nothing came to it meanwhile: all looks share one.
        let (_, quiet) = watched(t);
        (1..=60).for_each(|second| quiet.beat(t + secs(second)));
        let looks = quiet.looks.lock();
        let first = &looks.stretches[0].deployments[0];
        assert!(Arc::ptr_eq(first, &looks.stretches[3].deployments[0]));
    }
}
