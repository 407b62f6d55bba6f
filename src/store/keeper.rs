//! The thread that keeps what clients have spent.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use parking_lot::{Condvar, Mutex};

use super::{Counters, StoreError};
use crate::domain::quota::{Moment, Quotas};

/// How often changes are written: what a crash may lose is less than a second's, the writing included.
const EVERY: Duration = Duration::from_millis(500);
/// How often the log says that nothing can be written.
const REMIND_EVERY: Duration = Duration::from_secs(60);

/// What is counted of the keeping.
pub struct Meters {
    pub count_failure: Box<dyn Fn() + Send>,
}

/// Keeps what clients have spent, until it is closed.
pub struct Keeper {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    /// Takes in what was kept, and keeps what is spent from now on.
    pub fn start(
        store: Box<dyn Counters>,
        quotas: Arc<Quotas>,
        meters: Meters,
    ) -> Result<Self, StoreError> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let watched = Arc::clone(&stop);
        let mut work = Work {
            store,
            quotas,
            meters,
            is_restored: false,
            is_lost: false,
            reminded: None,
            beginnings: None,
        };
        work.write();
        let thread = thread::Builder::new().name("counters".into());
        let thread = thread.spawn(move || {
            while !is_stopped(&watched) {
                work.write();
            }
            work.write();
        })?;
        Ok(Self {
            stop,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Writes what there is, and ends. Waits for that; does nothing the second time.
    pub fn close(&self) {
        let (stop, wake) = &*self.stop;
        *stop.lock() = true;
        wake.notify_all();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that keeps what clients have spent has failed");
        }
    }
}

/// Waits for the next time to write; whether it is the last.
fn is_stopped((stop, wake): &(Mutex<bool>, Condvar)) -> bool {
    let mut stop = stop.lock();
    if !*stop {
        wake.wait_for(&mut stop, EVERY);
    }
    *stop
}

struct Work {
    store: Box<dyn Counters>,
    quotas: Arc<Quotas>,
    meters: Meters,
    /// What was kept from before is taken in.
    is_restored: bool,
    /// The store has lost what it had.
    is_lost: bool,
    /// When the log last said that nothing can be written; `None`: it can.
    reminded: Option<Instant>,
    /// Those of the periods that were current when older ones were last forgotten.
    beginnings: Option<[i64; 3]>,
}

impl Work {
    fn write(&mut self) {
        match self.try_write() {
            Ok(()) => {
                if self.reminded.take().is_some() {
                    tracing::info!("what clients have spent is kept again");
                }
            }
            Err(error) => self.complain(&error),
        }
    }

    fn try_write(&mut self) -> Result<(), StoreError> {
        self.is_lost |= self.store.mend()?;
        if !self.is_restored {
            let now = Moment {
                at: Instant::now(),
                wall: SystemTime::now(),
            };
            self.quotas.restore(&self.store.load()?, now);
            (self.is_restored, self.is_lost) = (true, false);
        }
        let changes = self.quotas.take_changes(self.is_lost);
        if !changes.is_empty() {
            let added = self.store.add(&changes);
            if added.is_err() {
                self.quotas.not_arrived();
            }
            self.quotas.arrived(&added?);
        }
        self.is_lost = false;
        self.forget_old()
    }

    fn forget_old(&mut self) -> Result<(), StoreError> {
        let now = self.quotas.beginnings(SystemTime::now());
        let beginnings = now.map(|(_, start)| start);
        if self.beginnings != Some(beginnings) {
            for (period, start) in now {
                self.store.forget(period, start)?;
            }
            self.beginnings = Some(beginnings);
        }
        Ok(())
    }

    fn complain(&mut self, error: &StoreError) {
        (self.meters.count_failure)();
        let is_due = self
            .reminded
            .is_none_or(|last| last.elapsed() >= REMIND_EVERY);
        if is_due {
            self.reminded = Some(Instant::now());
            tracing::error!(%error, "what clients have spent can't be written to counters.file: requests go on, it is tried again, and what is spent until then would be lost in a restart");
        }
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        Self::other(error)
    }
}
