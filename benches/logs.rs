//! What a log's line costs a request: making it and handing it over, on the request's own thread, and writing it, on the log's.

use std::{
    collections::HashMap,
    fs,
    hint::black_box,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use criterion::{Criterion, criterion_group, criterion_main};
use forebay::{
    domain::{
        deployment::{Capacity, Priority},
        price::{Currency, ModelPrices, Price, Prices, Rates, Served},
        usage::{Tier, Usage},
    },
    telemetry::{
        access_log::{self, AccessLog, Format},
        line_log::{Place, Readers, Script},
        metrics::Metrics,
        record::{AttemptRecord, End, Record},
        usage_log,
    },
};
use http::{Method, Version};

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
                (0..batch).for_each(|_| log.write(&record));
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
                (0..BEAT).for_each(|_| log.write(&record));
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
    let place = Place {
        path,
        rotation: None,
        readers: Readers::Group,
    };
    access_log::open(Some(place), metrics).expect("the file can be written")
}

/// A stream that moved on once.
fn record() -> Record {
    let attempt = |instance: &str, outcome, status| AttemptRecord {
        instance: instance.into(),
        deployment: "gpt-4o-2024-11-20".into(),
        capacity: Capacity::Standard,
        priority: Priority::FIRST,
        outcome,
        may_be_billed: false,
        spilled_to: None,
        status: Some(status),
        began: Duration::ZERO,
        took: Duration::from_micros(20_123),
        span: None,
    };
    let usage = Usage {
        input: 1234,
        cached: 1024,
        output: 567,
        reasoning: 128,
        tier: Some(Tier::Default),
        ..Usage::default()
    };
    let price = |text| Price::parse(text).expect("it is a price");
    let standard = Rates {
        input: price("2.50"),
        output: price("10"),
        ..Rates::default()
    };
    let prices = Prices {
        currency: Currency::parse("EUR").expect("it is a currency"),
        models: HashMap::from([(
            "gpt-4o".into(),
            ModelPrices {
                standard,
                ..ModelPrices::default()
            },
        )]),
    };
    let served = Served {
        capacity: Capacity::Standard,
        is_spilled: false,
    };
    Record {
        arrived: SystemTime::now(),
        request_id: "0a1b2c3d-0a1b-4c3d-8e5f-0a1b2c3d4e5f".into(),
        trace: None,
        client: Some("chat-app".into()),
        model: Some("gpt-4o".into()),
        model_version: Some("2024-11-20".into()),
        operation: "chat/completions",
        stream: true,
        method: Some(Method::POST),
        path: Some("/openai/v1/chat/completions".into()),
        version: Version::HTTP_11,
        address: Some([10, 0, 3, 17].into()),
        client_address: Some([192, 0, 2, 1].into()),
        attempts: vec![
            attempt("sweden-ptu", "throttled", 429),
            attempt("sweden", "served", 200),
        ],
        refusal: None,
        detail: None,
        out_of_budget: false,
        status: Some(200),
        end: End::Complete,
        unreplayable: false,
        usage: Some(usage),
        guess: None,
        cost: prices.cost(&"gpt-4o".into(), served, &usage),
        request_bytes: 4096,
        response_bytes: 20_480,
        time_to_first_byte: Some(Duration::from_micros(241_507)),
        time_to_first_token: Some(Duration::from_micros(241_507)),
        duration: Duration::from_micros(1_900_333),
        overhead: Some(Duration::from_micros(121)),
    }
}
