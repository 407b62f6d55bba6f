//! The names, labels, buckets and help texts of all instruments: the contract with dashboards and alerts.

use std::cell::RefCell;

use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector, process_collector::ProcessCollector,
};

const DEPLOYMENT: &[&str] = &["model", "instance", "deployment"];

/// Model calls take from tens of milliseconds to ten minutes.
const CALL_SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0,
];

/// People wait for these: finer where it matters, up to the longest that a deployment may stay silent.
const FIRST_TOKEN_SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0,
    30.0, 60.0, 120.0,
];

/// Our own share should stay below a millisecond; what is above shows a gateway short of processor time.
const OVERHEAD_SECONDS: &[f64] = &[
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.5, 1.0,
];

/// Defines the instruments: each one's help text, its type, how it is made, its name, and its labels and buckets.
macro_rules! instruments {
    ($($(#[doc = $help:literal])+ $field:ident: $type:ty = $make:ident($name:literal $(, $more:expr)*);)*) => {
        pub(super) struct Instruments {
            $($(#[doc = $help])+ pub(super) $field: $type,)*
        }

        impl Instruments {
            /// Makes all of them and registers them, with those of the process itself.
            pub(super) fn new(registry: &Registry) -> (Self, Vec<Family>) {
                let made = RefCell::default();
                let workshop = Workshop { registry, made };
                let process = ProcessCollector::for_self();
                registry.register(Box::new(process)).expect(FIXED);
                let all = Self {
                    $($field: workshop.$make($name, concat!($($help),+).trim(), $($more),*),)*
                };
                (all, workshop.made.into_inner())
            }
        }
    };
}

instruments! {
    /// Finished requests by status code sent to the client (499: the client disconnected before it got a status).
    requests: IntCounterVec = counters("forebay_requests_total", &["client", "model", "operation", "code"]);
    /// Requests in flight.
    requests_inflight: IntGauge = gauge("forebay_requests_inflight");
    /// 1 while /health returns 200 (healthy), 0 while it returns 503 (unhealthy).
    healthy: IntGauge = gauge("forebay_healthy");
    /// Requests that the gateway itself answered with an error, by reason.
    refusals: IntCounterVec = counters("forebay_refusals_total", &["client", "reason"]);
    /// Client tokens that were rejected, by reason.
    rejections: IntCounterVec = counters("forebay_client_token_rejections_total", &["reason"]);
    /// Signature checks of client tokens; a cached token is not checked again.
    token_checks: IntCounter = counter("forebay_client_token_checks_total");
    /// Unix time of the last successful fetch of the issuer's signing keys (JWKS); 0 if there was none.
    issuer_keys: GaugeVec = gauges("forebay_issuer_keys_timestamp_seconds", &["issuer"]);
    /// Fetches of the issuer's signing keys (JWKS), successful or not.
    issuer_fetches: IntCounterVec = counters("forebay_issuer_fetches_total", &["issuer"]);
    /// Failed fetches of the issuer's signing keys (JWKS).
    issuer_failures: IntCounterVec = counters("forebay_issuer_failures_total", &["issuer"]);
    /// Attempts at deployments by outcome, counted when their request has finished.
    attempts: IntCounterVec = counters("forebay_attempts_total", &["model", "instance", "deployment", "outcome"]);
    /// Failovers from this deployment to another one, by cause.
    failovers: IntCounterVec = counters("forebay_failovers_total", &["model", "instance", "deployment", "cause"]);
    /// Failovers from a deployment that may bill for the failed attempt: the request may be paid for twice.
    maybe_billed: IntCounterVec = counters("forebay_failovers_maybe_billed_total", DEPLOYMENT);
    /// Answers that Azure served from the deployment's own spillover deployment.
    spillovers: IntCounterVec = counters("forebay_spillovers_total", DEPLOYMENT);
    /// Requests that failed without a further failover because the retry budget (failover.retry_budget) was exhausted.
    out_of_budget: IntCounterVec = counters("forebay_retry_budget_exhausted_total", &["model"]);
    /// A client's limit; model * means all models together.
    limit: GaugeVec = gauges("forebay_client_limit", &["client", "model", "limit"]);
    /// What is left of a client's limit now, without what requests in flight have reserved.
    limit_remaining: GaugeVec = gauges("forebay_client_limit_remaining", &["client", "model", "limit"]);
    /// Failed writes of clients' usage to `counters.file`; the write is retried.
    counter_store_failures: IntCounter = counter("forebay_limit_store_failures_total");
    /// Times that `counters.file` could not be read at startup and was renamed; clients' usage then starts at zero.
    counter_stores_set_aside: IntCounter = counter("forebay_limit_stores_set_aside_total");
    /// Tokens used, by type: cached and audio_input are part of input, reasoning and audio_output part of output.
    tokens: IntCounterVec = counters("forebay_tokens_total", &["client", "model", "instance", "deployment", "type"]);
    /// Answers whose token usage is estimated, at least in part, by reason.
    guesses: IntCounterVec = counters("forebay_usage_estimated_total", &["model", "instance", "deployment", "reason"]);
    /// Cost of the tokens used, by the prices in the config; provisioned deployments have prices of their own.
    cost: CounterVec = amounts("forebay_cost_total", &["client", "model", "currency"]);
    /// Requests that used tokens of a model without a price in the config.
    unpriced: IntCounterVec = counters("forebay_requests_unpriced_total", &["model"]);
    /// Time from a request's arrival to the last byte of its answer, by the deployment that answered; without realtime
    /// sessions.
    duration: HistogramVec = histograms("forebay_request_duration_seconds", DEPLOYMENT, CALL_SECONDS);
    /// Time from a request's arrival to the first event with model output in its stream.
    time_to_first_token: HistogramVec = histograms("forebay_time_to_first_token_seconds", DEPLOYMENT, FIRST_TOKEN_SECONDS);
    /// Latency added by the gateway itself, without the time it waits for clients and deployments.
    overhead: HistogramVec = histograms("forebay_overhead_seconds", &["model"], OVERHEAD_SECONDS);
    /// Client headers that were not forwarded although the deployment may need them: over Azure's limit of ten (over_limit), or
    /// not in server.forward_headers (unlisted).
    headers_dropped: IntCounterVec = counters("forebay_headers_dropped_total", &["reason"]);
    /// Requests that could not fail over because failover.body_memory was full and their body was streamed through.
    unreplayable: IntCounterVec = counters("forebay_requests_unreplayable_total", &["model"]);
    /// Memory now used to buffer request bodies for failover.
    body_memory: IntGauge = gauge("forebay_body_memory_bytes");
    /// Memory available to buffer request bodies for failover (failover.body_memory).
    body_memory_limit: IntGauge = gauge("forebay_body_memory_limit_bytes");
    /// Always 1; the labels give the deployment's capacity type and priority.
    deployment_info: IntGaugeVec = int_gauges("forebay_deployment_info", &["model", "instance", "deployment", "capacity", "priority"]);
    /// 1 if the deployment can get requests now; 0 in a cooldown, with an open circuit, or set aside.
    available: IntGaugeVec = int_gauges("forebay_deployment_available", DEPLOYMENT);
    /// Seconds until the deployment is retried: the rest of its cooldown or of its circuit's open time.
    pause: GaugeVec = gauges("forebay_deployment_pause_seconds", DEPLOYMENT);
    /// 1 if the deployment gets no requests until an operator fixes its credential or its configuration (cause).
    set_aside: IntGaugeVec = int_gauges("forebay_deployment_set_aside", &["model", "instance", "deployment", "cause"]);
    /// Attempts in flight at the deployment.
    inflight: IntGaugeVec = int_gauges("forebay_deployment_inflight", DEPLOYMENT);
    /// Utilization that a provisioned deployment last reported; 1 means full.
    utilization: GaugeVec = gauges("forebay_deployment_utilization_ratio", DEPLOYMENT);
    /// Tokens left in the deployment's rate limit window, as it last reported.
    remaining_tokens: GaugeVec = gauges("forebay_deployment_remaining_tokens", DEPLOYMENT);
    /// Requests left in the deployment's rate limit window, as it last reported.
    remaining_requests: GaugeVec = gauges("forebay_deployment_remaining_requests", DEPLOYMENT);
    /// Unix time at which the identity's token expires; 0 if it has none.
    identity_expiry: GaugeVec = gauges("forebay_identity_token_expiry_timestamp_seconds", &["identity"]);
    /// Failed token requests of the identity.
    identity_failures: IntCounterVec = counters("forebay_identity_failures_total", &["identity"]);
    /// Open connections of the listener.
    connections: IntGaugeVec = int_gauges("forebay_connections", &["listener"]);
    /// Connections closed at once because the listener had reached max_connections.
    connections_refused: IntCounterVec = counters("forebay_connections_refused_total", &["listener"]);
    /// TLS handshakes with clients that failed or timed out.
    handshake_failures: IntCounterVec = counters("forebay_tls_handshake_failures_total", &["listener", "reason"]);
    /// Unix time at which the listener's certificate expires.
    certificate_expiry: GaugeVec = gauges("forebay_certificate_expiry_timestamp_seconds", &["listener"]);
    /// Reloads of a listener's changed certificate files: success, or failure if the new files can't be used.
    certificate_reloads: IntCounterVec = counters("forebay_certificate_reloads_total", &["listener", "result"]);
    /// Always 1; the label is the running version.
    build_info: IntGaugeVec = int_gauges("forebay_build_info", &["version"]);
    /// Always 1; the label is the hash of the running config.
    config_hash: IntGaugeVec = int_gauges("forebay_config_hash", &["hash"]);
    /// Log lines lost because the log could not be written fast enough, or at all.
    log_lines_dropped: IntCounterVec = counters("forebay_log_lines_dropped_total", &["log"]);
    /// 1 if the last write of the log failed, as on a full disk; its lines are lost.
    log_failing: IntGaugeVec = int_gauges("forebay_log_failing", &["log"]);
    /// Spans and metrics that the OTLP collector did not get: the queue was full, or it rejected them.
    otlp_dropped: IntCounterVec = counters("forebay_otlp_dropped_total", &["signal"]);
    /// Failed requests to the OTLP collector; most are retried.
    otlp_failures: IntCounterVec = counters("forebay_otlp_failures_total", &["signal"]);
    /// Clients without a label value of their own, counted together as `other` (metrics.clients).
    folded_clients: IntGauge = gauge("forebay_metrics_folded_clients");
    /// Series that have a client's name as a label.
    client_series: IntGauge = gauge("forebay_metrics_client_series");
    /// Increments counted as `other` although their client has a label value of its own, because metrics.client_series was
    /// reached.
    folded: IntCounter = counter("forebay_metrics_folded_total");
}

/// What a family of series is called, and the names of its labels.
pub type Family = (String, Vec<String>);

/// Makes instruments into a registry. Names and labels are fixed above, so a mistake in one shows in every test.
struct Workshop<'a> {
    registry: &'a Registry,
    made: RefCell<Vec<Family>>,
}

const FIXED: &str = "the instruments' names and labels are valid, and no two are the same";

impl Workshop<'_> {
    fn keep<C: Collector + Clone + 'static>(&self, instrument: C) -> C {
        let told = instrument
            .desc()
            .into_iter()
            .map(|it| (it.fq_name.clone(), it.variable_labels.clone()));
        self.made.borrow_mut().extend(told);
        self.registry
            .register(Box::new(instrument.clone()))
            .expect(FIXED);
        instrument
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.keep(IntCounter::new(name, help).expect(FIXED))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels).expect(FIXED))
    }

    fn amounts(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.keep(CounterVec::new(Opts::new(name, help), labels).expect(FIXED))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.keep(IntGauge::new(name, help).expect(FIXED))
    }

    fn int_gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels).expect(FIXED))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.keep(GaugeVec::new(Opts::new(name, help), labels).expect(FIXED))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.keep(HistogramVec::new(opts, labels).expect(FIXED))
    }
}
