//! One line a request, from its [`Record`].

mod line;
mod object;

use std::io::{self, IsTerminal};

use super::{
    line_log::{LineLog, Place, Script},
    metrics::{LogMetrics, Metrics},
    record::Record,
};
pub use line::Format;

/// Its name in metrics and messages.
pub const NAME: &str = "access";

/// Larger than most lines.
const LINE: usize = 1 << 10;

/// The access log. A line is made where its request ends, and written by the log's own thread: making it costs less than
/// having all that a record is made of freed by another thread than made it.
#[derive(Debug)]
pub struct AccessLog {
    lines: LineLog<Vec<u8>>,
    format: Format,
}

/// To a file, or to stderr: text on a terminal, JSON elsewhere. Fails where the file can't be opened.
pub fn open(file: Option<Place>, metrics: &Metrics) -> io::Result<AccessLog> {
    let (metrics, is_terminal) = (metrics.log(NAME), io::stderr().is_terminal());
    let format = match file {
        None if is_terminal => Format::Text,
        _ => Format::Json,
    };
    let lines = open_lines(file, metrics)?;
    Ok(AccessLog { lines, format })
}

fn open_lines(file: Option<Place>, metrics: LogMetrics) -> io::Result<LineLog<Vec<u8>>> {
    match file {
        Some(place) => LineLog::file(NAME, place, AsTheyAre, metrics),
        None => LineLog::stderr(NAME, AsTheyAre, metrics),
    }
}

impl AccessLog {
    /// Takes a request's line. Never waits: where the writer can't keep up it is dropped and counted.
    pub fn write(&self, record: &Record) {
        let mut line = Vec::with_capacity(LINE);
        self.format.append(record, &mut line);
        self.lines.write(line);
    }

    /// Waits until every line taken before is with the operating system. Not for the request path.
    pub fn flush(&self) {
        self.lines.flush();
    }

    /// Writes what was taken so far, and ends.
    pub fn close(&self) {
        self.lines.close();
    }
}

struct AsTheyAre;

impl Script for AsTheyAre {
    type Entry = Vec<u8>;

    fn append(&mut self, line: &Vec<u8>, text: &mut Vec<u8>) {
        text.extend_from_slice(line);
    }
}
