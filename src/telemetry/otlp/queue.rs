//! What waits for one signal: never more than there is room for.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::telemetry::{metrics::SignalMetrics, record::Record};

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
