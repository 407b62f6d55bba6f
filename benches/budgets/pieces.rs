//! The pieces, each ready to be counted: what is made at the first time is there, and what it decides about is at hand.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use forebay::{
    domain::{
        answer::Answer,
        ask::{Ask, Scan},
        body_outcome::UnsettledAnswer,
        breaker::{Breaker, Settings},
        client::credential::Credential,
        deployment::{Bounds, Capacity, Kind},
        failover::{Progress, Repeat},
        head::{self as heads, Search},
        name::ModelName,
        outcome::Outcome,
        price::Served,
        quota::{Output, Spent},
        route::{self as routes, Dialect, Operation},
        trace::{Sampling, Trace},
        usage::{Memo, Meter},
    },
    telemetry::{access_log::Format, line_log::Script, metrics::Metrics, usage_log},
};
use http::{Method, StatusCode};

use crate::samples;

const EVENTS: usize = 100;
const MAX_HEAD: usize = 32 << 10;
/// Of all draws the same.
const DRAW: u64 = u64::MAX / 3;

pub(crate) struct Piece(Box<dyn FnMut()>);

impl Piece {
    fn of<T>(mut work: impl FnMut() -> T + 'static) -> Self {
        let mut piece = Self(Box::new(move || drop(black_box(work()))));
        // Buffers grow and tables are filled before.
        piece.work();
        piece.work();
        piece
    }

    pub(crate) fn work(&mut self) {
        (self.0)();
    }
}

pub(crate) fn head() -> Piece {
    Piece::of(|| {
        let bytes = black_box(samples::HEAD);
        let end = Search::default().end(bytes, MAX_HEAD);
        (end, heads::read(bytes, MAX_HEAD).expect("it is one"))
    })
}

pub(crate) fn head_of_http2() -> Piece {
    let headers = samples::headers();
    Piece::of(move || {
        let path = b"/openai/v1/chat/completions";
        heads::check(&Method::POST, path, black_box(&headers), MAX_HEAD).expect("it is one")
    })
}

pub(crate) fn front_door() -> Piece {
    let (door, headers) = (samples::front_door(), samples::headers());
    let from = Some([10, 0, 0, 7].into());
    let path = "/openai/v1/chat/completions";
    Piece::of(move || {
        door.admit(path, from, black_box(&headers))
            .expect("it came through")
    })
}

pub(crate) fn route(path: &'static str) -> Piece {
    Piece::of(move || routes::route(&Method::POST, black_box(path)).is_ok())
}

pub(crate) fn key() -> Piece {
    let (clients, headers) = (samples::clients(10_000), samples::headers());
    Piece::of(move || {
        let credential = Credential::from_request(black_box(&headers), None).expect("there is one");
        Arc::clone(clients.by_key(credential.as_bytes()).expect("it is known"))
    })
}

pub(crate) fn certificate() -> Piece {
    let (clients, certificate) = (samples::clients(10_000), samples::certificate(5_000));
    Piece::of(move || {
        let found = clients.by_certificate(black_box(&certificate), SystemTime::UNIX_EPOCH);
        Arc::clone(found.expect("it is valid").expect("it is known"))
    })
}

pub(crate) fn ask(size: usize) -> Piece {
    let body = samples::chat(size);
    Piece::of(move || {
        Ask::read(Some("application/json"), black_box(body.as_bytes())).expect("it is a chat")
    })
}

/// The same where a limit wants to know how many tokens the prompt is: in one pass.
pub(crate) fn ask_and_estimate(size: usize) -> Piece {
    let body = samples::chat(size);
    Piece::of(move || {
        let scan = Scan::default().sizing(Operation::ChatCompletions);
        let read = Ask::read_by(scan, Some("application/json"), black_box(body.as_bytes()));
        let (ask, scan) = read.expect("it is a chat");
        (ask, scan.and_then(|scan| scan.prompt_tokens()))
    })
}

/// Against every limit there is, the client's own and those with the model, telling what is left.
pub(crate) fn admit_and_settle() -> Piece {
    let model = ModelName::from("gpt-4o");
    let clients = [samples::limited(0, std::slice::from_ref(&model))];
    let quotas = samples::quotas(&clients);
    // The clock stands still: what a minute's end costs is no request's.
    let now = samples::moment();
    Piece::of(move || {
        let mut allowance = quotas
            .allowance_for(&clients[0].name)
            .expect("it has limits");
        let mut reservation = allowance.enter(now).expect(samples::ROOM);
        allowance
            .ask_model(&mut reservation, &model, now)
            .expect(samples::ROOM);
        reservation
            .reserve(black_box(100), Output::AtMost(400), now)
            .expect(samples::ROOM);
        let left = allowance.left(now);
        let (total, output) = (300, 200);
        reservation.settle(
            Spent::Tokens {
                total,
                answer: Some(output),
            },
            now,
        );
        left
    })
}

pub(crate) fn choose(count: u32) -> Piece {
    let (pool, now) = (Arc::new(samples::pool_of(count)), Instant::now());
    Piece::of(move || {
        let mut attempt = pool.choose(&[], now, DRAW).expect("all are ready");
        pool.budget().note_request(now);
        attempt.judge(&Outcome::Served, now, DRAW)
    })
}

pub(crate) fn breaker() -> Piece {
    let (mut breaker, now) = (Breaker::new(Settings::default()), Instant::now());
    Piece::of(move || {
        let pass = breaker.pass(black_box(now)).expect("it is closed");
        breaker.note(pass, &Outcome::Served, now, DRAW)
    })
}

pub(crate) fn progress() -> Piece {
    let (bounds, now) = (Bounds::default(), Instant::now());
    let wait = Duration::from_secs(7);
    Piece::of(move || {
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
    })
}

pub(crate) fn outgoing() -> Piece {
    let call = (Dialect::Classic, Operation::ChatCompletions);
    Piece::of(move || {
        let query = black_box("api-version=2024-10-21");
        routes::outgoing(call, Kind::AzureOpenai, "", "gpt-4o-eu", query)
    })
}

pub(crate) fn forwarding() -> Piece {
    let (forwarding, headers) = (samples::forwarding(), samples::headers());
    let trace = Trace::begin(&headers, Sampling::from_share(1.0), 7, 7);
    Piece::of(move || forwarding.choose(black_box(&headers), Some(&trace)))
}

pub(crate) fn outcome(status: u16) -> Piece {
    let headers = samples::throttling();
    let status = StatusCode::from_u16(status).expect("it is one");
    Piece::of(move || Outcome::of_response(status, black_box(&headers), SystemTime::UNIX_EPOCH))
}

/// A stream's head, until it is known what it means.
pub(crate) fn opening() -> Piece {
    let head = samples::head_of("text/event-stream");
    let [filter, role] = samples::opening_events();
    let events = [filter, role, samples::output_event("")].map(Bytes::from);
    let now = SystemTime::UNIX_EPOCH;
    Piece::of(move || {
        let opening =
            UnsettledAnswer::from_head(StatusCode::OK, &head, now).expect("it is a stream");
        let mut answer = Answer::opened(opening);
        let mut read = |event: &Bytes| answer.pass(black_box(event.clone()), false, now, None).1;
        let verdict = events.iter().find_map(&mut read);
        verdict.expect("there is output")
    })
}

/// A stream that has been committed to.
fn watched(event: &str) -> Answer {
    let (head, now) = (
        samples::head_of("text/event-stream"),
        SystemTime::UNIX_EPOCH,
    );
    let opening = UnsettledAnswer::from_head(StatusCode::OK, &head, now).expect("it is a stream");
    let mut answer = Answer::opened(opening);
    answer.pass(event.to_owned().into(), false, now, None);
    answer
}

fn meter() -> Meter {
    let head = samples::head_of("text/event-stream");
    let meter = Meter::of(Operation::ChatCompletions, StatusCode::OK, &head);
    meter.expect("it can be read")
}

/// Hundred times the same event, read by the meter too where there is one.
fn events_of(mut answer: Answer, mut meter: Option<Meter>, usage: &str) -> Piece {
    let (event, mut memo) = (Bytes::from(samples::output_event(usage)), Memo::default());
    Piece::of(move || {
        for _ in 0..EVENTS {
            let (event, meter) = (event.clone(), meter.as_mut());
            let meter = meter.map(|meter| (meter, &mut memo));
            drop(black_box(answer.pass(
                black_box(event),
                false,
                SystemTime::UNIX_EPOCH,
                meter,
            )));
        }
    })
}

/// What is looked for in a stream that has been committed to.
pub(crate) fn watch() -> Piece {
    events_of(watched(&samples::output_event("")), None, "")
}

pub(crate) fn stream_usage() -> Piece {
    events_of(Answer::default(), Some(meter()), r#","usage":null"#)
}

pub(crate) fn trim() -> Piece {
    let mut answer = Answer::default();
    answer.trim_usage();
    events_of(answer, None, r#","usage":null"#)
}

/// All that is done to a chat's stream whose usage only the gateway has asked for.
pub(crate) fn stream() -> Piece {
    let usage = r#","usage":null"#;
    let mut answer = watched(&samples::output_event(usage));
    answer.trim_usage();
    events_of(answer, Some(meter()), usage)
}

pub(crate) fn answer_usage(size: usize) -> Piece {
    let (head, answer) = (samples::head_of("application/json"), samples::answer(size));
    let mut memo = Memo::default();
    Piece::of(move || {
        let meter = Meter::of(Operation::ChatCompletions, StatusCode::OK, &head);
        let mut meter = meter.expect("it can be read");
        meter.read(black_box(answer.as_bytes()), &mut memo);
        meter.usage().expect("it says so")
    })
}

pub(crate) fn price() -> Piece {
    let (prices, record) = (samples::prices(), samples::record());
    let model = record.model.expect("it has one");
    let usage = record.usage.expect("it has some");
    let served = Served {
        capacity: Capacity::Standard,
        is_spilled: false,
    };
    Piece::of(move || {
        prices
            .cost(black_box(&model), served, &usage)
            .expect("it has a price")
    })
}

/// A request whose like has been counted before.
pub(crate) fn account() -> Piece {
    let (metrics, record) = (Metrics::new(), samples::record());
    Piece::of(move || metrics.account(black_box(&record)))
}

pub(crate) fn log_line() -> Piece {
    let (record, mut text) = (Arc::new(samples::record()), Vec::new());
    Piece::of(move || {
        text.clear();
        Format::Json.append(black_box(&record), &mut text);
    })
}

pub(crate) fn usage_line() -> Piece {
    let (record, mut text) = (Arc::new(samples::record()), Vec::new());
    Piece::of(move || {
        text.clear();
        usage_log::Lines.append(black_box(&record), &mut text);
    })
}
