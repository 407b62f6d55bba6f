//! What a log's line costs a request: handing it over, on the request's own thread, and making and writing it, on the log's.

#[path = "samples/mod.rs"]
mod samples;

use std::{
    fs,
    hint::black_box,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use criterion::{Criterion, criterion_group, criterion_main};
use forebay::{
    domain::{
        deployment::Capacity,
        price::Served,
        usage::{Tier, Usage},
    },
    telemetry::{
        access_log::{self, AccessLog, Format},
        line_log::{LogTarget, Readers, Script},
        metrics::Metrics,
        record::Record,
        usage_log,
    },
};

criterion_group!(logs, making, handing_over, altogether);
criterion_main!(logs);

/// So many lines are on their way at most, half of what may wait.
const BATCH: u64 = 4096;
/// As many as a busy gateway writes in ten milliseconds.
const BEAT: u64 = 100;

fn making(c: &mut Criterion) {
    let mut group = c.benchmark_group("make_a_line");
    let (record, mut text) = (Arc::new(record()), Vec::new());
    group.bench_function("access", |b| {
        b.iter(|| {
            text.clear();
            Format::Json.append(black_box(&record), &mut text);
        });
    });
    group.bench_function("usage", |b| {
        b.iter(|| {
            text.clear();
            usage_log::Lines.append(black_box(&record), &mut text);
        });
    });
    group.finish();
}

fn handing_over(c: &mut Criterion) {
    let (record, metrics) = (Arc::new(record()), Metrics::new());
    let log = open("/dev/null".into(), &metrics);
    c.bench_function("hand_a_line_over", |b| {
        b.iter_custom(|lines| {
            let (mut left, mut took) = (lines, Duration::ZERO);
            while left > 0 {
                let batch = left.min(BATCH);
                let started = Instant::now();
                (0..batch).for_each(|_| log.write(Arc::clone(&record)));
                took += started.elapsed();
                log.flush();
                left -= batch;
            }
            took
        });
    });
    assert_eq!(metrics.log(access_log::NAME).dropped.get(), 0);
}

/// The processor's time for a line of all threads together, at 10,000 lines a second into a file.
fn altogether(c: &mut Criterion) {
    let (record, metrics) = (Arc::new(record()), Metrics::new());
    let file = std::env::temp_dir().join(format!("forebay-bench-{}.jsonl", std::process::id()));
    let log = open(file.clone(), &metrics);
    let mut group = c.benchmark_group("processor_time_of_a_line");
    group.sample_size(10);
    group.bench_function("10000_a_second", |b| {
        b.iter_custom(|lines| {
            let (beats, before) = (lines.div_ceil(BEAT).max(100), processor_time());
            for _ in 0..beats {
                (0..BEAT).for_each(|_| log.write(Arc::clone(&record)));
                thread::sleep(Duration::from_millis(10));
            }
            log.flush();
            let took = processor_time() - before;
            took.mul_f64(lines as f64 / (beats * BEAT) as f64)
        });
    });
    group.finish();
    assert_eq!(metrics.log(access_log::NAME).dropped.get(), 0);
    let _ = fs::remove_file(file);
}

/// Of all this process's threads.
fn processor_time() -> Duration {
    let threads = fs::read_dir("/proc/self/task").expect("this is Linux");
    let nanos = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn open(path: std::path::PathBuf, metrics: &Metrics) -> AccessLog {
    let place = LogTarget {
        path,
        rotation: None,
        readers: Readers::Group,
    };
    access_log::open(Some(place), metrics).expect("the file can be written")
}

/// A stream that moved on once, in words as long as usual.
fn record() -> Record {
    let mut record = samples::record();
    record.arrived = SystemTime::now();
    record.request_id = "0a1b2c3d-0a1b-4c3d-8e5f-0a1b2c3d4e5f".into();
    record.client = Some("chat-app".into());
    record.operation = "chat/completions";
    record.path = Some("/openai/v1/chat/completions".into());
    for attempt in &mut record.attempts {
        attempt.deployment = "gpt-4o-2024-11-20".into();
        attempt.took = Duration::from_micros(20_123);
    }
    let usage = Usage {
        input: 1234,
        cached: 1024,
        output: 567,
        reasoning: 128,
        tier: Some(Tier::Default),
        ..Usage::default()
    };
    let served = Served {
        capacity: Capacity::Standard,
        is_spilled: false,
    };
    record.cost = samples::prices().cost(&"gpt-4o".into(), served, &usage);
    record.usage = Some(usage);
    (record.request_bytes, record.response_bytes) = (4096, 20_480);
    record.time_to_first_byte = Some(Duration::from_micros(241_507));
    record.time_to_first_token = record.time_to_first_byte;
    record.duration = Duration::from_micros(1_900_333);
    record
}
