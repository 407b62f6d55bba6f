//! What the thread beside the requests does: takes records, makes spans and metrics of them, sends both.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::InstrumentationScope,
    metrics::v1::{ResourceMetrics, ScopeMetrics},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    attributes::Attributes,
    exporter::{Exporter, Failure},
    gen_ai::GenAi,
    places::Places,
    points::{self, Times},
    spans::spans,
};
use crate::{
    domain::collector::Collector,
    telemetry::{
        metrics::{Metrics, SignalMetrics},
        record::Record,
    },
};

/// How long the first record after a pause waits for others: waking the thread for each would cost requests more than
/// all else here.
const GATHER: Duration = Duration::from_millis(100);
/// How long the first span waits for others.
const SPANS_GATHER: Duration = Duration::from_millis(500);
/// Spans sent at once.
const BATCH: usize = 512;
/// Spans that may wait while the collector can't take them: some ten megabytes.
const SPANS_WAITING: usize = 8192;
/// Between the tries to send the same spans; after the last they are given up.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// The longest pause that a collector may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// For all that is left when the gateway ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What brings the metrics up to date that change without a request.
pub type Refresh = Box<dyn Fn() + Send + Sync>;

/// What is sent, each with its own counters.
#[derive(Clone)]
pub(super) struct Signals {
    pub(super) traces: Option<SignalMetrics>,
    pub(super) metrics: Option<SignalMetrics>,
}

pub(super) struct Worker {
    exporter: Exporter,
    resource: Resource,
    interval: Duration,
    places: Places,
    metrics: Arc<Metrics>,
    signals: Signals,
    refresh: Arc<OnceLock<Refresh>>,
    since: SystemTime,
    gen_ai: GenAi,
    spans: RefCell<VecDeque<Span>>,
    /// What is being sent: kept until it is taken or given up.
    sending: RefCell<Vec<Span>>,
    there_are_spans: Notify,
    /// What was last said of why each is not taken; empty while they are.
    trouble: Trouble,
}

#[derive(Default)]
struct Trouble {
    traces: RefCell<String>,
    metrics: RefCell<String>,
    is_partial: Cell<bool>,
}

impl Worker {
    pub(super) fn new(
        exporter: Exporter,
        collector: &Collector,
        places: Places,
        metrics: Arc<Metrics>,
        signals: Signals,
        refresh: Arc<OnceLock<Refresh>>,
    ) -> Self {
        Self {
            exporter,
            resource: resource(collector),
            interval: collector.metrics.unwrap_or_default(),
            places,
            metrics,
            signals,
            refresh,
            since: SystemTime::now(),
            gen_ai: GenAi::new(),
            spans: RefCell::default(),
            sending: RefCell::default(),
            there_are_spans: Notify::new(),
            trouble: Trouble::default(),
        }
    }

    /// Until `stopped`; then sends what is left, if that takes no longer than [`LAST_WORDS`].
    pub(super) async fn work(
        self,
        mut taken: mpsc::Receiver<Arc<Record>>,
        stopped: oneshot::Receiver<()>,
    ) {
        tokio::select! {
            () = self.gather(&mut taken) => {}
            () = self.send_spans() => {}
            () = self.send_metrics() => {}
            _ = stopped => {}
        }
        taken.close();
        while let Ok(record) = taken.try_recv() {
            self.add(&record);
        }
        let _ = timeout(LAST_WORDS, async {
            tokio::join!(self.send_last_spans(), self.send_last_metrics());
        })
        .await;
        let unsent = self.spans.borrow().len() + self.sending.borrow().len();
        self.drop_spans(unsent);
    }

    async fn gather(&self, taken: &mut mpsc::Receiver<Arc<Record>>) {
        while let Some(record) = taken.recv().await {
            self.add(&record);
            sleep(GATHER).await;
            while let Ok(record) = taken.try_recv() {
                self.add(&record);
            }
        }
    }

    fn add(&self, record: &Record) {
        if self.signals.metrics.is_some() {
            self.gen_ai.observe(record, &self.places);
        }
        if self.signals.traces.is_none() {
            return;
        }
        let new = spans(record, &self.places);
        if new.is_empty() {
            return;
        }
        let mut waiting = self.spans.borrow_mut();
        // All of a request's, or none.
        match waiting.len() + new.len() <= SPANS_WAITING {
            true => waiting.extend(new),
            false => self.drop_spans(new.len()),
        }
        self.there_are_spans.notify_one();
    }

    fn drop_spans(&self, number: usize) {
        if let Some(traces) = &self.signals.traces {
            traces.dropped.inc_by(number as u64);
        }
    }

    async fn send_spans(&self) {
        loop {
            self.there_are_spans.notified().await;
            sleep(SPANS_GATHER).await;
            while self.fill_batch() {
                self.send_batch().await;
            }
        }
    }

    async fn send_last_spans(&self) {
        while self.fill_batch() {
            let batch = self.batch();
            let Ok(rejected) = self.exporter.traces(batch).await else {
                // There is no time to try again.
                return;
            };
            self.taken_spans(rejected);
        }
    }

    /// `false`: there is nothing to send.
    fn fill_batch(&self) -> bool {
        let mut sending = self.sending.borrow_mut();
        if sending.is_empty() {
            let mut waiting = self.spans.borrow_mut();
            let number = waiting.len().min(BATCH);
            sending.extend(waiting.drain(..number));
        }
        !sending.is_empty()
    }

    fn batch(&self) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope()),
                    spans: self.sending.borrow().clone(),
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        }
    }

    /// Sends the batch, as often as needed until it is taken, or given up.
    async fn send_batch(&self) {
        let mut pauses = PAUSES.iter();
        loop {
            let failure = match self.exporter.traces(self.batch()).await {
                Ok(rejected) => return self.taken_spans(rejected),
                Err(failure) => failure,
            };
            self.note(
                &self.signals.traces,
                &self.trouble.traces,
                &failure,
                "traces",
            );
            let pause = failure.later.and_then(|asked| {
                let pause = *pauses.next()?;
                Some(asked.unwrap_or_default().clamp(pause, LONGEST_PAUSE))
            });
            let Some(pause) = pause else {
                let given_up = std::mem::take(&mut *self.sending.borrow_mut());
                return self.drop_spans(given_up.len());
            };
            sleep(pause).await;
        }
    }

    fn taken_spans(&self, rejected: u64) {
        self.sending.borrow_mut().clear();
        well(&self.trouble.traces, "traces");
        self.reject(&self.signals.traces, rejected);
    }

    async fn send_metrics(&self) {
        if self.signals.metrics.is_none() {
            return std::future::pending().await;
        }
        loop {
            sleep(self.interval).await;
            match self.exporter.metrics(self.all_metrics()).await {
                Ok(rejected) => {
                    well(&self.trouble.metrics, "metrics");
                    self.reject(&self.signals.metrics, rejected);
                }
                // The next ones say what these would have said.
                Err(failure) => {
                    self.note(
                        &self.signals.metrics,
                        &self.trouble.metrics,
                        &failure,
                        "metrics",
                    );
                }
            }
        }
    }

    async fn send_last_metrics(&self) {
        if self.signals.metrics.is_some() {
            let _ = self.exporter.metrics(self.all_metrics()).await;
        }
    }

    fn all_metrics(&self) -> ExportMetricsServiceRequest {
        if let Some(refresh) = self.refresh.get() {
            refresh();
        }
        let times = Times {
            since: self.since,
            now: SystemTime::now(),
        };
        let mut metrics = points::of_page(&self.metrics.gather(), times);
        metrics.extend(points::of_gen_ai(&self.gen_ai.collect(), times));
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope()),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        }
    }

    /// Counts a failure, and says it if it is another than before.
    fn note(
        &self,
        signal: &Option<SignalMetrics>,
        said: &RefCell<String>,
        failure: &Failure,
        what: &str,
    ) {
        if let Some(signal) = signal {
            signal.failures.inc();
        }
        if *said.borrow() != failure.reason {
            warn!(event = "otlp_failing", reason = %failure, "the OTLP collector takes no {what}; forebay_otlp_failures_total counts on");
            failure.reason.clone_into(&mut said.borrow_mut());
        }
    }

    /// Counts what the collector took no more than in part.
    fn reject(&self, signal: &Option<SignalMetrics>, rejected: u64) {
        let Some(signal) = signal.as_ref().filter(|_| rejected > 0) else {
            return;
        };
        signal.dropped.inc_by(rejected);
        if !self.trouble.is_partial.replace(true) {
            warn!(
                event = "otlp_dropping",
                rejected,
                "the OTLP collector took a part only; forebay_otlp_dropped_total counts on"
            );
        }
    }
}

/// Says that what was not taken is taken again.
fn well(said: &RefCell<String>, what: &str) {
    if !said.take().is_empty() {
        info!(
            event = "otlp_recovered",
            "the OTLP collector takes {what} again"
        );
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "forebay".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// Who sends: by the config, and what it does not say by ourselves.
fn resource(collector: &Collector) -> Resource {
    let mut about = Attributes::default();
    let random = uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes());
    for (name, value) in [
        ("service.name", "forebay".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", random.into_uuid().to_string()),
    ] {
        if !collector.resource.iter().any(|(own, _)| own == name) {
            about.text(name, value);
        }
    }
    for (name, value) in &collector.resource {
        about.text(name, value);
    }
    Resource {
        attributes: about.0,
        ..Resource::default()
    }
}
