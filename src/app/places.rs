//! How many connections a listener holds, and how many it may.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::{
    proxy::drain::{Connection, Drain},
    telemetry::metrics::{InFlight, ListenerMetrics},
};

pub(super) struct Places {
    most: usize,
    taken: AtomicUsize,
    metrics: Arc<ListenerMetrics>,
    drain: Arc<Drain>,
}

/// One connection's place; free again when dropped.
#[must_use]
pub(super) struct Place {
    places: Arc<Places>,
    _counted: InFlight,
    pub(super) connection: Connection,
}

impl Places {
    pub(super) fn new(most: usize, metrics: Arc<ListenerMetrics>, drain: Arc<Drain>) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: AtomicUsize::new(0),
            metrics,
            drain,
        })
    }

    /// `None`: all are taken.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let another = |taken| (taken < self.most).then_some(taken + 1);
        let taken = &self.taken;
        match taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, another) {
            Ok(_) => Some(Place {
                places: Arc::clone(self),
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
        self.taken.load(Ordering::Acquire)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(1, Ordering::AcqRel);
    }
}
