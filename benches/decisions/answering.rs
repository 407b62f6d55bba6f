//! What came of it: outcomes, streams as they pass, usage, costs.

use std::{hint::black_box, time::SystemTime};

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use forebay::domain::{
    answer::Answer,
    body_outcome::UnsettledAnswer,
    deployment::Capacity,
    outcome::Outcome,
    price::Served,
    route::Operation,
    usage::{self, Memo, Meter},
};
use http::StatusCode;
use serde_json::json;

use crate::samples;

pub(crate) fn judging(c: &mut Criterion) {
    let mut group = c.benchmark_group("judge_an_answer");
    let (now, headers) = (SystemTime::UNIX_EPOCH, samples::throttling());
    for (name, status) in [
        ("served", StatusCode::OK),
        ("throttled", StatusCode::TOO_MANY_REQUESTS),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| Outcome::of_response(status, black_box(&headers), now));
        });
    }
    group.finish();
}

/// A stream's head, until it is known what it means.
pub(crate) fn opening(c: &mut Criterion) {
    let head = samples::head_of("text/event-stream");
    let [filter, role] = samples::opening_events();
    let events = [filter, role, samples::output_event("")].map(Bytes::from);
    let now = SystemTime::UNIX_EPOCH;
    c.bench_function("open_a_stream", |b| {
        b.iter(|| {
            let opening =
                UnsettledAnswer::from_head(StatusCode::OK, &head, now).expect("it is a stream");
            let mut answer = Answer::opened(opening);
            let mut read =
                |event: &Bytes| answer.pass(black_box(event.clone()), false, now, None).1;
            events.iter().find_map(&mut read)
        });
    });
}

/// Reading what a stream used, an event of it, beside what watching it for errors costs.
pub(crate) fn metering_events(c: &mut Criterion) {
    usage::load_tokenizer();
    let mut group = c.benchmark_group("read_usage_of_event");
    let delta = concat!(
        "event: response.output_text.delta\n",
        r#"data: {"type":"response.output_text.delta","sequence_number":17,"item_id":"msg_67ccd3acc8d48190a77525dc6de64b4104becb25c45c1d41","output_index":0,"content_index":0,"delta":" water","logprobs":[],"obfuscation":"a1b2c3d4e5"}"#,
        "\n\n"
    );
    for (name, operation, event) in [
        (
            "chat_usage_null",
            Operation::ChatCompletions,
            samples::output_event(r#","usage":null"#),
        ),
        (
            "chat_without",
            Operation::ChatCompletions,
            samples::output_event(""),
        ),
        ("response_delta", Operation::Responses, delta.to_owned()),
    ] {
        let head = samples::head_of("text/event-stream");
        let (event, now) = (Bytes::from(event), SystemTime::UNIX_EPOCH);
        group.throughput(Throughput::Bytes(event.len() as u64));
        group.bench_function(format!("{name}/meter"), |b| {
            let mut meter = Meter::of(operation, StatusCode::OK, &head).expect("it can be read");
            let (mut answer, mut memo) = (Answer::default(), Memo::default());
            b.iter(|| {
                let meter = Some((&mut meter, &mut memo));
                answer.pass(black_box(event.clone()), false, now, meter)
            });
        });
        group.bench_function(format!("{name}/watch"), |b| {
            let opening =
                UnsettledAnswer::from_head(StatusCode::OK, &head, now).expect("it is a stream");
            let mut answer = Answer::opened(opening);
            answer.pass(event.clone(), false, now, None);
            b.iter(|| answer.pass(black_box(event.clone()), false, now, None));
        });
    }
    group.finish();
}

/// Reading what whole answers used.
pub(crate) fn metering_answers(c: &mut Criterion) {
    let mut group = c.benchmark_group("read_usage_of_answer");
    let floats: Vec<f64> = (0..60_000).map(|at| f64::from(at) * 1e-5 - 0.3).collect();
    let embeddings = json!({"data": [{"index": 0, "embedding": floats}], "usage": {"prompt_tokens": 8, "total_tokens": 8}});
    for (name, operation, answer) in [
        ("1KiB", Operation::ChatCompletions, samples::answer(700)),
        ("1MiB", Operation::ChatCompletions, samples::answer(1 << 20)),
        ("embeddings", Operation::Embeddings, embeddings.to_string()),
    ] {
        let head = samples::head_of("application/json");
        group.throughput(Throughput::Bytes(answer.len() as u64));
        group.bench_function(name, |b| {
            let mut memo = Memo::default();
            b.iter(|| {
                let meter = Meter::of(operation, StatusCode::OK, &head);
                let mut meter = meter.expect("it can be read");
                meter.read(black_box(answer.as_bytes()), &mut memo);
                meter.usage().expect("it says so")
            });
        });
    }
    group.finish();
}

/// Taking out of an event what its client did not ask for.
pub(crate) fn trimming(c: &mut Criterion) {
    let mut group = c.benchmark_group("trim_an_event");
    for (name, usage) in [("usage_null", r#","usage":null"#), ("without", "")] {
        let event = Bytes::from(samples::output_event(usage));
        group.throughput(Throughput::Bytes(event.len() as u64));
        group.bench_function(name, |b| {
            let mut answer = Answer::default();
            answer.trim_usage();
            let now = SystemTime::UNIX_EPOCH;
            b.iter(|| answer.pass(black_box(event.clone()), false, now, None));
        });
    }
    group.finish();
}

pub(crate) fn pricing(c: &mut Criterion) {
    let (prices, record) = (samples::prices(), samples::record());
    let model = record.model.expect("it has one");
    let usage = record.usage.expect("it has some");
    let served = Served {
        capacity: Capacity::Standard,
        is_spilled: false,
    };
    c.bench_function("price_an_answer", |b| {
        b.iter(|| prices.cost(black_box(&model), served, &usage));
    });
}
