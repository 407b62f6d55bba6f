//! Each model's pool in `/status`: state, rates and reported capacity of its deployments.

use std::{collections::BTreeMap, time::Instant};

use serde::Serialize;

use super::figures::round;
use crate::{
    domain::{
        breaker::{BreakerState, Cause},
        pool::{Member, Pool},
    },
    telemetry::{
        metrics::{Buckets, Metrics},
        record::capacity_word,
        traffic_rates::DeploymentReading,
    },
};

#[derive(Serialize)]
pub(super) struct ModelStatus<'a> {
    model: &'a str,
    /// Requests that its deployments answered, over the last ten seconds.
    requests_per_second: f64,
    tokens_per_second: f64,
    time_to_first_token: Option<Times>,
    deployments: Vec<DeploymentStatus<'a>>,
}

#[derive(Serialize)]
struct DeploymentStatus<'a> {
    instance: &'a str,
    deployment: &'a str,
    r#type: &'static str,
    priority: u32,
    weight: u32,
    /// `closed` (it is asked as usual), `ramping`, `open` (it is left alone) or `trial`, as a breaker's words are.
    state: &'static str,
    available: bool,
    /// Why it is left alone.
    cause: Option<&'static str>,
    retry_in_seconds: Option<f64>,
    /// Kinds of work that it refuses while it does others.
    set_aside_for: Vec<SetAsideFor>,
    /// The part of its weight that it gets so soon after its return.
    ramp: Option<f64>,
    /// Of the answers of its pool, over the last ten seconds; `None` where there were none.
    share: Option<f64>,
    /// What its weight gives it of what its priority gets, if all of it can be asked.
    share_by_weight: f64,
    /// As it last said.
    utilization: Option<f64>,
    remaining_tokens: Option<f64>,
    remaining_requests: Option<f64>,
    inflight: u32,
    requests_per_second: f64,
    tokens_per_second: f64,
    time_to_first_token: Option<Times>,
    attempts_last_minute: BTreeMap<&'static str, u64>,
    last: Option<Last>,
}

/// One kind of work that it is not asked for.
#[derive(Serialize)]
struct SetAsideFor {
    operation: &'static str,
    cause: &'static str,
    retry_in_seconds: f64,
}

/// How the last attempt ended.
#[derive(Serialize)]
struct Last {
    outcome: &'static str,
    seconds_ago: f64,
}

/// In the last minute, between the bounds of a histogram.
#[derive(Serialize)]
pub(super) struct Times {
    p50_seconds: f64,
    p95_seconds: f64,
}

impl Times {
    pub(super) fn from_buckets(buckets: &Buckets) -> Option<Self> {
        // Our own share is counted in microseconds.
        let fine = |seconds: f64| (seconds * 1e6).round() / 1e6;
        Some(Self {
            p50_seconds: fine(buckets.quantile(0.5)?),
            p95_seconds: fine(buckets.quantile(0.95)?),
        })
    }
}

impl<'a> ModelStatus<'a> {
    pub(super) fn new(
        pool: &'a Pool,
        readings: &[DeploymentReading],
        metrics: &Metrics,
        now: Instant,
    ) -> Self {
        let sum = |of: fn(&DeploymentReading) -> f64| readings.iter().map(of).sum::<f64>();
        let mut first_token = Buckets::default();
        readings
            .iter()
            .for_each(|it| first_token.add(&it.first_token));
        let answered = sum(|it| it.rate.requests);
        let weights = weights(pool);
        let deployments = pool
            .members()
            .iter()
            .zip(readings)
            .map(|(member, reading)| {
                let mut status = DeploymentStatus::new(pool, member, reading, metrics, now);
                status.share = (answered > 0.0).then(|| round(reading.rate.requests / answered));
                let weight = f64::from(status.weight);
                status.share_by_weight = round(weight / weights[&status.priority]);
                status
            });
        Self {
            model: pool.model().as_str(),
            requests_per_second: round(answered),
            tokens_per_second: round(sum(|it| it.rate.tokens)),
            time_to_first_token: Times::from_buckets(&first_token),
            deployments: deployments.collect(),
        }
    }
}

/// The sum of weights of each priority.
fn weights(pool: &Pool) -> BTreeMap<u32, f64> {
    let mut weights = BTreeMap::new();
    for member in pool.members() {
        let deployment = member.deployment();
        *weights.entry(deployment.priority.get()).or_default() +=
            f64::from(deployment.weight.get());
    }
    weights
}

impl<'a> DeploymentStatus<'a> {
    fn new(
        pool: &Pool,
        member: &'a Member,
        reading: &DeploymentReading,
        metrics: &Metrics,
        now: Instant,
    ) -> Self {
        let deployment = member.deployment();
        let (instance, name) = (&deployment.instance.name, &deployment.name);
        let told = metrics.deployment(pool.model(), instance, name);
        let state = member.state(now);
        Self {
            instance: instance.as_str(),
            deployment: name.as_str(),
            r#type: capacity_word(deployment.capacity),
            priority: deployment.priority.get(),
            weight: deployment.weight.get(),
            state: match state {
                BreakerState::Closed => "closed",
                BreakerState::Ramping { .. } => "ramping",
                BreakerState::Open { .. } => "open",
                BreakerState::Trial { .. } => "trial",
            },
            available: member.is_ready(now),
            cause: state.cause().map(Cause::as_str),
            retry_in_seconds: state.pause(now).map(|pause| round(pause.as_secs_f64())),
            set_aside_for: set_aside_for(member, now),
            ramp: match state {
                BreakerState::Ramping { share } => Some(round(share)),
                _ => None,
            },
            share: None,
            share_by_weight: 1.0,
            utilization: told.utilization(),
            remaining_tokens: told.remaining_tokens(),
            remaining_requests: told.remaining_requests(),
            inflight: member.inflight(),
            requests_per_second: round(reading.rate.requests),
            tokens_per_second: round(reading.rate.tokens),
            time_to_first_token: Times::from_buckets(&reading.first_token),
            attempts_last_minute: reading.attempts.iter().copied().collect(),
            last: member.last().map(|(outcome, at)| Last {
                outcome: outcome.label(),
                seconds_ago: round(now.saturating_duration_since(at).as_secs_f64()),
            }),
        }
    }
}

fn set_aside_for(member: &Member, now: Instant) -> Vec<SetAsideFor> {
    let bars = member.bars().into_iter();
    bars.map(|(operation, cause, until)| SetAsideFor {
        operation: operation.path(),
        cause: cause.as_str(),
        retry_in_seconds: round(until.saturating_duration_since(now).as_secs_f64()),
    })
    .collect()
}
