//! How far the gateway's life has come, and whom it still serves: a drain waits for the last of them.

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Waker},
};

use parking_lot::Mutex;

/// Shared by all that serves, and by what ends it.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    open: AtomicBool,
    draining: AtomicBool,
    inflight: AtomicU64,
    /// Nobody is waited for any more.
    cut: AtomicBool,
    /// Whom to tell that, by the connection they read from.
    readers: Mutex<BTreeMap<u64, Waker>>,
    connections: AtomicU64,
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

    /// Cuts off all clients' connections, so that each request under way ends and is written down.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        let readers = mem::take(&mut *self.readers.lock());
        readers.into_values().for_each(Waker::wake);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// A client's connection begins.
    pub(crate) fn connect(self: &Arc<Self>) -> Connection {
        Connection {
            drain: Arc::clone(self),
            id: self.connections.fetch_add(1, Ordering::Relaxed),
            reader: None,
        }
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

/// A client's connection, which may be cut off.
pub(crate) struct Connection {
    drain: Arc<Drain>,
    id: u64,
    /// Who reads from it, and is told. Mostly it stays the same.
    reader: Option<Waker>,
}

impl Connection {
    pub(crate) fn is_cut(&self) -> bool {
        self.drain.is_cut()
    }

    /// Somebody waits for something to come from it. Whether it is cut off already.
    pub(crate) fn waits(&mut self, cx: &Context<'_>) -> bool {
        let reader = self.reader.as_ref();
        if !reader.is_some_and(|reader| reader.will_wake(cx.waker())) {
            self.reader = Some(cx.waker().clone());
            let mut readers = self.drain.readers.lock();
            readers.insert(self.id, cx.waker().clone());
        }
        // Looked at once more behind the lock: who cuts it off takes that first.
        self.is_cut()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.reader.is_some() {
            self.drain.readers.lock().remove(&self.id);
        }
    }
}
