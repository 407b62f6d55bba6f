//! What each decision and each reader on a request's way costs by itself, and whether that grows with the config.
//!
//! Reading order: `arriving` (who asks, and what), `choosing` (where it goes), `answering` (what came of it), `telling`
//! (metrics; the logs have a bench of their own).

#[path = "../samples/mod.rs"]
mod samples;

mod answering;
mod arriving;
mod choosing;
mod telling;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    decisions,
    arriving::heads,
    arriving::routing,
    arriving::identifying,
    arriving::recalling,
    arriving::reading,
    arriving::estimating,
    choosing::limiting,
    choosing::choosing,
    choosing::breaking,
    choosing::moving_on,
    choosing::rewriting,
    answering::judging,
    answering::opening,
    answering::metering_events,
    answering::metering_answers,
    answering::trimming,
    answering::pricing,
    telling::accounting,
    telling::scraping,
);
criterion_main!(decisions);
