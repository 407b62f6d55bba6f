//! One deployment's instruments, resolved when its pool is built.

use std::{sync::OnceLock, time::Duration};

use parking_lot::Mutex;
use prometheus::{Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge};

use super::{handles::Handles, in_flight::InFlight, instruments::Instruments};
use crate::domain::usage::Guess;

/// Model, instance, deployment.
type Labels = [String; 3];

/// The instruments of one deployment in one model's pool.
pub struct DeploymentMetrics {
    labels: Labels,
    attempts: IntCounterVec,
    pub(super) attempts_by_outcome: Handles<&'static str, IntCounter>,
    failovers: IntCounterVec,
    failovers_by_cause: Handles<&'static str, IntCounter>,
    /// Those of all clients: input and output.
    pub(super) tokens: Mutex<Vec<IntCounter>>,
    pub(super) maybe_billed: IntCounter,
    spillovers: IntCounter,
    guesses: [IntCounter; Guess::ALL.len()],
    pub(super) duration: Histogram,
    pub(super) time_to_first_token: Histogram,
    pub(super) overhead: Histogram,
    available: IntGauge,
    pause: Gauge,
    set_aside: [(&'static str, IntGauge); 2],
    inflight: IntGauge,
    pub(super) utilization: Reported,
    pub(super) remaining_tokens: Reported,
    pub(super) remaining_requests: Reported,
}

impl DeploymentMetrics {
    pub(super) fn new(all: &Instruments, labels: [&str; 3]) -> Self {
        let this = Self {
            labels: labels.map(str::to_owned),
            attempts: all.attempts.clone(),
            attempts_by_outcome: Handles::default(),
            failovers: all.failovers.clone(),
            failovers_by_cause: Handles::default(),
            tokens: Mutex::default(),
            maybe_billed: all.maybe_billed.with_label_values(&labels),
            spillovers: all.spillovers.with_label_values(&labels),
            guesses: Guess::ALL.map(|guess| {
                let [model, instance, deployment] = labels;
                let labels = [model, instance, deployment, guess.label()];
                all.guesses.with_label_values(&labels)
            }),
            duration: all.duration.with_label_values(&labels),
            time_to_first_token: all.time_to_first_token.with_label_values(&labels),
            overhead: all.overhead.with_label_values(&labels[..1]),
            available: all.available.with_label_values(&labels),
            pause: all.pause.with_label_values(&labels),
            set_aside: ["credential", "configuration"].map(|cause| {
                let [model, instance, deployment] = labels;
                let labels = [model, instance, deployment, cause];
                (cause, all.set_aside.with_label_values(&labels))
            }),
            inflight: all.inflight.with_label_values(&labels),
            utilization: Reported::new(&all.utilization),
            remaining_tokens: Reported::new(&all.remaining_tokens),
            remaining_requests: Reported::new(&all.remaining_requests),
        };
        this.available.set(1);
        this
    }

    /// Counts an attempt by its outcome's label. [`super::Metrics::account`] does it for those of a request.
    pub fn count_attempt(&self, outcome: &'static str) {
        let make = || self.attempts.with_label_values(&self.with(outcome));
        self.attempts_by_outcome.find_or_make(outcome, make).inc();
    }

    pub(super) fn count_failover(&self, cause: &'static str) {
        let make = || self.failovers.with_label_values(&self.with(cause));
        self.failovers_by_cause.find_or_make(cause, make).inc();
    }

    pub(super) fn count_guess(&self, guess: Guess) {
        self.guesses[guess as usize].inc();
    }

    /// Counts an answer that the deployment's own spillover deployment gave.
    pub fn count_spillover(&self) {
        self.spillovers.inc();
    }

    fn with<'a>(&'a self, last: &'a str) -> [&'a str; 4] {
        let [model, instance, deployment] = &self.labels;
        [model, instance, deployment, last]
    }

    /// Counts one more attempt under way here, until the guard is dropped.
    pub fn enter(&self) -> InFlight {
        InFlight::enter(&self.inflight)
    }

    /// Says whether it may be tried now, and how long until it may (zero where it may).
    pub fn say_state(&self, available: bool, pause: Duration) {
        self.available.set(available.into());
        self.pause.set(pause.as_secs_f64());
    }

    /// Says for which cause it is set aside, if an operator has to mend something.
    pub fn say_set_aside(&self, cause: Option<&str>) {
        for (known, gauge) in &self.set_aside {
            gauge.set((cause == Some(known)).into());
        }
    }

    /// How full the deployment said it is: 1.0 is all of a PTU's capacity.
    pub fn say_utilization(&self, ratio: f64) {
        self.utilization.set(&self.labels, ratio);
    }

    /// The tokens the deployment said it has left in its window.
    pub fn say_remaining_tokens(&self, tokens: u64) {
        self.remaining_tokens.set(&self.labels, tokens as f64);
    }

    /// The requests the deployment said it has left in its window.
    pub fn say_remaining_requests(&self, requests: u64) {
        self.remaining_requests.set(&self.labels, requests as f64);
    }
}

/// A gauge that isn't there until the deployment has reported a value: zero would be a lie.
pub(super) struct Reported {
    family: GaugeVec,
    gauge: OnceLock<Gauge>,
}

impl Reported {
    fn new(family: &GaugeVec) -> Self {
        Self {
            family: family.clone(),
            gauge: OnceLock::new(),
        }
    }

    fn set(&self, labels: &Labels, value: f64) {
        let gauge = || self.family.with_label_values(labels);
        self.gauge.get_or_init(gauge).set(value);
    }

    pub(super) fn last(&self) -> Option<f64> {
        self.gauge.get().map(Gauge::get)
    }
}
