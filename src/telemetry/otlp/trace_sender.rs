//! Sends finished requests' spans in batches, and again what a collector may take later.
//!
//! Not by the SDK's `BatchSpanProcessor`: it may keep a part of a request's spans, and counts what it drops for an
//! experimental feature's global meter alone.

use std::{mem, sync::Arc, time::Duration};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use tokio::time::sleep;

use super::{
    gen_ai::Places,
    signal::{Signal, Waiting, scope},
    spans::spans,
};

/// How long the first record after a pause waits for others: waking the thread for each would cost requests more than
/// all else here.
const GATHER: Duration = Duration::from_millis(500);
/// Spans sent at once, but that a request's stay together.
const BATCH: usize = 512;
/// Between the tries to send the same spans; after the last they are given up.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// The longest pause that a collector may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct TraceSender {
    signal: Signal,
    places: Arc<Places>,
    /// What is being sent: kept until it is taken or given up.
    batch: Vec<Span>,
}

impl TraceSender {
    pub(super) fn new(signal: Signal, places: Arc<Places>) -> Self {
        Self {
            signal,
            places,
            batch: Vec::new(),
        }
    }

    pub(super) async fn run(&mut self, taken: &mut Waiting) {
        while let Some(record) = taken.recv().await {
            self.batch.extend(spans(&record, &self.places));
            sleep(GATHER).await;
            while self.fill(taken) {
                self.send().await;
            }
        }
    }

    /// Sends what is left. There is no time to try again.
    pub(super) async fn finish(&mut self, taken: &mut Waiting) {
        taken.close();
        while self.fill(taken) {
            let end = self.signal.exporter.traces(self.request()).await;
            if end.is_err() {
                return;
            }
            self.signal.note(&end);
            self.batch.clear();
        }
    }

    /// Counts what was not sent.
    pub(super) fn give_up_all(&mut self, taken: &mut Waiting) {
        while self.fill(taken) {
            self.give_up();
        }
    }

    /// `false`: there is nothing to send.
    fn fill(&mut self, taken: &mut Waiting) -> bool {
        while self.batch.len() < BATCH
            && let Ok(record) = taken.try_recv()
        {
            self.batch.extend(spans(&record, &self.places));
        }
        !self.batch.is_empty()
    }

    /// Sends the batch, as often as needed until it is taken, or given up.
    async fn send(&mut self) {
        let mut pauses = PAUSES.iter();
        loop {
            let end = self.signal.exporter.traces(self.request()).await;
            self.signal.note(&end);
            let Err(failure) = end else {
                return self.batch.clear();
            };
            let (Some(asked), Some(pause)) = (failure.later, pauses.next()) else {
                return self.give_up();
            };
            sleep(asked.unwrap_or_default().clamp(*pause, LONGEST_PAUSE)).await;
        }
    }

    fn give_up(&mut self) {
        let spans = mem::take(&mut self.batch).len();
        self.signal.counters.dropped.inc_by(spans as u64);
    }

    fn request(&self) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.signal.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope()),
                    spans: self.batch.clone(),
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        }
    }
}
