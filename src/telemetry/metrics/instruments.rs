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
                "Requests that ended, by what the client got (code 499: it left before it got a status).",
                &["client", "model", "operation", "code"],
            ),
            requests_inflight: r.gauge("forebay_requests_inflight", "Requests being served now."),
            healthy: r.gauge("forebay_healthy", "1 while /health says 200, 0 while it says 503."),
            refusals: r.counters(
                "forebay_refusals_total",
                "Requests the gateway itself answered with an error, by reason.",
                &["client", "reason"],
            ),
            rejections: r.counters(
                "forebay_client_token_rejections_total",
                "Tokens of clients that let nobody in, by reason.",
                &["reason"],
            ),
            token_checks: r.counter(
                "forebay_client_token_checks_total",
                "Signatures of clients' tokens that were checked: once for each token while it is remembered.",
            ),
            issuer_keys: r.gauges(
                "forebay_issuer_keys_timestamp_seconds",
                "When the issuer's signing keys were last fetched, as Unix time; 0 where they never were.",
                &["issuer"],
            ),
            issuer_fetches: r.counters(
                "forebay_issuer_fetches_total",
                "Fetches of the issuer's signing keys that ended, well or not.",
                &["issuer"],
            ),
            issuer_failures: r.counters(
                "forebay_issuer_failures_total",
                "Fetches of the issuer's signing keys that failed.",
                &["issuer"],
            ),
            attempts: r.counters(
                "forebay_attempts_total",
                "Tries at a deployment, by outcome; counted when their request has ended.",
                &["model", "instance", "deployment", "outcome"],
            ),
            failovers: r.counters(
                "forebay_failovers_total",
                "Requests that moved on from a deployment to another, by what made them.",
                &["model", "instance", "deployment", "cause"],
            ),
            maybe_billed: r.counters(
                "forebay_failovers_maybe_billed_total",
                "Moves away from a deployment that may bill for what it did not answer: the request may be paid for twice.",
                DEPLOYMENT,
            ),
            spillovers: r.counters(
                "forebay_spillovers_total",
                "Answers that came from the deployment's own spillover deployment, by Azure's word.",
                DEPLOYMENT,
            ),
            out_of_budget: r.counters(
                "forebay_retry_budget_exhausted_total",
                "Requests that ended because too many moves had ended in yet another fault.",
                &["model"],
            ),
            limit: r.gauges(
                "forebay_client_limit",
                "What a client may spend; model * is all models together.",
                &["client", "model", "limit"],
            ),
            limit_remaining: r.gauges(
                "forebay_client_limit_remaining",
                "What is left of it now, reservations of requests under way taken off.",
                &["client", "model", "limit"],
            ),
            counter_store_failures: r.counter(
                "forebay_limit_store_failures_total",
                "Times that what clients have spent could not be written to `counters.file`; it is kept and written later.",
            ),
            counter_stores_set_aside: r.counter(
                "forebay_limit_stores_set_aside_total",
                "Files of `counters.file` that could not be read and were set aside under another name.",
            ),
            tokens: r.counters(
                "forebay_tokens_total",
                "Tokens used, by type: cached and audio_input are part of input, reasoning and audio_output part of output.",
                &["client", "model", "instance", "deployment", "type"],
            ),
            guesses: r.counters(
                "forebay_usage_estimated_total",
                "Answers whose tokens are estimated, at least in part, by why.",
                &["model", "instance", "deployment", "reason"],
            ),
            cost: r.amounts(
                "forebay_cost_total",
                "What the tokens used cost by the operator's price table; on provisioned deployments what the table says of them.",
                &["client", "model", "currency"],
            ),
            unpriced: r.counters(
                "forebay_requests_unpriced_total",
                "Requests that used tokens of a model for which the price table has no price.",
                &["model"],
            ),
            duration: r.histograms(
                "forebay_request_duration_seconds",
                "From a request's arrival to its answer's last byte, by the deployment that answered; sessions left out.",
                DEPLOYMENT,
                CALL_SECONDS,
            ),
            time_to_first_token: r.histograms(
                "forebay_time_to_first_token_seconds",
                "From a request's arrival to its stream's first event with output of the model.",
                DEPLOYMENT,
                FIRST_TOKEN_SECONDS,
            ),
            overhead: r.histograms(
                "forebay_overhead_seconds",
                "The gateway's own share of a request's time, waiting for others excluded.",
                &["model"],
                OVERHEAD_SECONDS,
            ),
            headers_dropped: r.counters(
                "forebay_headers_dropped_total",
                "Headers of clients that their deployments may miss: over Azure's limit, or meant for the model's server but not among those that go on.",
                &["reason"],
            ),
            unreplayable: r.counters(
                "forebay_requests_unreplayable_total",
                "Requests whose body was passed on as it came for want of room, and could not be sent again.",
                &["model"],
            ),
            body_memory: r.gauge(
                "forebay_body_memory_bytes",
                "Memory set aside now for request bodies that may be sent again.",
            ),
            body_memory_limit: r.gauge(
                "forebay_body_memory_limit_bytes",
                "All the memory there is for request bodies that may be sent again.",
            ),
            deployment_info: r.int_gauges(
                "forebay_deployment_info",
                "Always 1; the labels say how the deployment is paid for, and when its turn is.",
                &["model", "instance", "deployment", "capacity", "priority"],
            ),
            available: r.int_gauges(
                "forebay_deployment_available",
                "1 where the deployment may be tried now, else 0.",
                DEPLOYMENT,
            ),
            pause: r.gauges(
                "forebay_deployment_pause_seconds",
                "How long until the deployment may be tried again.",
                DEPLOYMENT,
            ),
            set_aside: r.int_gauges(
                "forebay_deployment_set_aside",
                "1 where the deployment is left alone for what an operator has to mend: a refused credential, or a deployment that isn't there.",
                &["model", "instance", "deployment", "cause"],
            ),
            inflight: r.int_gauges(
                "forebay_deployment_inflight",
                "Attempts under way at the deployment.",
                DEPLOYMENT,
            ),
            utilization: r.gauges(
                "forebay_deployment_utilization_ratio",
                "How full a provisioned deployment last said it is; 1 is all of its capacity.",
                DEPLOYMENT,
            ),
            remaining_tokens: r.gauges(
                "forebay_deployment_remaining_tokens",
                "Tokens the deployment last said it has left in its window.",
                DEPLOYMENT,
            ),
            remaining_requests: r.gauges(
                "forebay_deployment_remaining_requests",
                "Requests the deployment last said it has left in its window.",
                DEPLOYMENT,
            ),
            identity_expiry: r.gauges(
                "forebay_identity_token_expiry_timestamp_seconds",
                "When the identity's token ends, as Unix time; 0 where it has none.",
                &["identity"],
            ),
            identity_failures: r.counters(
                "forebay_identity_failures_total",
                "Token requests that failed.",
                &["identity"],
            ),
            connections: r.int_gauges(
                "forebay_connections",
                "Connections that the listener has now.",
                &["listener"],
            ),
            connections_refused: r.counters(
                "forebay_connections_refused_total",
                "Connections closed at once, since the listener had as many as it may.",
                &["listener"],
            ),
            handshake_failures: r.counters(
                "forebay_tls_handshake_failures_total",
                "TLS handshakes with clients that came to nothing, or to no end in time.",
                &["listener", "reason"],
            ),
            certificate_expiry: r.gauges(
                "forebay_certificate_expiry_timestamp_seconds",
                "When the certificate that the listener shows ends, as Unix time.",
                &["listener"],
            ),
            certificate_reloads: r.counters(
                "forebay_certificate_reloads_total",
                "Changes of a listener's certificate files: taken, or not since the files were not sound.",
                &["listener", "result"],
            ),
            build_info: r.int_gauges(
                "forebay_build_info",
                "Always 1; the label says which version runs.",
                &["version"],
            ),
            config_hash: r.int_gauges(
                "forebay_config_hash",
                "Always 1; the label says which config is in force.",
                &["hash"],
            ),
            log_lines_dropped: r.counters(
                "forebay_log_lines_dropped_total",
                "Lines lost because their log could not be written fast enough, or at all.",
                &["log"],
            ),
            log_failing: r.int_gauges(
                "forebay_log_failing",
                "1 where the log could not be written when it last had to be, as on a full disk; its lines are lost.",
                &["log"],
            ),
            otlp_dropped: r.counters(
                "forebay_otlp_dropped_total",
                "Spans, and requests or points of metrics, that the OTLP collector did not get: there was no room to keep them, or it refused them.",
                &["signal"],
            ),
            otlp_failures: r.counters(
                "forebay_otlp_failures_total",
                "Requests to the OTLP collector that failed; most are tried again.",
                &["signal"],
            ),
            folded_clients: r.gauge(
                "forebay_metrics_folded_clients",
                "Clients without a label of their own, which are counted together as `other`.",
            ),
            client_series: r.gauge(
                "forebay_metrics_client_series",
                "Series that carry a client's name now.",
            ),
            folded: r.counter(
                "forebay_metrics_folded_total",
                "Counts that went to `other` although their client has a label of its own, for want of room for its series.",
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
