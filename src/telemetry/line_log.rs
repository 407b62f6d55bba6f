//! A log of lines, written off the request path: the machine behind the access log, the usage records and the prompt log.
//!
//! A request hands an entry over and goes on: it never waits for the disk. A thread of the log's own turns entries into
//! lines and writes them. When it can't keep up, lines are dropped and counted, never requests held up. Closing the log, or
//! dropping it, writes every line that was taken.

mod file;

use std::{
    io::{self, Write},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;
use tracing::{error, info};

use super::metrics::LogMetrics;
use file::{LogFile, Lost, Now};
pub use file::{LogTarget, Readers};

/// Entries that may wait for the writer: half a second of a busy gateway, and a few megabytes.
const WAITING: usize = 8192;
/// So much text is written at once while entries keep coming.
const BATCH: usize = 64 << 10;
/// How long the first entry after a pause waits for others. Waking the writer for each of them would cost a
/// request more than all else that the gateway does for it.
const GATHER: Duration = Duration::from_millis(10);

/// How a log's entries become lines.
pub trait Script: Send + 'static {
    type Entry: Send + 'static;

    /// Appends the entry's line, its line break included. No other line break is in it.
    fn append(&mut self, entry: &Self::Entry, text: &mut Vec<u8>);
}

/// Appends what `write` writes, and a line break. Writing into memory can't fail; half a line must not stay all the same.
pub(super) fn append_line<E>(
    text: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) {
    let before = text.len();
    match write(text) {
        Ok(()) => text.push(b'\n'),
        Err(_) => text.truncate(before),
    }
}

enum Order<E> {
    Write(E),
    /// Write out what came before, then answer.
    Flush(SyncSender<()>),
    Close,
}

/// A log: shared by all requests, closed once at the end.
#[derive(Debug)]
pub struct LineLog<E> {
    orders: SyncSender<Order<E>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    metrics: LogMetrics,
}

impl<E: Send + 'static> LineLog<E> {
    /// To a file that is appended to. `name` is the log's in metrics and messages. Fails where the file can't be opened.
    pub fn file<S: Script<Entry = E>>(
        name: &'static str,
        place: LogTarget,
        script: S,
        metrics: LogMetrics,
    ) -> io::Result<Self> {
        let sink = Sink::File(Box::new(LogFile::open(place)?));
        Self::start(name, sink, script, WAITING, metrics)
    }

    /// To stderr.
    pub fn stderr<S: Script<Entry = E>>(
        name: &'static str,
        script: S,
        metrics: LogMetrics,
    ) -> io::Result<Self> {
        Self::start(name, Sink::Stderr, script, WAITING, metrics)
    }

    fn start<S: Script<Entry = E>>(
        name: &'static str,
        sink: Sink,
        script: S,
        waiting: usize,
        metrics: LogMetrics,
    ) -> io::Result<Self> {
        let (orders, taken) = sync_channel(waiting);
        let writer = Writer {
            name,
            sink,
            script,
            text: Vec::new(),
            metrics: metrics.clone(),
            is_failing: false,
        };
        let thread = thread::Builder::new().name(format!("{name}-log"));
        let writer = thread.spawn(move || writer.run(&taken))?;
        Ok(Self {
            orders,
            writer: Mutex::new(Some(writer)),
            metrics,
        })
    }

    /// Takes an entry. Never waits: where the writer can't keep up the line is dropped and counted.
    pub fn write(&self, entry: E) {
        match self.orders.try_send(Order::Write(entry)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.drop_line(),
        }
    }

    /// Counts a line that is not even tried.
    pub(super) fn drop_line(&self) {
        self.metrics.dropped.inc();
    }

    /// Waits until every line taken before is with the operating system. Not for the request path.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.orders.send(Order::Flush(done)).is_ok() {
            let _ = wait.recv();
        }
    }
}

impl<E> LineLog<E> {
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

impl<E> Drop for LineLog<E> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Where lines go.
enum Sink {
    Stderr,
    File(Box<LogFile>),
}

impl Sink {
    /// Hands whole lines to the operating system.
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        match self {
            Self::Stderr => io::stderr().lock().write_all(lines).map_err(|error| Lost {
                lines: memchr::memchr_iter(b'\n', lines).count() as u64,
                error,
            }),
            Self::File(file) => file.write(lines, Now::get()),
        }
    }

    /// How long until something has to be done without a line to write.
    fn time_left(&self) -> Option<Duration> {
        match self {
            Self::Stderr => None,
            Self::File(file) => file.time_left(Now::get()),
        }
    }

    fn do_what_is_due(&mut self) {
        if let Self::File(file) = self {
            file.rotate_if_over(Now::get());
        }
    }
}

/// What the log's thread works with.
struct Writer<S> {
    name: &'static str,
    sink: Sink,
    script: S,
    /// Lines not yet written out.
    text: Vec<u8>,
    metrics: LogMetrics,
    is_failing: bool,
}

impl<S: Script> Writer<S> {
    fn run(mut self, orders: &Receiver<Order<S::Entry>>) {
        while let Some(order) = self.next(orders) {
            match order {
                Order::Write(entry) => self.add(&entry),
                Order::Flush(done) => {
                    self.write_out();
                    let _ = done.send(());
                }
                Order::Close => break,
            }
        }
        for order in orders.try_iter() {
            if let Order::Write(entry) = order {
                self.add(&entry);
            }
        }
        self.write_out();
    }

    /// The next order. Before it waits for one it writes out; what then comes first is given time to gather more.
    fn next(&mut self, orders: &Receiver<Order<S::Entry>>) -> Option<Order<S::Entry>> {
        orders.try_recv().ok().or_else(|| {
            self.write_out();
            let order = self.wait(orders);
            if matches!(order, Some(Order::Write(_))) {
                thread::sleep(GATHER);
            }
            order
        })
    }

    /// Waits for an order, and does meanwhile what is due without one.
    fn wait(&mut self, orders: &Receiver<Order<S::Entry>>) -> Option<Order<S::Entry>> {
        while let Some(left) = self.sink.time_left() {
            match orders.recv_timeout(left) {
                Ok(order) => return Some(order),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.sink.do_what_is_due(),
            }
        }
        orders.recv().ok()
    }

    fn add(&mut self, entry: &S::Entry) {
        self.script.append(entry, &mut self.text);
        if self.text.len() >= BATCH {
            self.write_out();
        }
    }

    fn write_out(&mut self) {
        if self.text.is_empty() {
            return;
        }
        let (log, written) = (self.name, self.sink.write(&self.text));
        match (&written, self.is_failing) {
            (Err(Lost { error, .. }), false) => {
                error!(event = "log_failing", log, %error, "could not write a log: its lines are lost, requests are not affected; check free disk space and the file's owner and mode")
            }
            (Ok(()), true) => info!(event = "log_recovered", log, "the log can be written again"),
            _ => {}
        }
        self.is_failing = written.is_err();
        self.metrics.failing.set(self.is_failing.into());
        if let Err(lost) = written {
            self.metrics.dropped.inc_by(lost.lines);
        }
        self.text.clear();
        // One large entry must not hold its memory for ever.
        self.text.shrink_to(4 * BATCH);
    }
}

#[cfg(test)]
mod tests;
