//! What the counters say now, for who shows it: read beside the requests, never by one.

use std::collections::BTreeMap;

use prometheus::{
    Histogram,
    core::{Collector, Metric},
    proto,
};

use super::{DeploymentMetrics, Metrics};
use crate::domain::name::ModelName;

/// How many observations fell below or on each bound; the last has no bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// In seconds.
    pub bounds: Vec<f64>,
    /// Those of each bucket alone; one longer than `bounds`.
    pub counts: Vec<u64>,
}

/// How a log stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogReading {
    pub lines_dropped: u64,
    /// Whether it could not be written when it last had to be.
    pub failing: bool,
}

/// What the client got, told apart as far as an operator wants it at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Success,
    CallerError,
    TooMany,
    Failure,
    Left,
}

impl Class {
    pub const ALL: [Self; 5] = [
        Self::Success,
        Self::CallerError,
        Self::TooMany,
        Self::Failure,
        Self::Left,
    ];

    fn from_status(status: Option<u16>) -> Self {
        match status {
            None => Self::Left,
            Some(429) => Self::TooMany,
            Some(400..=499) => Self::CallerError,
            Some(500..) => Self::Failure,
            Some(_) => Self::Success,
        }
    }
}

impl Metrics {
    /// How many requests have ended so far, by what their clients got, in the order of [`Class::ALL`].
    pub fn finished(&self) -> [u64; 5] {
        let mut finished = [0; 5];
        self.requests.each(|(_, _, status), counter| {
            finished[Class::from_status(*status) as usize] += counter.get();
        });
        finished
    }

    /// How many answers each client got so far, by status.
    pub fn answers(&self) -> BTreeMap<(String, String), u64> {
        let mut answers = BTreeMap::new();
        for metric in all(&self.instruments.requests.collect()) {
            let key = (label(metric, "client"), label(metric, "code"));
            *answers.entry(key).or_default() += count(metric);
        }
        answers
    }

    /// How many attempts have ended so far, by instance, deployment and outcome.
    pub fn attempts(&self) -> BTreeMap<(String, String, String), u64> {
        let families = self.instruments.attempts.collect();
        let counted = all(&families).map(|metric| {
            let [instance, deployment, outcome] =
                ["instance", "deployment", "outcome"].map(|name| label(metric, name));
            ((instance, deployment, outcome), count(metric))
        });
        counted.collect()
    }

    /// What all of it cost so far, in the currency of `prices`.
    pub fn cost(&self) -> f64 {
        let families = self.instruments.cost.collect();
        all(&families)
            .map(|metric| metric.get_counter().get_value())
            .sum()
    }

    /// How many requests are being served.
    pub fn inflight(&self) -> u64 {
        self.instruments.requests_inflight.get().unsigned_abs()
    }

    /// How each log stands, by its name.
    pub fn logs(&self) -> BTreeMap<String, LogReading> {
        let mut logs: BTreeMap<String, LogReading> = BTreeMap::new();
        for metric in all(&self.instruments.log_lines_dropped.collect()) {
            let log = logs.entry(label(metric, "log")).or_default();
            log.lines_dropped = count(metric);
        }
        for metric in all(&self.instruments.log_failing.collect()) {
            let log = logs.entry(label(metric, "log")).or_default();
            log.failing = metric.get_gauge().get_value() > 0.0;
        }
        logs
    }

    /// The gateway's own share of a model's requests' time, so far.
    pub fn overhead(&self, model: &ModelName) -> Buckets {
        let histogram = &self.instruments.overhead;
        buckets(&histogram.with_label_values(&[model.as_str()]))
    }
}

impl DeploymentMetrics {
    /// How many attempts have ended so far, by outcome.
    pub fn attempts(&self) -> Vec<(&'static str, u64)> {
        let mut attempts = Vec::new();
        self.attempts_by_outcome
            .each(|outcome, counter| attempts.push((*outcome, counter.get())));
        attempts
    }

    /// How many tokens were used so far, by all clients: input and output together.
    pub fn tokens_used(&self) -> u64 {
        self.tokens.lock().iter().map(|counter| counter.get()).sum()
    }

    /// The times to a first token so far.
    pub fn times_to_first_token(&self) -> Buckets {
        buckets(&self.time_to_first_token)
    }

    pub fn utilization(&self) -> Option<f64> {
        self.utilization.last()
    }

    pub fn remaining_tokens(&self) -> Option<f64> {
        self.remaining_tokens.last()
    }

    pub fn remaining_requests(&self) -> Option<f64> {
        self.remaining_requests.last()
    }
}

fn all(families: &[proto::MetricFamily]) -> impl Iterator<Item = &proto::Metric> {
    families.iter().flat_map(|family| family.get_metric())
}

fn label(metric: &proto::Metric, name: &str) -> String {
    let pair = metric.get_label().iter().find(|pair| pair.name() == name);
    pair.map(|pair| pair.value().to_owned()).unwrap_or_default()
}

fn count(metric: &proto::Metric) -> u64 {
    metric.get_counter().get_value() as u64
}

fn buckets(histogram: &Histogram) -> Buckets {
    let metric = histogram.metric();
    let told = metric.get_histogram();
    let mut buckets = Buckets::default();
    let mut below = 0;
    for bucket in told.get_bucket() {
        buckets.bounds.push(bucket.upper_bound());
        let up_to = bucket.cumulative_count();
        buckets.counts.push(up_to.saturating_sub(below));
        below = up_to;
    }
    let rest = told.get_sample_count().saturating_sub(below);
    buckets.counts.push(rest);
    buckets
}

impl Buckets {
    /// What came since `before`, another reading of the same.
    #[must_use]
    pub fn since(&self, before: Option<&Self>) -> Self {
        let was = |i: usize| before.and_then(|it| it.counts.get(i)).copied().unwrap_or(0);
        let counts = self.counts.iter().enumerate();
        Self {
            bounds: self.bounds.clone(),
            counts: counts.map(|(i, n)| n.saturating_sub(was(i))).collect(),
        }
    }

    /// Counts the other's observations in, whose bounds are the same.
    pub fn add(&mut self, other: &Self) {
        if self.counts.is_empty() {
            *self = other.clone();
            return;
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// Below which value this part of the observations lies, in seconds: between two bounds as if they were spread evenly.
    /// `None` where there are none.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let all: u64 = self.counts.iter().sum();
        let wanted = part * all as f64;
        let mut below = 0.0;
        for (i, count) in self.counts.iter().enumerate().filter(|(_, n)| **n > 0) {
            let count = *count as f64;
            if below + count >= wanted {
                let from = match i {
                    0 => 0.0,
                    _ => self.bounds[i - 1],
                };
                // Of what is above the last bound no more is known.
                let to = self.bounds.get(i).copied().unwrap_or(from);
                return Some(from + (to - from) * (wanted - below) / count);
            }
            below += count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(counts: &[u64]) -> Buckets {
        Buckets {
            bounds: vec![0.1, 0.2, 0.4],
            counts: counts.to_vec(),
        }
    }

    #[test]
    fn quantiles_lie_between_the_bounds() {
        let quantile = |counts: &[u64], part| buckets(counts).quantile(part);
        assert_eq!(quantile(&[0, 0, 0, 0], 0.5), None);
        assert_eq!(quantile(&[10, 0, 0, 0], 0.5), Some(0.05));
        let middle = quantile(&[50, 0, 50, 0], 0.75).unwrap();
        assert!((middle - 0.3).abs() < 1e-9, "{middle}");
        assert_eq!(quantile(&[0, 0, 0, 3], 0.5), Some(0.4));
        assert_eq!(quantile(&[1, 0, 0, 99], 0.95), Some(0.4));
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let (before, now) = (buckets(&[1, 2, 3, 0]), buckets(&[1, 4, 3, 1]));
        assert_eq!(now.since(Some(&before)).counts, [0, 2, 0, 1]);
        assert_eq!(now.since(None), now);
        let mut sum = Buckets::default();
        sum.add(&before);
        sum.add(&now);
        assert_eq!(sum.counts, [2, 6, 6, 1]);
    }

    #[test]
    fn statuses_are_told_apart_at_a_glance() {
        let statuses = [Some(200), Some(101), Some(404), Some(429), Some(503), None];
        let classes = statuses.map(|status| Class::from_status(status) as usize);
        assert_eq!(classes, [0, 0, 1, 2, 3, 4]);
    }
}
