//! What `/status` says: all that the dashboard shows, in one answer of JSON.

mod clients;
mod components;
mod deployments;
mod figures;

use std::{
    collections::BTreeMap,
    time::{Instant, SystemTime},
};

use serde::Serialize;

use self::{
    clients::ClientStatus,
    components::{IdentityStatus, IssuerStatus, ListenerStatus},
    deployments::{ModelStatus, Times},
    figures::round,
};
use super::{
    alarms::{self, Alarm},
    gateway::{Admin, Phase},
};
use crate::telemetry::{
    failovers::{DeploymentRef, Failover},
    metrics::Class,
    traffic_rates::{LogRates, Rate, TrafficReading},
};

/// What an asker wants beside the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    /// The rates of the last two minutes, second by second.
    history: bool,
    /// All clients, however far from their limits.
    all_clients: bool,
}

#[derive(Serialize)]
pub(super) struct Status<'a> {
    gateway: GatewayStatus<'a>,
    version: &'static str,
    phase: &'static str,
    /// Whether `/health` says 200, and why.
    healthy: bool,
    health: String,
    uptime_seconds: u64,
    /// What an operator has to mend, or should know of, in words; the worst first.
    alarms: Vec<Alarm>,
    /// Beyond those.
    alarms_left_off: usize,
    traffic: Traffic,
    models: Vec<ModelStatus<'a>>,
    failovers: Vec<FailoverStatus>,
    /// Those that have limits, the nearest to one of theirs first.
    clients: Vec<ClientStatus>,
    /// Beyond those; `?clients=all` tells them too.
    clients_left_off: usize,
    identities: Vec<IdentityStatus>,
    issuers: Vec<IssuerStatus>,
    listeners: Vec<ListenerStatus>,
    logs: Vec<LogRates>,
}

/// Which of several this is.
#[derive(Serialize)]
struct GatewayStatus<'a> {
    host: &'a str,
    listeners: Vec<String>,
}

/// All requests together.
#[derive(Serialize)]
struct Traffic {
    /// Over the last ten seconds; a request is counted when it has ended.
    requests_per_second: f64,
    tokens_per_second: f64,
    inflight: u64,
    /// By what clients got.
    answers_last_minute: BTreeMap<&'static str, u64>,
    /// Of streams, in the last minute, over all models; `None` where there were none.
    time_to_first_token: Option<Times>,
    /// The gateway's own share of requests' time, in the last minute; `None` where there were none.
    overhead: Option<Times>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<History>,
}

/// A second each, the oldest first.
#[derive(Serialize)]
struct History {
    requests_per_second: Vec<f64>,
    tokens_per_second: Vec<f64>,
}

/// Requests that left a deployment for the same reason, in the same direction.
#[derive(Serialize)]
struct FailoverStatus {
    model: String,
    from: PlaceStatus,
    /// `None`: nothing was left to ask.
    to: Option<PlaceStatus>,
    cause: &'static str,
    times: u64,
    /// Since the last of them.
    seconds_ago: f64,
}

#[derive(Serialize)]
struct PlaceStatus {
    instance: String,
    deployment: String,
}

impl Wants {
    pub(super) fn from_query(query: Option<&str>) -> Self {
        let words = query.unwrap_or_default().split('&');
        let has = |wanted: &str| words.clone().any(|word| word == wanted);
        Self {
            history: has("history"),
            all_clients: has("clients=all"),
        }
    }
}

impl<'a> Status<'a> {
    pub(super) fn new(admin: &'a Admin, wants: Wants, now: Instant, today: SystemTime) -> Self {
        let reading = admin.rates.read(now);
        let (identities, issuers) = ((admin.identities)(), (admin.issuers)());
        let (listeners, phase) = ((admin.listeners)(), (admin.phase)());
        let (clients, clients_left_off) =
            clients::statuses((admin.limits)(), wants.all_clients, today);
        let models: Vec<_> = admin
            .pools
            .iter()
            .zip(&reading.models)
            .map(|(pool, readings)| ModelStatus::new(pool, readings, &admin.metrics, now))
            .collect();
        let (alarms, alarms_left_off) = alarms::raised(&alarms::Scene {
            pools: &admin.pools,
            readings: &reading.models,
            identities: &identities,
            issuers: &issuers,
            listeners: &listeners,
            logs: &reading.logs,
            store_failures: reading.store_failures,
            stores_set_aside: admin.metrics.counter_stores_set_aside().get(),
            is_draining: phase == Phase::Draining,
            now,
            today,
        });
        let health = (admin.health)();
        Self {
            gateway: GatewayStatus {
                host: &admin.host,
                listeners: listeners.iter().map(|it| it.address.to_string()).collect(),
            },
            healthy: phase == Phase::Serving && health.is_healthy(),
            health: health.to_string(),
            version: env!("CARGO_PKG_VERSION"),
            phase: phase.as_str(),
            uptime_seconds: now.saturating_duration_since(admin.started).as_secs(),
            alarms,
            alarms_left_off,
            traffic: Traffic::new(admin, &reading, wants),
            models,
            failovers: each(admin.failovers.latest(), today, FailoverStatus::new),
            clients,
            clients_left_off,
            identities: each(identities, today, IdentityStatus::new),
            issuers: each(issuers, today, IssuerStatus::new),
            listeners: each(listeners, today, ListenerStatus::new),
            logs: reading.logs,
        }
    }
}

/// What is said of each of them.
fn each<S, T>(states: Vec<S>, today: SystemTime, new: fn(S, SystemTime) -> T) -> Vec<T> {
    let states = states.into_iter();
    states.map(|state| new(state, today)).collect()
}

impl Traffic {
    fn new(admin: &Admin, reading: &TrafficReading, wants: Wants) -> Self {
        let answers = reading.answered().map(|(class, n)| (word(class), n));
        let history = |of: fn(&Rate) -> f64| reading.history.iter().map(of).map(round).collect();
        Self {
            requests_per_second: round(reading.rate.requests),
            tokens_per_second: round(reading.rate.tokens),
            inflight: admin.metrics.inflight(),
            answers_last_minute: answers.collect(),
            time_to_first_token: Times::from_buckets(&reading.first_token()),
            overhead: Times::from_buckets(&reading.overhead),
            history: wants.history.then(|| History {
                requests_per_second: history(|it| it.requests),
                tokens_per_second: history(|it| it.tokens),
            }),
        }
    }
}

fn word(class: Class) -> &'static str {
    match class {
        Class::Success => "success",
        Class::CallerError => "caller_error",
        Class::TooMany => "too_many_requests",
        Class::Failure => "failure",
        Class::Left => "client_left",
    }
}

impl FailoverStatus {
    fn new(failover: Failover, today: SystemTime) -> Self {
        let ago = today.duration_since(failover.at).unwrap_or_default();
        Self {
            model: failover.model.to_string(),
            from: PlaceStatus::new(&failover.from),
            to: failover.to.as_ref().map(PlaceStatus::new),
            cause: failover.cause,
            times: failover.times,
            seconds_ago: round(ago.as_secs_f64()),
        }
    }
}

impl PlaceStatus {
    fn new(place: &DeploymentRef) -> Self {
        Self {
            instance: place.instance.to_string(),
            deployment: place.deployment.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_stands_in_the_query() {
        let wants = |query| {
            let wants = Wants::from_query(query);
            (wants.history, wants.all_clients)
        };
        assert_eq!(wants(None), (false, false));
        assert_eq!(wants(Some("clients=all&histories")), (false, true));
        assert_eq!(wants(Some("clients=alle&history")), (true, false));
        assert_eq!(wants(Some("clients=all&history")), (true, true));
    }
}
