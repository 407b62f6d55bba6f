//! How far the gateway's life has come, and whom it still serves: a drain waits for the last of them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Shared by all that serves, and by what ends it.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    open: AtomicBool,
    draining: AtomicBool,
    inflight: AtomicU64,
}

impl Drain {
    /// The listeners answer.
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn begin(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Requests being served.
    pub(crate) fn inflight(&self) -> u64 {
        self.inflight.load(Ordering::Acquire)
    }

    pub(super) fn enter(self: &Arc<Self>) -> Guest {
        self.inflight.fetch_add(1, Ordering::AcqRel);
        Guest(Arc::clone(self))
    }
}

/// One request being served, for as long as this lives.
pub(crate) struct Guest(Arc<Drain>);

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.inflight.fetch_sub(1, Ordering::AcqRel);
    }
}
