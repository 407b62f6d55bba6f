//! One line a request, written off the request path.
//!
//! A request hands its [`Record`] over and goes on: it never waits for the disk. A thread of the log's own turns
//! records into lines and writes them. When it can't keep up, lines are dropped and counted, never requests held
//! up. Closing the log, or dropping it, writes every line that was taken.

mod line;
mod sink;

use std::{
    io,
    path::Path,
    sync::Arc,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;
use prometheus::IntCounter;
use tracing::{info, warn};

use super::record::Record;
use sink::Sink;

/// Records that may wait for the writer: half a second of a busy gateway, and a few megabytes.
const WAITING: usize = 8192;

enum Order {
    Write(Arc<Record>),
    /// Write out what came before, then answer.
    Flush(SyncSender<()>),
    Close,
}

/// The access log: shared by all requests, closed once at the end.
#[derive(Debug)]
pub struct AccessLog {
    orders: SyncSender<Order>,
    writer: Mutex<Option<JoinHandle<()>>>,
    dropped: IntCounter,
}

impl AccessLog {
    /// To a file that is appended to, or to stderr: text on a terminal, JSON elsewhere. `dropped` counts the
    /// lines that were lost. Fails where the file can't be opened.
    pub fn open(file: Option<&Path>, dropped: IntCounter) -> io::Result<Self> {
        let sink = match file {
            Some(path) => Sink::file(path)?,
            None => Sink::stderr(),
        };
        Self::start(sink, WAITING, dropped)
    }

    fn start(sink: Sink, waiting: usize, dropped: IntCounter) -> io::Result<Self> {
        let (orders, taken) = sync_channel(waiting);
        let writer = Writer {
            sink,
            text: Vec::new(),
            lines: 0,
            dropped: dropped.clone(),
            is_failing: false,
        };
        let thread = thread::Builder::new().name("access-log".into());
        let writer = thread.spawn(move || writer.run(&taken))?;
        Ok(Self {
            orders,
            writer: Mutex::new(Some(writer)),
            dropped,
        })
    }

    /// Takes a finished request's record. Never waits: where the writer can't keep up the line is dropped and counted.
    pub fn write(&self, record: Arc<Record>) {
        match self.orders.try_send(Order::Write(record)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.dropped.inc(),
        }
    }

    /// Waits until every line taken before is with the operating system. Not for the request path.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.orders.send(Order::Flush(done)).is_ok() {
            let _ = wait.recv();
        }
    }

    /// Writes every line taken so far and ends the log; what comes later is dropped and counted. Waits for the
    /// writer; does nothing the second time.
    pub fn close(&self) {
        let Some(writer) = self.writer.lock().take() else {
            return;
        };
        let _ = self.orders.send(Order::Close);
        let _ = writer.join();
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the log's thread works with.
struct Writer {
    sink: Sink,
    /// Lines not yet written out, and how many they are.
    text: Vec<u8>,
    lines: u64,
    dropped: IntCounter,
    is_failing: bool,
}

/// So much text is written at once while records keep coming.
const BATCH: usize = 64 << 10;
/// How long the first record after a pause waits for others. Waking the writer for each of them would cost a
/// request more than all else that the gateway does for it.
const GATHER: Duration = Duration::from_millis(10);

impl Writer {
    fn run(mut self, orders: &Receiver<Order>) {
        while let Some(order) = self.next(orders) {
            match order {
                Order::Write(record) => self.add(&record),
                Order::Flush(done) => {
                    self.write_out();
                    let _ = done.send(());
                }
                Order::Close => break,
            }
        }
        for order in orders.try_iter() {
            if let Order::Write(record) = order {
                self.add(&record);
            }
        }
        self.write_out();
    }

    /// The next order. Before it waits for one it writes out; what then comes first is given time to gather more.
    fn next(&mut self, orders: &Receiver<Order>) -> Option<Order> {
        orders.try_recv().ok().or_else(|| {
            self.write_out();
            let order = orders.recv().ok();
            if matches!(order, Some(Order::Write(_))) {
                thread::sleep(GATHER);
            }
            order
        })
    }

    fn add(&mut self, record: &Record) {
        line::append(record, self.sink.format(), &mut self.text);
        self.lines += 1;
        if self.text.len() >= BATCH {
            self.write_out();
        }
    }

    fn write_out(&mut self) {
        if self.text.is_empty() {
            return;
        }
        let written = self.sink.write(&self.text);
        match (&written, self.is_failing) {
            (Err(error), false) => {
                warn!(%error, "the access log can't be written; its lines are dropped")
            }
            (Ok(()), true) => info!("the access log is written again"),
            _ => {}
        }
        self.is_failing = written.is_err();
        if self.is_failing {
            self.dropped.inc_by(self.lines);
        }
        self.text.clear();
        self.lines = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::telemetry::record::tests::record;

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "Lines dropped.").unwrap()
    }

    fn path(name: &str) -> PathBuf {
        let name = format!("forebay-access-{name}-{}.jsonl", std::process::id());
        std::env::temp_dir().join(name)
    }

    fn numbered(n: usize) -> Record {
        let mut record = record();
        record.request_id = format!("r-{n}").into();
        record
    }

    #[test]
    fn closing_loses_no_line_and_keeps_their_order() {
        let (path, dropped) = (path("close"), counter());
        let log = AccessLog::open(Some(&path), dropped.clone()).unwrap();
        for n in 0..5000 {
            log.write(numbered(n).into());
        }
        log.close();
        log.close();
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), dropped.get()), (5000, 0));
        assert!(lines[4999].contains(r#""request_id":"r-4999""#));
    }

    #[test]
    fn a_flushed_line_is_in_the_file() {
        let path = path("flush");
        let log = AccessLog::open(Some(&path), counter()).unwrap();
        log.write(numbered(1).into());
        log.flush();
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn what_the_disk_cannot_take_is_counted_and_nobody_waits() {
        let dropped = counter();
        let log = AccessLog::open(Some(Path::new("/dev/full")), dropped.clone()).unwrap();
        for n in 0..10 {
            log.write(numbered(n).into());
        }
        log.flush();
        assert_eq!(dropped.get(), 10);
    }

    #[test]
    fn a_line_after_the_end_is_counted_as_dropped() {
        let dropped = counter();
        let log = AccessLog::open(Some(Path::new("/dev/null")), dropped.clone()).unwrap();
        log.close();
        log.write(numbered(1).into());
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn a_log_that_cannot_be_opened_says_so() {
        assert!(AccessLog::open(Some(Path::new("/dev/null/log")), counter()).is_err());
    }

    #[test]
    fn a_full_queue_drops_the_line_and_counts_it() {
        let dropped = counter();
        let (orders, _taken) = sync_channel(1);
        let log = AccessLog {
            orders,
            writer: Mutex::new(None),
            dropped: dropped.clone(),
        };
        log.write(numbered(1).into());
        log.write(numbered(2).into());
        assert_eq!(dropped.get(), 1);
    }
}
