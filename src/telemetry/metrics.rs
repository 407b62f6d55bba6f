//! Every instrument of the gateway, in one registry, rendered for Prometheus.
//!
//! Label values are configured names and closed sets only, never what a client sent. Handles are resolved
//! once and kept: per request there is no lock that all requests share, and no label is hashed for an attempt.
//! A finished request is counted whole, from its [`Record`], by [`Metrics::account`] and nowhere else.

mod clients;
mod deployment;
mod handles;
mod in_flight;
mod instruments;
mod limits;
mod listener;
mod snapshot;

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use prometheus::{
    Counter, Encoder, Gauge, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder,
    core::Collector, proto::MetricFamily,
};

use super::record::{AttemptRecord, Record, capacity_word};
use crate::domain::{
    deployment::Deployment,
    name::{ClientName, DeploymentName, IdentityName, InstanceName, IssuerName, ModelName},
    price::Currency,
};

pub use clients::Bounds;
use clients::{ByClient, ToldApart};
pub use deployment::DeploymentMetrics;
use handles::Handles;
pub use in_flight::InFlight;
pub use instruments::Family;
use instruments::Instruments;
pub use listener::ListenerMetrics;
pub use snapshot::{Buckets, Class, LogReading};

/// What a request's counter goes by, beside its client.
type RequestKey = (Option<ModelName>, &'static str, Option<u16>);
type DeploymentKey = (ModelName, InstanceName, DeploymentName);

/// The instruments of one log.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    /// Lines that were lost.
    pub dropped: IntCounter,
    /// 1 while it can't be written.
    pub failing: IntGauge,
}

/// The gateway's metrics: made once, shared by all.
pub struct Metrics {
    registry: Registry,
    instruments: Instruments,
    families: Vec<Family>,
    deployments: Handles<DeploymentKey, Arc<DeploymentMetrics>>,
    requests: ByClient<RequestKey, IntCounter>,
    refusals: ByClient<&'static str, IntCounter>,
    tokens: ByClient<DeploymentKey, [IntCounter; 6]>,
    costs: ByClient<(ModelName, Currency), Counter>,
    limits: ByClient<(Option<ModelName>, &'static str), [Gauge; 2]>,
}

impl Metrics {
    /// Every client has a label of its own.
    pub fn new() -> Self {
        let bounds = Bounds {
            clients: usize::MAX,
            series: usize::MAX,
        };
        Self::bounded([], bounds)
    }

    /// `clients`: all there are, in the order in which they get labels of their own while there are any left.
    pub fn bounded<'a>(clients: impl IntoIterator<Item = &'a ClientName>, bounds: Bounds) -> Self {
        let registry = Registry::new();
        let (instruments, families) = Instruments::new(&registry);
        let version = env!("CARGO_PKG_VERSION");
        instruments.build_info.with_label_values(&[version]).set(1);
        let (series, overflows) = (&instruments.client_series, &instruments.folded);
        let clients = ToldApart::new(clients, bounds, series.clone(), overflows.clone());
        instruments.folded_clients.set(clients.folded() as i64);
        let clients = Arc::new(clients);
        let metrics = Self {
            registry,
            instruments,
            families,
            deployments: Handles::default(),
            requests: ByClient::new(&clients, 1),
            refusals: ByClient::new(&clients, 1),
            tokens: ByClient::new(&clients, 6),
            costs: ByClient::new(&clients, 1),
            limits: ByClient::new(&clients, 2),
        };
        // There from the start, so that a first count is seen as a rise.
        metrics.headers_dropped(0, 0);
        metrics
    }

    /// What all of the gateway's own are called, with the names of their labels: also those that have counted nothing yet.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// Says what a deployment of a model's pool is. To be said once, when the pool is built.
    pub fn describe(&self, model: &ModelName, deployment: &Deployment) {
        let labels = [
            model.as_str(),
            deployment.instance.name.as_str(),
            deployment.name.as_str(),
            capacity_word(deployment.capacity),
            &deployment.priority.get().to_string(),
        ];
        let info = &self.instruments.deployment_info;
        info.with_label_values(&labels).set(1);
    }

    /// The handles of one deployment in one model's pool. To be asked for once, when the pool is built.
    pub fn deployment(
        &self,
        model: &ModelName,
        instance: &InstanceName,
        deployment: &DeploymentName,
    ) -> Arc<DeploymentMetrics> {
        let key = (model.clone(), instance.clone(), deployment.clone());
        self.deployments.find_or_make(key, || {
            // There from the start, so that their first count is seen as a rise.
            for counters in [
                &self.instruments.unreplayable,
                &self.instruments.out_of_budget,
            ] {
                counters.with_label_values(&[model.as_str()]);
            }
            let labels = [model.as_str(), instance.as_str(), deployment.as_str()];
            Arc::new(DeploymentMetrics::new(&self.instruments, labels))
        })
    }

    /// The handles of one listener, by its configured address.
    pub fn listener(&self, address: SocketAddr, tls: bool) -> Arc<ListenerMetrics> {
        let address = address.to_string();
        Arc::new(ListenerMetrics::new(&self.instruments, &address, tls))
    }

    /// Counts one more request that is being served, until the guard is dropped.
    pub fn enter(&self) -> InFlight {
        InFlight::enter(&self.instruments.requests_inflight)
    }

    /// Says what health tells load balancers.
    pub fn say_healthy(&self, is_healthy: bool) {
        self.instruments.healthy.set(i64::from(is_healthy));
    }

    /// Counts what of a request's headers does not go on although its client may miss it.
    pub fn headers_dropped(&self, over_limit: usize, unlisted: usize) {
        for (reason, number) in [("over_limit", over_limit), ("unlisted", unlisted)] {
            let counter = self
                .instruments
                .headers_dropped
                .with_label_values(&[reason]);
            counter.inc_by(number as u64);
        }
    }

    /// Counts one finished request: itself, its attempts and failovers, its refusal, its times.
    pub fn account(&self, record: &Record) {
        self.count_request(record);
        let last = self.count_attempts(record);
        if let Some(reason) = record.refusal {
            let make = |client: &str| {
                let refusals = &self.instruments.refusals;
                refusals.with_label_values(&[client, reason])
            };
            let counter = self
                .refusals
                .find_or_make(record.client.as_ref(), reason, make);
            counter.inc();
        }
        if let Some(detail) = record.detail {
            let counter = &self.instruments.rejections;
            counter.with_label_values(&[detail]).inc();
        }
        for (is_so, counters) in [
            (record.out_of_budget, &self.instruments.out_of_budget),
            (record.unreplayable, &self.instruments.unreplayable),
        ] {
            if let (true, Some(model)) = (is_so, &record.model) {
                counters.with_label_values(&[model.as_str()]).inc();
            }
        }
        self.count_tokens(record);
        self.count_cost(record);
        if let (Some(deployment), None) = (last, record.refusal) {
            observe_times(&deployment, record);
        }
    }

    fn count_request(&self, record: &Record) {
        let operation = record.operation();
        let key = (record.model.clone(), operation, record.status);
        let counter = self
            .requests
            .find_or_make(record.client.as_ref(), key, |client| {
                let code = record.status.unwrap_or(CLIENT_LEFT).to_string();
                let labels = [client, record.model(), operation, &code];
                self.instruments.requests.with_label_values(&labels)
            });
        counter.inc();
    }

    /// Tokens are used where the answer came from: at the deployment that was tried last.
    fn count_tokens(&self, record: &Record) {
        let (Some(usage), Some(model), Some(last)) =
            (&record.usage, &record.model, record.attempts.last())
        else {
            return;
        };
        let at = (
            model.clone(),
            last.instance.clone(),
            last.deployment.clone(),
        );
        if let Some(guess) = record.guess {
            let deployment = self.deployment(&at.0, &at.1, &at.2);
            deployment.count_guess(guess);
        }
        let types = usage.by_type();
        let counters = self
            .tokens
            .find_or_make(record.client.as_ref(), at, |client| {
                let (instance, deployment) = (last.instance.as_str(), last.deployment.as_str());
                let counters = types.map(|(kind, _)| {
                    let labels = [client, model.as_str(), instance, deployment, kind];
                    self.instruments.tokens.with_label_values(&labels)
                });
                let whole = types
                    .iter()
                    .zip(&counters)
                    .filter(|((kind, _), _)| matches!(*kind, "input" | "output"));
                let deployment = self.deployment(model, &last.instance, &last.deployment);
                let whole = whole.map(|(_, counter)| counter.clone());
                deployment.tokens.lock().extend(whole);
                counters
            });
        for (counter, (_, number)) in counters.iter().zip(types) {
            counter.inc_by(number);
        }
    }

    fn count_cost(&self, record: &Record) {
        let (Some(cost), Some(model)) = (record.cost, &record.model) else {
            return;
        };
        let key = (model.clone(), cost.currency);
        let counter = self
            .costs
            .find_or_make(record.client.as_ref(), key, |client| {
                let labels = [client, model.as_str(), cost.currency.as_str()];
                self.instruments.cost.with_label_values(&labels)
            });
        counter.inc_by(cost.to_f64());
    }

    /// The counter of requests to a model that has no price.
    pub fn unpriced(&self, model: &ModelName) -> IntCounter {
        self.instruments
            .unpriced
            .with_label_values(&[model.as_str()])
    }

    /// Gives the deployment that was tried last.
    fn count_attempts(&self, record: &Record) -> Option<Arc<DeploymentMetrics>> {
        let model = record.model.as_ref()?;
        let last = record.attempts.last()?;
        let counted = |attempt: &AttemptRecord| {
            let deployment = self.deployment(model, &attempt.instance, &attempt.deployment);
            deployment.count_attempt(attempt.outcome);
            deployment
        };
        for pair in record.attempts.windows(2) {
            let deployment = counted(&pair[0]);
            // With a fresh token the same deployment may have been asked once more.
            if !pair[0].is_at(&pair[1]) {
                deployment.count_failover(pair[0].outcome);
            }
            if pair[0].may_be_billed {
                deployment.maybe_billed.inc();
            }
        }
        Some(counted(last))
    }

    /// Says how an identity is: the soonest end of its tokens (`None`: it has no token), and how many token
    /// requests failed since the start. To be said before each scrape, of identities that have tokens (an
    /// api-key has none to end). The counter never goes back.
    pub fn identity(&self, identity: &IdentityName, expires_on: Option<SystemTime>, failures: u64) {
        let labels = [identity.as_str()];
        let expiry = self.instruments.identity_expiry.with_label_values(&labels);
        expiry.set(unix_seconds(expires_on));
        raise(&self.instruments.identity_failures, &labels, failures);
    }

    /// Says how an issuer is: when its keys were last fetched (`None`: never), and how many fetches ended and failed since
    /// the start. To be said before each scrape.
    pub fn issuer(
        &self,
        issuer: &IssuerName,
        fetched_at: Option<SystemTime>,
        fetches: u64,
        failures: u64,
    ) {
        let labels = [issuer.as_str()];
        let keys = self.instruments.issuer_keys.with_label_values(&labels);
        keys.set(unix_seconds(fetched_at));
        raise(&self.instruments.issuer_fetches, &labels, fetches);
        raise(&self.instruments.issuer_failures, &labels, failures);
    }

    /// Says how many signatures of clients' tokens were checked since the start.
    pub fn token_checks(&self, checked: u64) {
        let counter = &self.instruments.token_checks;
        counter.inc_by(checked.saturating_sub(counter.get()));
    }

    /// Says which config is in force, by its hash.
    pub fn config(&self, hash: &str) {
        self.instruments.config_hash.reset();
        self.instruments
            .config_hash
            .with_label_values(&[hash])
            .set(1);
    }

    /// The handles of one log.
    pub fn log(&self, log: &str) -> LogMetrics {
        LogMetrics {
            dropped: self.instruments.log_lines_dropped.with_label_values(&[log]),
            failing: self.instruments.log_failing.with_label_values(&[log]),
        }
    }

    /// What request bodies hold now, in bytes.
    pub fn body_memory(&self) -> IntGauge {
        self.instruments.body_memory.clone()
    }

    /// The counters of one kind of what is sent by OTLP.
    pub fn signal(&self, signal: &str) -> SignalMetrics {
        SignalMetrics {
            dropped: self.instruments.otlp_dropped.with_label_values(&[signal]),
            failures: self.instruments.otlp_failures.with_label_values(&[signal]),
        }
    }

    /// Says how much memory there is for request bodies, in bytes.
    pub fn body_memory_limit(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.instruments.body_memory_limit.set(bytes);
    }

    /// Adds an instrument that lives elsewhere. Fails where one of its names is taken.
    pub fn register(&self, collector: Box<dyn Collector>) -> prometheus::Result<()> {
        self.registry.register(collector)
    }

    /// All that is counted now.
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// The page for `/metrics`, in Prometheus' text format ([`Metrics::CONTENT_TYPE`]).
    pub fn render(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(16 << 10);
        if let Err(error) = TextEncoder::new().encode(&self.gather(), &mut page) {
            tracing::warn!(event = "metric_failed", %error, "could not render a metric; /metrics is incomplete");
        }
        page
    }

    pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;
}

/// Whole seconds since 1970; 0 for a time that isn't there.
fn unix_seconds(time: Option<SystemTime>) -> f64 {
    let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map_or(0.0, |since| since.as_secs_f64().floor())
}

/// Sets a counter that is counted elsewhere; it never goes back.
fn raise(counters: &IntCounterVec, labels: &[&str], count: u64) {
    let counter = counters.with_label_values(labels);
    counter.inc_by(count.saturating_sub(counter.get()));
}

/// Times belong to the deployment whose answer was delivered; what was refused has none.
fn observe_times(deployment: &DeploymentMetrics, record: &Record) {
    // A session lasts as long as its client likes.
    if record.status != Some(SWITCHED) {
        let seconds = record.duration.as_secs_f64();
        deployment.duration.observe(seconds);
    }
    if let Some(first) = record.time_to_first_token {
        deployment.time_to_first_token.observe(first.as_secs_f64());
    }
    if let Some(overhead) = record.overhead {
        deployment.overhead.observe(overhead.as_secs_f64());
    }
}

/// The status of a request that became a session.
const SWITCHED: u16 = 101;
/// The code of a request whose client left before it got a status, as other proxies write it.
const CLIENT_LEFT: u16 = 499;

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// What became of one kind of telemetry that did not arrive.
#[derive(Clone, Debug)]
pub struct SignalMetrics {
    pub(super) dropped: IntCounter,
    pub(super) failures: IntCounter,
}

#[cfg(test)]
mod tests;
