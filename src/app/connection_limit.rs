//! The limit of open connections of a listener.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    proxy::drain::{Connection, Drain},
    telemetry::metrics::{InFlight, ListenerMetrics},
};

pub(super) struct ConnectionLimit {
    most: usize,
    free: Arc<Semaphore>,
    metrics: Arc<ListenerMetrics>,
    drain: Arc<Drain>,
}

/// One connection's permit; free again when dropped.
#[must_use]
pub(super) struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
    _counted: InFlight,
    pub(super) connection: Connection,
}

impl ConnectionLimit {
    pub(super) fn new(most: usize, metrics: Arc<ListenerMetrics>, drain: Arc<Drain>) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            most,
            free: Arc::new(Semaphore::new(most)),
            metrics,
            drain,
        }
    }

    /// `None`: the listener has as many connections as it may.
    pub(super) fn take(&self) -> Option<ConnectionPermit> {
        match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => Some(ConnectionPermit {
                _permit: permit,
                _counted: self.metrics.connected(),
                connection: self.drain.connect(),
            }),
            Err(_) => {
                self.metrics.count_refused();
                None
            }
        }
    }

    pub(super) fn taken(&self) -> usize {
        self.most - self.free.available_permits()
    }
}
