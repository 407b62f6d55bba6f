//! The access log: one line per request, from its [`Record`].

mod line;

use std::{
    io::{self, IsTerminal},
    sync::Arc,
};

use super::{
    line_log::{LineLog, LogTarget, Script},
    metrics::Metrics,
    record::Record,
};
pub use line::Format;

/// The access log, and its name in metrics and messages.
pub type AccessLog = LineLog<Arc<Record>>;
pub const NAME: &str = "access";

/// To a file, or to stderr: text on a terminal, JSON elsewhere. Fails where the file can't be opened.
pub fn open(file: Option<LogTarget>, metrics: &Metrics) -> io::Result<AccessLog> {
    let metrics = metrics.log(NAME);
    match file {
        Some(place) => LineLog::file(NAME, place, Format::Json, metrics),
        None if io::stderr().is_terminal() => LineLog::stderr(NAME, Format::Text, metrics),
        None => LineLog::stderr(NAME, Format::Json, metrics),
    }
}

impl Script for Format {
    type Entry = Arc<Record>;

    fn append(&mut self, record: &Arc<Record>, text: &mut Vec<u8>) {
        Self::append(*self, record, text);
    }
}
