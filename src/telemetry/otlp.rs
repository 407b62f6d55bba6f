//! Traces and metrics by OpenTelemetry's protocol (OTLP), beside the requests.
//!
//! A request hands its [`Record`] to bounded queues and goes on; a thread of its own makes spans and `gen_ai.*`
//! metrics of it and sends them. A collector that is down or slow costs requests nothing: what finds no room is dropped
//! and counted. No prompt and no answer is in what is sent; names of instances' hosts are.

mod exporter;
mod gen_ai;
mod metric_sender;
mod points;
mod signal;
mod spans;
mod trace_sender;

use std::{
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
    time::Duration,
};

use futures_util::future::OptionFuture;
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout};

use super::{metrics::Metrics, record::Record};
use crate::domain::{collector::Collector, deployment::Instance};

use exporter::Exporter;
pub use exporter::SetupError;
use gen_ai::places;
use metric_sender::MetricSender;
pub use metric_sender::Refresh;
use signal::{Queue, Signal, Waiting, resource};
use trace_sender::TraceSender;

/// For all that is left when the gateway ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Sends what finished requests were: shared by all, closed once at the end.
pub struct Otlp {
    traces: Option<Queue>,
    metrics: Option<Queue>,
    refresh: Arc<OnceLock<Refresh>>,
    thread: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Otlp {
    /// Starts the thread that sends. Fails where the authorities of `collector` can't be used; a collector that
    /// isn't there is no failure.
    pub fn open(
        collector: &Collector,
        instances: &[Arc<Instance>],
        page: &Arc<Metrics>,
    ) -> Result<Self, SetupError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let exporter = runtime.block_on(async { Exporter::new(collector) })?;
        let (places, resource) = (Arc::new(places(instances)), resource(collector));
        let signal = |name| {
            let (queue, waiting) = Queue::new(page.signal(name));
            let signal = Signal::new(name, queue.counters.clone(), &exporter, &resource);
            (queue, signal, waiting)
        };
        let traces = collector.traces.map(|_| {
            let (queue, signal, waiting) = signal("traces");
            let sender = TraceSender::new(signal, Arc::clone(&places));
            (queue, (sender, waiting))
        });
        let refresh = Arc::default();
        let metrics = collector.metrics.map(|interval| {
            let (queue, signal, waiting) = signal("metrics");
            let (page, refresh) = (Arc::clone(page), Arc::clone(&refresh));
            let sender = MetricSender::new(signal, Arc::clone(&places), interval, page, refresh);
            (queue, (sender, waiting))
        });
        let ((traces, spans), (metrics, points)) = (traces.unzip(), metrics.unzip());
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("otlp".into());
        let thread = thread.spawn(move || {
            runtime.block_on(work(spans, points, stopped));
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self {
            traces,
            metrics,
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
        if let Some(traces) = self.traces.as_ref().filter(|_| is_traced) {
            traces.put(record, 1 + record.attempts.len() as u64);
        }
        if let Some(metrics) = &self.metrics {
            metrics.put(record, 1);
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

/// Until `stopped`, and then what is left.
async fn work(
    mut traces: Option<(TraceSender, Waiting)>,
    mut metrics: Option<(MetricSender, Waiting)>,
    stopped: oneshot::Receiver<()>,
) {
    let run = async {
        tokio::join!(
            OptionFuture::from(traces.as_mut().map(|(it, taken)| it.run(taken))),
            OptionFuture::from(metrics.as_mut().map(|(it, taken)| it.run(taken))),
        )
    };
    tokio::select! {
        _ = run => {}
        _ = stopped => {}
    }
    let finish = async {
        tokio::join!(
            OptionFuture::from(traces.as_mut().map(|(it, taken)| it.finish(taken))),
            OptionFuture::from(metrics.as_mut().map(|(it, taken)| it.finish(taken))),
        )
    };
    let _ = timeout(LAST_WORDS, finish).await;
    if let Some((traces, taken)) = &mut traces {
        traces.give_up_all(taken);
    }
}

#[cfg(test)]
mod tests;
