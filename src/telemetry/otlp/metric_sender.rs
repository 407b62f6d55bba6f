//! Counts finished requests by the conventions, and sends all metrics at an interval.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{ResourceMetrics, ScopeMetrics},
};
use tokio::time::sleep;

use super::{
    gen_ai::{GenAi, Places},
    points::{self, Times},
    signal::{Signal, Waiting, scope},
};
use crate::telemetry::metrics::Metrics;

/// How long the first record after a pause waits for others: waking the thread for each would cost requests more than
/// all else here.
const GATHER: Duration = Duration::from_millis(100);

/// What brings the metrics up to date that change without a request.
pub type Refresh = Box<dyn Fn() + Send + Sync>;

pub(super) struct MetricSender {
    signal: Signal,
    places: Arc<Places>,
    interval: Duration,
    page: Arc<Metrics>,
    refresh: Arc<OnceLock<Refresh>>,
    since: SystemTime,
    gen_ai: GenAi,
}

impl MetricSender {
    pub(super) fn new(
        signal: Signal,
        places: Arc<Places>,
        interval: Duration,
        page: Arc<Metrics>,
        refresh: Arc<OnceLock<Refresh>>,
    ) -> Self {
        Self {
            signal,
            places,
            interval,
            page,
            refresh,
            since: SystemTime::now(),
            gen_ai: GenAi::new(),
        }
    }

    pub(super) async fn run(&self, taken: &mut Waiting) {
        tokio::join!(self.count(taken), self.send());
    }

    /// Sends them a last time.
    pub(super) async fn finish(&self, taken: &mut Waiting) {
        taken.close();
        self.count_waiting(taken);
        let _ = self.signal.exporter.metrics(self.request()).await;
    }

    async fn count(&self, taken: &mut Waiting) {
        while let Some(record) = taken.recv().await {
            self.gen_ai.observe(&record, &self.places);
            sleep(GATHER).await;
            self.count_waiting(taken);
        }
    }

    fn count_waiting(&self, taken: &mut Waiting) {
        while let Ok(record) = taken.try_recv() {
            self.gen_ai.observe(&record, &self.places);
        }
    }

    async fn send(&self) {
        loop {
            sleep(self.interval).await;
            // Where they are not taken, the next ones say what these would have said.
            let end = self.signal.exporter.metrics(self.request()).await;
            self.signal.note(&end);
        }
    }

    fn request(&self) -> ExportMetricsServiceRequest {
        if let Some(refresh) = self.refresh.get() {
            refresh();
        }
        let times = Times {
            since: self.since,
            now: SystemTime::now(),
        };
        let mut metrics = points::of_page(&self.page.gather(), times);
        metrics.extend(points::of_gen_ai(&self.gen_ai.collect(), times));
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.signal.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope()),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        }
    }
}
