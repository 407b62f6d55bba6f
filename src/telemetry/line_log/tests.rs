//! What a log keeps, drops and says.

use std::{
    fs,
    path::{Path, PathBuf},
};

use prometheus::{IntCounter, IntGauge};

use super::*;

/// A line is its entry.
struct Plain;

impl Script for Plain {
    type Entry = String;

    fn append(&mut self, entry: &String, text: &mut Vec<u8>) {
        text.extend_from_slice(entry.as_bytes());
        text.push(b'\n');
    }
}

fn metrics() -> LogMetrics {
    LogMetrics {
        dropped: IntCounter::new("dropped", "Lines dropped.").unwrap(),
        failing: IntGauge::new("failing", "Whether it is failing.").unwrap(),
    }
}

fn path(name: &str) -> PathBuf {
    let name = format!("forebay-lines-{name}-{}.jsonl", std::process::id());
    std::env::temp_dir().join(name)
}

fn open(path: &Path, metrics: &LogMetrics) -> io::Result<LineLog<String>> {
    let place = LogTarget {
        path: path.to_owned(),
        rotation: None,
        readers: Readers::Group,
    };
    LineLog::file("test", place, Plain, metrics.clone())
}

#[test]
fn closing_loses_no_line_and_keeps_their_order() {
    let (path, metrics) = (path("close"), metrics());
    let log = open(&path, &metrics).unwrap();
    for n in 0..5000 {
        log.write(format!("line {n}"));
    }
    log.close();
    log.close();
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), metrics.dropped.get()), (5000, 0));
    assert_eq!(lines[4999], "line 4999");
}

#[test]
fn a_flushed_line_is_in_the_file() {
    let path = path("flush");
    let log = open(&path, &metrics()).unwrap();
    log.write("1".into());
    log.flush();
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(text, "1\n");
}

#[test]
fn what_the_disk_cannot_take_is_counted_and_nobody_waits() {
    let metrics = metrics();
    let log = open(Path::new("/dev/full"), &metrics).unwrap();
    for n in 0..10 {
        log.write(n.to_string());
    }
    log.flush();
    assert_eq!((metrics.dropped.get(), metrics.failing.get()), (10, 1));
}

#[test]
fn a_line_after_the_end_is_counted_as_dropped() {
    let metrics = metrics();
    let log = open(Path::new("/dev/null"), &metrics).unwrap();
    log.close();
    log.write("1".into());
    assert_eq!(metrics.dropped.get(), 1);
}

#[test]
fn a_log_that_cannot_be_opened_says_so() {
    assert!(open(Path::new("/dev/null/log"), &metrics()).is_err());
}

#[test]
fn a_full_queue_drops_the_line_and_counts_it() {
    let metrics = metrics();
    let (orders, _taken) = sync_channel(1);
    let log = LineLog {
        orders,
        writer: Mutex::new(None),
        metrics: metrics.clone(),
    };
    log.write("1");
    log.write("2");
    assert_eq!(metrics.dropped.get(), 1);
}
