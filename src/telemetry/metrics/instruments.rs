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

pub(super) struct Instruments {
    pub(super) requests: IntCounterVec,
    pub(super) requests_inflight: IntGauge,
    pub(super) healthy: IntGauge,
    pub(super) refusals: IntCounterVec,
    pub(super) rejections: IntCounterVec,
    pub(super) token_checks: IntCounter,
    pub(super) issuer_keys: GaugeVec,
    pub(super) issuer_fetches: IntCounterVec,
    pub(super) issuer_failures: IntCounterVec,
    pub(super) attempts: IntCounterVec,
    pub(super) failovers: IntCounterVec,
    pub(super) maybe_billed: IntCounterVec,
    pub(super) spillovers: IntCounterVec,
    pub(super) out_of_budget: IntCounterVec,
    pub(super) limit: GaugeVec,
    pub(super) limit_remaining: GaugeVec,
    pub(super) counter_store_failures: IntCounter,
    pub(super) counter_stores_set_aside: IntCounter,
    pub(super) tokens: IntCounterVec,
    pub(super) guesses: IntCounterVec,
    pub(super) cost: CounterVec,
    pub(super) unpriced: IntCounterVec,
    pub(super) duration: HistogramVec,
    pub(super) time_to_first_token: HistogramVec,
    pub(super) overhead: HistogramVec,
    pub(super) headers_dropped: IntCounterVec,
    pub(super) unreplayable: IntCounterVec,
    pub(super) body_memory: IntGauge,
    pub(super) body_memory_limit: IntGauge,
    pub(super) deployment_info: IntGaugeVec,
    pub(super) available: IntGaugeVec,
    pub(super) pause: GaugeVec,
    pub(super) set_aside: IntGaugeVec,
    pub(super) inflight: IntGaugeVec,
    pub(super) utilization: GaugeVec,
    pub(super) remaining_tokens: GaugeVec,
    pub(super) remaining_requests: GaugeVec,
    pub(super) identity_expiry: GaugeVec,
    pub(super) identity_failures: IntCounterVec,
    pub(super) connections: IntGaugeVec,
    pub(super) connections_refused: IntCounterVec,
    pub(super) handshake_failures: IntCounterVec,
    pub(super) certificate_expiry: GaugeVec,
    pub(super) certificate_reloads: IntCounterVec,
    pub(super) build_info: IntGaugeVec,
    pub(super) config_hash: IntGaugeVec,
    pub(super) log_lines_dropped: IntCounterVec,
    pub(super) log_failing: IntGaugeVec,
    pub(super) otlp_dropped: IntCounterVec,
    pub(super) otlp_failures: IntCounterVec,
    pub(super) folded_clients: IntGauge,
    pub(super) client_series: IntGauge,
    pub(super) folded: IntCounter,
}

impl Instruments {
    /// Makes all of them and registers them, with those of the process itself.
    pub(super) fn new(registry: &Registry) -> (Self, Vec<Family>) {
        let r = Workshop {
            registry,
            made: RefCell::default(),
        };
        let process = ProcessCollector::for_self();
        registry.register(Box::new(process)).expect(FIXED);
        let all = Self {
            requests: r.counters(
                "forebay_requests_total",
                "Finished requests by status code sent to the client (499: the client disconnected before it got a status).",
                &["client", "model", "operation", "code"],
            ),
            requests_inflight: r.gauge("forebay_requests_inflight", "Requests in flight."),
            healthy: r.gauge("forebay_healthy", "1 while /health returns 200 (healthy), 0 while it returns 503 (unhealthy)."),
            refusals: r.counters(
                "forebay_refusals_total",
                "Requests that the gateway itself answered with an error, by reason.",
                &["client", "reason"],
            ),
            rejections: r.counters(
                "forebay_client_token_rejections_total",
                "Client tokens that were rejected, by reason.",
                &["reason"],
            ),
            token_checks: r.counter(
                "forebay_client_token_checks_total",
                "Signature checks of client tokens; a cached token is not checked again.",
            ),
            issuer_keys: r.gauges(
                "forebay_issuer_keys_timestamp_seconds",
                "Unix time of the last successful fetch of the issuer's signing keys (JWKS); 0 if there was none.",
                &["issuer"],
            ),
            issuer_fetches: r.counters(
                "forebay_issuer_fetches_total",
                "Fetches of the issuer's signing keys (JWKS), successful or not.",
                &["issuer"],
            ),
            issuer_failures: r.counters(
                "forebay_issuer_failures_total",
                "Failed fetches of the issuer's signing keys (JWKS).",
                &["issuer"],
            ),
            attempts: r.counters(
                "forebay_attempts_total",
                "Attempts at deployments by outcome, counted when their request has finished.",
                &["model", "instance", "deployment", "outcome"],
            ),
            failovers: r.counters(
                "forebay_failovers_total",
                "Failovers from this deployment to another one, by cause.",
                &["model", "instance", "deployment", "cause"],
            ),
            maybe_billed: r.counters(
                "forebay_failovers_maybe_billed_total",
                "Failovers from a deployment that may bill for the failed attempt: the request may be paid for twice.",
                DEPLOYMENT,
            ),
            spillovers: r.counters(
                "forebay_spillovers_total",
                "Answers that Azure served from the deployment's own spillover deployment.",
                DEPLOYMENT,
            ),
            out_of_budget: r.counters(
                "forebay_retry_budget_exhausted_total",
                "Requests that failed without a further failover because the retry budget (failover.retry_budget) was exhausted.",
                &["model"],
            ),
            limit: r.gauges(
                "forebay_client_limit",
                "A client's limit; model * means all models together.",
                &["client", "model", "limit"],
            ),
            limit_remaining: r.gauges(
                "forebay_client_limit_remaining",
                "What is left of a client's limit now, without what requests in flight have reserved.",
                &["client", "model", "limit"],
            ),
            counter_store_failures: r.counter(
                "forebay_limit_store_failures_total",
                "Failed writes of clients' usage to `counters.file`; the write is retried.",
            ),
            counter_stores_set_aside: r.counter(
                "forebay_limit_stores_set_aside_total",
                "Times that `counters.file` could not be read at startup and was renamed; clients' usage then starts at zero.",
            ),
            tokens: r.counters(
                "forebay_tokens_total",
                "Tokens used, by type: cached and audio_input are part of input, reasoning and audio_output part of output.",
                &["client", "model", "instance", "deployment", "type"],
            ),
            guesses: r.counters(
                "forebay_usage_estimated_total",
                "Answers whose token usage is estimated, at least in part, by reason.",
                &["model", "instance", "deployment", "reason"],
            ),
            cost: r.amounts(
                "forebay_cost_total",
                "Cost of the tokens used, by the prices in the config; provisioned deployments have prices of their own.",
                &["client", "model", "currency"],
            ),
            unpriced: r.counters(
                "forebay_requests_unpriced_total",
                "Requests that used tokens of a model without a price in the config.",
                &["model"],
            ),
            duration: r.histograms(
                "forebay_request_duration_seconds",
                "Time from a request's arrival to the last byte of its answer, by the deployment that answered; without realtime sessions.",
                DEPLOYMENT,
                CALL_SECONDS,
            ),
            time_to_first_token: r.histograms(
                "forebay_time_to_first_token_seconds",
                "Time from a request's arrival to the first event with model output in its stream.",
                DEPLOYMENT,
                FIRST_TOKEN_SECONDS,
            ),
            overhead: r.histograms(
                "forebay_overhead_seconds",
                "Latency added by the gateway itself, without the time it waits for clients and deployments.",
                &["model"],
                OVERHEAD_SECONDS,
            ),
            headers_dropped: r.counters(
                "forebay_headers_dropped_total",
                "Client headers that were not forwarded although the deployment may need them: over Azure's limit of ten (over_limit), or not in server.forward_headers (unlisted).",
                &["reason"],
            ),
            unreplayable: r.counters(
                "forebay_requests_unreplayable_total",
                "Requests that could not fail over because failover.body_memory was full and their body was streamed through.",
                &["model"],
            ),
            body_memory: r.gauge(
                "forebay_body_memory_bytes",
                "Memory now used to buffer request bodies for failover.",
            ),
            body_memory_limit: r.gauge(
                "forebay_body_memory_limit_bytes",
                "Memory available to buffer request bodies for failover (failover.body_memory).",
            ),
            deployment_info: r.int_gauges(
                "forebay_deployment_info",
                "Always 1; the labels give the deployment's capacity type and priority.",
                &["model", "instance", "deployment", "capacity", "priority"],
            ),
            available: r.int_gauges(
                "forebay_deployment_available",
                "1 if the deployment can get requests now; 0 in a cooldown, with an open circuit, or set aside.",
                DEPLOYMENT,
            ),
            pause: r.gauges(
                "forebay_deployment_pause_seconds",
                "Seconds until the deployment is retried: the rest of its cooldown or of its circuit's open time.",
                DEPLOYMENT,
            ),
            set_aside: r.int_gauges(
                "forebay_deployment_set_aside",
                "1 if the deployment gets no requests until an operator fixes its credential or its configuration (cause).",
                &["model", "instance", "deployment", "cause"],
            ),
            inflight: r.int_gauges(
                "forebay_deployment_inflight",
                "Attempts in flight at the deployment.",
                DEPLOYMENT,
            ),
            utilization: r.gauges(
                "forebay_deployment_utilization_ratio",
                "Utilization that a provisioned deployment last reported; 1 means full.",
                DEPLOYMENT,
            ),
            remaining_tokens: r.gauges(
                "forebay_deployment_remaining_tokens",
                "Tokens left in the deployment's rate limit window, as it last reported.",
                DEPLOYMENT,
            ),
            remaining_requests: r.gauges(
                "forebay_deployment_remaining_requests",
                "Requests left in the deployment's rate limit window, as it last reported.",
                DEPLOYMENT,
            ),
            identity_expiry: r.gauges(
                "forebay_identity_token_expiry_timestamp_seconds",
                "Unix time at which the identity's token expires; 0 if it has none.",
                &["identity"],
            ),
            identity_failures: r.counters(
                "forebay_identity_failures_total",
                "Failed token requests of the identity.",
                &["identity"],
            ),
            connections: r.int_gauges(
                "forebay_connections",
                "Open connections of the listener.",
                &["listener"],
            ),
            connections_refused: r.counters(
                "forebay_connections_refused_total",
                "Connections closed at once because the listener had reached max_connections.",
                &["listener"],
            ),
            handshake_failures: r.counters(
                "forebay_tls_handshake_failures_total",
                "TLS handshakes with clients that failed or timed out.",
                &["listener", "reason"],
            ),
            certificate_expiry: r.gauges(
                "forebay_certificate_expiry_timestamp_seconds",
                "Unix time at which the listener's certificate expires.",
                &["listener"],
            ),
            certificate_reloads: r.counters(
                "forebay_certificate_reloads_total",
                "Reloads of a listener's changed certificate files: success, or failure if the new files can't be used.",
                &["listener", "result"],
            ),
            build_info: r.int_gauges(
                "forebay_build_info",
                "Always 1; the label is the running version.",
                &["version"],
            ),
            config_hash: r.int_gauges(
                "forebay_config_hash",
                "Always 1; the label is the hash of the running config.",
                &["hash"],
            ),
            log_lines_dropped: r.counters(
                "forebay_log_lines_dropped_total",
                "Log lines lost because the log could not be written fast enough, or at all.",
                &["log"],
            ),
            log_failing: r.int_gauges(
                "forebay_log_failing",
                "1 if the last write of the log failed, as on a full disk; its lines are lost.",
                &["log"],
            ),
            otlp_dropped: r.counters(
                "forebay_otlp_dropped_total",
                "Spans and metrics that the OTLP collector did not get: the queue was full, or it rejected them.",
                &["signal"],
            ),
            otlp_failures: r.counters(
                "forebay_otlp_failures_total",
                "Failed requests to the OTLP collector; most are retried.",
                &["signal"],
            ),
            folded_clients: r.gauge(
                "forebay_metrics_folded_clients",
                "Clients without a label value of their own, counted together as `other` (metrics.clients).",
            ),
            client_series: r.gauge(
                "forebay_metrics_client_series",
                "Series that have a client's name as a label.",
            ),
            folded: r.counter(
                "forebay_metrics_folded_total",
                "Increments counted as `other` although their client has a label value of its own, because metrics.client_series was reached.",
            ),
        };
        (all, r.made.into_inner())
    }
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
