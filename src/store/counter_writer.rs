//! The thread that writes `counters.file`.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use parking_lot::{Condvar, Mutex};

use super::counters::{Counters, StoreError};
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
pub struct CounterWriter {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl CounterWriter {
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
        let thread = thread::Builder::new()
            .name("counters".into())
            .spawn(move || {
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
            tracing::error!(
                event = "counter_store_stopped",
                "the thread that writes counters.file has stopped: usage since the last write is lost at a restart; restart the gateway"
            );
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
                    tracing::info!(
                        event = "counter_store_recovered",
                        "counters.file can be written again"
                    );
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
            tracing::error!(event = "counter_store_failing", %error, "could not write counters.file: requests are not affected and the write is retried, but a restart before it succeeds would lose clients' usage; check free disk space and the file's owner and mode");
        }
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::*;
    use crate::domain::quota::{Calendar, ClientLimits, Count, Limits, Output, Period, Spent};

    /// What a store has, and what is wrong with it.
    #[derive(Default)]
    struct Shelf {
        tokens: HashMap<(Period, i64), u64>,
        is_full: bool,
        is_lost: bool,
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Shelf>>);

    impl Counters for Shared {
        fn load(&mut self) -> Result<Vec<Count>, StoreError> {
            let shelf = self.0.lock();
            let all = shelf.tokens.iter();
            Ok(all
                .map(|((period, start), tokens)| count(*period, *start, *tokens))
                .collect())
        }

        fn add(&mut self, counts: &[Count]) -> Result<Vec<Count>, StoreError> {
            let mut shelf = self.0.lock();
            if shelf.is_full {
                return Err(io::Error::from(io::ErrorKind::StorageFull).into());
            }
            let mut totals = Vec::new();
            for it in counts {
                let tokens = shelf.tokens.entry((it.period, it.start)).or_default();
                *tokens += it.tokens;
                totals.push(count(it.period, it.start, *tokens));
            }
            Ok(totals)
        }

        fn forget(&mut self, period: Period, before: i64) -> Result<(), StoreError> {
            let mut shelf = self.0.lock();
            shelf
                .tokens
                .retain(|(of, start), _| *of != period || *start >= before);
            Ok(())
        }

        fn mend(&mut self) -> Result<bool, StoreError> {
            let mut shelf = self.0.lock();
            if std::mem::take(&mut shelf.is_lost) {
                shelf.tokens.clear();
                return Ok(true);
            }
            Ok(false)
        }
    }

    fn count(period: Period, start: i64, tokens: u64) -> Count {
        Count {
            client: "app".into(),
            model: None,
            period,
            start,
            tokens,
        }
    }

    fn quotas() -> Arc<Quotas> {
        let limits = ClientLimits {
            own: Limits {
                tokens_per_month: Some(1_000_000),
                ..Limits::default()
            },
            ..ClientLimits::default()
        };
        Arc::new(Quotas::new(
            [(&"app".into(), &limits)],
            Calendar::default(),
            moment(),
        ))
    }

    fn moment() -> Moment {
        Moment {
            at: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    fn spend(quotas: &Quotas, total: u64) {
        let allowance = quotas.allowance_for(&"app".into()).unwrap();
        let mut reservation = allowance.enter(moment()).unwrap();
        reservation
            .reserve(total, Output::AtMost(0), moment())
            .unwrap();
        reservation.settle(
            Spent::Tokens {
                total,
                answer: None,
            },
            moment(),
        );
    }

    fn work(shelf: &Shared, quotas: &Arc<Quotas>, failures: &Arc<AtomicUsize>) -> Work {
        let failures = Arc::clone(failures);
        Work {
            store: Box::new(shelf.clone()),
            quotas: Arc::clone(quotas),
            meters: Meters {
                count_failure: Box::new(move || {
                    failures.fetch_add(1, Relaxed);
                }),
            },
            is_restored: false,
            is_lost: false,
            reminded: None,
            beginnings: None,
        }
    }

    #[test]
    fn nothing_is_lost_and_nothing_counted_twice_where_writes_fail_or_the_store_is_lost() {
        let (shelf, quotas, failures) = (Shared::default(), quotas(), Arc::default());
        shelf.0.lock().tokens.insert((Period::Month, 0), 5);
        shelf.0.lock().tokens.insert((Period::Day, 0), 5);
        let mut work = work(&shelf, &quotas, &failures);
        let kept = |shelf: &Shared| shelf.0.lock().tokens.values().sum::<u64>();
        let used = || quotas.report(moment())[0].used;
        work.write();
        assert_eq!(
            (kept(&shelf), used()),
            (0, 0),
            "those of old periods are forgotten"
        );
        spend(&quotas, 10);
        work.write();
        assert_eq!((kept(&shelf), used()), (10, 10));
        shelf.0.lock().is_full = true;
        for round in 1..=3 {
            spend(&quotas, 7);
            work.write();
            assert_eq!((kept(&shelf), used()), (10, 10 + 7 * round));
            assert_eq!(failures.load(Relaxed), round as usize);
        }
        shelf.0.lock().is_lost = true;
        work.write();
        assert_eq!((kept(&shelf), used()), (0, 31));
        shelf.0.lock().is_full = false;
        work.write();
        assert_eq!((kept(&shelf), used()), (31, 31));
        work.write();
        assert_eq!((kept(&shelf), used(), failures.load(Relaxed)), (31, 31, 4));
        // Another gateway adds to the same.
        let start = *shelf.0.lock().tokens.keys().next().unwrap();
        *shelf.0.lock().tokens.get_mut(&start).unwrap() += 100;
        spend(&quotas, 1);
        work.write();
        assert_eq!((kept(&shelf), used()), (132, 132));
    }

    #[test]
    fn what_was_spent_last_is_written_when_it_is_closed() {
        let (shelf, quotas) = (Shared::default(), quotas());
        let meters = Meters {
            count_failure: Box::new(|| {}),
        };
        let writer =
            CounterWriter::start(Box::new(shelf.clone()), Arc::clone(&quotas), meters).unwrap();
        spend(&quotas, 42);
        writer.close();
        writer.close();
        assert_eq!(shelf.0.lock().tokens.values().sum::<u64>(), 42);
    }
}
