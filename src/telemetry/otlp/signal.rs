//! One signal, traces or metrics, on its way to the collector: what waits for it, never more than there is room for, and
//! what is counted and said of how it went.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::{common::v1::InstrumentationScope, resource::v1::Resource};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::exporter::{Exporter, Failure};
use crate::{
    domain::collector::Collector,
    telemetry::{metrics::SignalMetrics, record::Record},
};

/// Records that may wait for a signal, which looks at them some times a second: a few megabytes, and some ten while
/// the collector can't take them.
const WAITING: usize = 8192;

/// Where requests leave their records.
pub(super) struct Queue {
    records: mpsc::Sender<Arc<Record>>,
    pub(super) counters: SignalMetrics,
}

/// Where they are taken.
pub(super) type Waiting = mpsc::Receiver<Arc<Record>>;

impl Queue {
    pub(super) fn new(counters: SignalMetrics) -> (Self, Waiting) {
        let (records, waiting) = mpsc::channel(WAITING);
        (Self { records, counters }, waiting)
    }

    /// Never waits. `worth`: what is lost where there is no room.
    pub(super) fn put(&self, record: &Arc<Record>, worth: u64) {
        if self.records.try_send(Arc::clone(record)).is_err() {
            self.counters.dropped.inc_by(worth);
        }
    }
}

pub(super) struct Signal {
    pub(super) exporter: Exporter,
    pub(super) resource: Resource,
    pub(super) counters: SignalMetrics,
    name: &'static str,
    /// What was last said of why it is not taken; empty while it is.
    trouble: RefCell<String>,
    is_partial: Cell<bool>,
}

impl Signal {
    pub(super) fn new(
        name: &'static str,
        counters: SignalMetrics,
        exporter: &Exporter,
        resource: &Resource,
    ) -> Self {
        Self {
            exporter: exporter.clone(),
            resource: resource.clone(),
            counters,
            name,
            trouble: RefCell::default(),
            is_partial: Cell::default(),
        }
    }

    /// Counts how a try ended, and says it if it is another end than before.
    pub(super) fn note(&self, end: &Result<u64, Failure>) {
        let signal = self.name;
        match end {
            Ok(rejected) => {
                if !self.trouble.take().is_empty() {
                    info!(
                        event = "otlp_recovered",
                        "the OTLP collector takes {signal} again"
                    );
                }
                self.counters.dropped.inc_by(*rejected);
                if *rejected > 0 && !self.is_partial.replace(true) {
                    warn!(
                        event = "otlp_dropping",
                        rejected,
                        "the OTLP collector rejected part of what it was sent; forebay_otlp_dropped_total counts it"
                    );
                }
            }
            Err(failure) => {
                self.counters.failures.inc();
                if self.trouble.replace(failure.reason.clone()) != failure.reason {
                    warn!(event = "otlp_failing", reason = %failure, "sending {signal} to the OTLP collector failed; forebay_otlp_failures_total counts further failures");
                }
            }
        }
    }
}

pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "forebay".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// Who sends: by the config, and what it does not say by ourselves.
pub(super) fn resource(collector: &Collector) -> Resource {
    let random = uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes());
    let own = [
        KeyValue::new("service.name", "forebay"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", random.into_uuid().to_string()),
    ];
    let theirs = collector.resource.iter().cloned();
    let all = opentelemetry_sdk::Resource::builder_empty()
        .with_attributes(own)
        .with_attributes(theirs.map(|(name, value)| KeyValue::new(name, value)));
    Resource::from(&all.build())
}
