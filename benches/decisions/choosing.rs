//! Whether a request may go on, and where to.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion};
use forebay::domain::{
    breaker::{Breaker, Settings},
    deployment::{Bounds, Kind},
    failover::{Progress, Repeat},
    name::ModelName,
    outcome::Outcome,
    pool::Pool,
    quota::{Output, Spent},
    route::{self, Dialect, Operation},
    trace::{Sampling, Trace},
};

use crate::samples;

/// Admitting a request against every limit there is, its client's and those with the model, telling what is left, and
/// settling.
pub(crate) fn limiting(c: &mut Criterion) {
    let mut group = c.benchmark_group("admit_and_settle");
    let model = ModelName::from("gpt-4o");
    for count in [1, 10_000] {
        for (what, models) in [("own", vec![]), ("own_and_model", vec![model.clone()])] {
            let clients: Vec<_> = (0..count)
                .map(|number| samples::limited(number, &models))
                .collect();
            let quotas = samples::quotas(&clients);
            group.bench_function(BenchmarkId::new(what, count), |b| {
                b.iter(|| {
                    let client = &clients[fastrand::usize(..clients.len())];
                    let mut allowance = quotas.allowance_for(&client.name).expect("it has limits");
                    let mut reservation = allowance.enter(samples::moment()).expect(samples::ROOM);
                    allowance
                        .ask_model(&mut reservation, &model, samples::moment())
                        .expect(samples::ROOM);
                    reservation
                        .reserve(black_box(100), Output::AtMost(400), samples::moment())
                        .expect(samples::ROOM);
                    let left = allowance.left(samples::moment());
                    let (total, output) = (300, 200);
                    reservation.settle(
                        Spent::Tokens {
                            total,
                            answer: Some(output),
                        },
                        samples::moment(),
                    );
                    left
                });
            });
        }
    }
    group.finish();
}

/// Choosing a deployment, judging how it went, and keeping the books of both.
pub(crate) fn choosing(c: &mut Criterion) {
    let mut group = c.benchmark_group("choose_and_judge");
    for (out, percent) in [
        ("all_ready", 0),
        ("a_tenth_out", 10),
        ("nine_tenths_out", 90),
    ] {
        for count in [3, 100, 1000] {
            let (pool, now) = (Arc::new(samples::pool_of(count)), Instant::now());
            // Of three, none and two.
            throttle(&pool, count as usize * percent / 100, now);
            group.bench_function(BenchmarkId::new(out, count), |b| {
                b.iter(|| {
                    let draw = fastrand::u64(..);
                    let mut attempt = pool.choose(&[], now, draw).expect("some are ready");
                    pool.budget().note_request(now);
                    attempt.judge(&Outcome::Served, now, draw)
                });
            });
        }
    }
    group.finish();
}

/// Puts so many of a pool out, spread all over it.
fn throttle(pool: &Arc<Pool>, count: usize, now: Instant) {
    let (wait, size) = (Duration::from_secs(100), pool.members().len());
    for number in 0..count {
        let index = number * size / count;
        let others: Vec<usize> = (0..size).filter(|other| *other != index).collect();
        let attempt = pool.choose(&others, now, 0);
        let mut attempt = attempt.expect("it is ready");
        attempt.judge(&Outcome::Throttled { wait: Some(wait) }, now, 0);
    }
}

/// Letting an attempt through, and taking in how it ended.
pub(crate) fn breaking(c: &mut Criterion) {
    let (mut breaker, now) = (Breaker::new(Settings::default()), Instant::now());
    c.bench_function("pass_a_breaker", |b| {
        b.iter(|| {
            let pass = breaker.pass(black_box(now)).expect("it is closed");
            breaker.note(pass, &Outcome::Served, now, 7)
        });
    });
}

/// What follows a throttled attempt, and the one after it.
pub(crate) fn moving_on(c: &mut Criterion) {
    let (bounds, now) = (Bounds::default(), Instant::now());
    let wait = Duration::from_secs(7);
    c.bench_function("move_on_once", |b| {
        b.iter(|| {
            let mut progress = Progress::new(now, Repeat::Harmless);
            progress.start(0);
            progress.after(
                black_box(&Outcome::Throttled { wait: Some(wait) }),
                &bounds,
                true,
                now,
            );
            progress.start(1);
            progress.after(black_box(&Outcome::Served), &bounds, true, now)
        });
    });
}

/// The path an attempt goes by, and the headers that go along.
pub(crate) fn rewriting(c: &mut Criterion) {
    let call = (Dialect::Classic, Operation::ChatCompletions);
    c.bench_function("outgoing_path", |b| {
        let query = "api-version=2024-10-21";
        b.iter(|| route::outgoing(call, Kind::AzureOpenai, "", "gpt-4o-eu", black_box(query)));
    });
    let (forwarding, headers) = (samples::forwarding(), samples::headers());
    let trace = Trace::begin(&headers, Sampling::from_share(1.0), 7, 7);
    let mut group = c.benchmark_group("choose_headers");
    for (name, trace) in [("plain", None), ("traced", Some(&trace))] {
        group.bench_function(name, |b| {
            b.iter(|| forwarding.choose(black_box(&headers), trace));
        });
    }
    group.finish();
}
