//! Traces and metrics by OpenTelemetry's protocol (OTLP), beside the requests.
//!
//! A request hands its [`Record`] to a bounded queue and goes on; a thread of its own makes spans and `gen_ai.*`
//! metrics of it and sends them. A collector that is down or slow costs requests nothing: what finds no room is dropped
//! and counted. No prompt and no answer is in what is sent; names of instances' hosts are.

mod attributes;
mod exporter;
mod gen_ai;
mod places;
mod points;
mod spans;
mod worker;

use std::{
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::{metrics::Metrics, record::Record};
use crate::domain::{collector::Collector, deployment::Instance};

use exporter::Exporter;
pub use exporter::SetupError;
use places::places;
pub use worker::Refresh;
use worker::{Signals, Worker};

/// Records that may wait for the thread, which looks at them ten times a second: a few megabytes.
const WAITING: usize = 8192;

/// Sends what finished requests were: shared by all, closed once at the end.
pub struct Otlp {
    queue: mpsc::Sender<Arc<Record>>,
    signals: Signals,
    refresh: Arc<OnceLock<Refresh>>,
    thread: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Otlp {
    /// Starts the thread that sends. Fails where the authorities of `collector` can't be used; a collector that
    /// isn't there is no failure.
    pub fn open(
        collector: &Collector,
        instances: &[Arc<Instance>],
        metrics: &Arc<Metrics>,
    ) -> Result<Self, SetupError> {
        let signals = Signals {
            traces: collector.traces.map(|_| metrics.signal("traces")),
            metrics: collector.metrics.map(|_| metrics.signal("metrics")),
        };
        let refresh = Arc::new(OnceLock::new());
        let (queue, taken) = mpsc::channel(WAITING);
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let exporter = runtime.block_on(async { Exporter::new(collector) })?;
        let worker = Worker::new(
            exporter,
            collector,
            places(instances),
            Arc::clone(metrics),
            signals.clone(),
            Arc::clone(&refresh),
        );
        let thread = thread::Builder::new().name("otlp".into());
        let thread = thread.spawn(move || {
            runtime.block_on(worker.work(taken, stopped));
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self {
            queue,
            signals,
            refresh,
            thread: Mutex::new(Some((stop, thread))),
        })
    }

    /// What is to be done before metrics are sent. To be said once.
    pub fn refresh_by(&self, refresh: Refresh) {
        let _ = self.refresh.set(refresh);
    }

    /// Takes a finished request's record. Never waits: where there is no room what it would have told is dropped.
    pub fn take(&self, record: &Arc<Record>) {
        let is_traced = record.trace.as_ref().is_some_and(|it| it.is_sampled());
        let traces = self.signals.traces.as_ref().filter(|_| is_traced);
        let metrics = self.signals.metrics.as_ref();
        if traces.is_none() && metrics.is_none() {
            return;
        }
        if self.queue.try_send(Arc::clone(record)).is_err() {
            let spans = 1 + record.attempts.len() as u64;
            traces.inspect(|signal| signal.dropped.inc_by(spans));
            metrics.inspect(|signal| signal.dropped.inc());
        }
    }

    /// Sends what was taken so far, within a bounded time, and ends. Waits for it; does nothing the second time.
    pub fn close(&self) {
        let Some((stop, thread)) = self.thread.lock().take() else {
            return;
        };
        let _ = stop.send(());
        let _ = thread.join();
    }
}

impl Drop for Otlp {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
