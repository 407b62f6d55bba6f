//! When a wait is over one request goes ahead. By the deployment's own word the others follow soon, whatever becomes of
//! that one; after a wait that was cut they wait for what it finds.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use forebay::simulator::{Fault, FaultKind};
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::harness::{Harness, eventually_async, served_by, status};

const MORE: &str = "breaker: { longest_pause: 1s }";

/// Its first deployment throttled once, its wait is over, and one request is there and gets no answer.
async fn one_went_ahead(seconds: &str) -> (Arc<Harness>, JoinHandle<()>) {
    let harness = Harness::open_with(&[("first", 1, 1), ("second", 2, 1)], MORE).await;
    let harness = Arc::new(harness);
    harness.fault("first", status(429, &[("retry-after", seconds)]));
    assert_eq!(served_by(&harness.chat().await), "second");
    let hang = Fault::from(FaultKind::Hang {}).times(1);
    harness
        .simulator
        .set_fault("first", None, Some(hang))
        .unwrap();
    let asking = Arc::clone(&harness);
    // Until the wait is over the second one answers; then one of these stays away.
    let ahead = tokio::spawn(async move {
        loop {
            asking.chat().await;
        }
    });
    eventually_async("one went ahead", async || harness.asked("first") == 2).await;
    (harness, ahead)
}

#[tokio::test]
async fn after_a_wait_that_was_told_the_others_follow_whatever_becomes_of_the_first() {
    let (harness, ahead) = one_went_ahead("1").await;
    eventually_async("another follows", async || {
        served_by(&harness.chat().await) == "first"
    })
    .await;
    ahead.abort();
}

#[tokio::test]
async fn after_a_wait_that_was_cut_nobody_follows_before_the_first_is_back() {
    let (harness, ahead) = one_went_ahead("86400").await;
    let ahead_since = Instant::now();
    while ahead_since.elapsed() < Duration::from_millis(1500) {
        let answers = join_all((0..4).map(|_| harness.chat())).await;
        assert!(answers.iter().all(|answer| served_by(answer) == "second"));
    }
    assert_eq!(harness.asked("first"), 2);
    // It gives up, and so found nothing out: another one goes, and is answered.
    ahead.abort();
    eventually_async("another follows", async || {
        served_by(&harness.chat().await) == "first"
    })
    .await;
}

#[tokio::test]
async fn one_that_is_throttled_again_keeps_everybody_away() {
    let harness = Harness::open_with(&[("first", 1, 1), ("second", 2, 1)], MORE).await;
    for (asked, seconds) in [(1, "86400"), (2, "60")] {
        harness.fault("first", status(429, &[("retry-after", seconds)]));
        eventually_async("it is asked again", async || {
            assert_eq!(served_by(&harness.chat().await), "second");
            harness.asked("first") == asked
        })
        .await;
        let answers = join_all((0..8).map(|_| harness.chat())).await;
        assert!(answers.iter().all(|answer| served_by(answer) == "second"));
        assert_eq!(harness.asked("first"), asked);
    }
}
