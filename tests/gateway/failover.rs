//! Deployments that throttle, close, reset, stay silent or are gone: the client notices nothing while another can serve.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use forebay::simulator::FaultKind;
use sha2::{Digest, Sha256};

use crate::harness::{
    CHAT, Harness, KEY, chat, chat_of, error_of, eventually, served_by, status, streamed, throttle,
};

/// How many requests are under way at once.
const WORKERS: u128 = 16;

/// One deployment answers 429 to everything, one closes after reading, one is healthy: of 1,000 requests none fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_lose_none_to_a_throttled_and_a_closing_deployment() {
    let harness =
        Arc::new(Harness::open(&[("throttled", 1, 1), ("closing", 1, 1), ("well", 1, 1)]).await);
    let wait = Duration::from_secs(2);
    harness.fault(
        "throttled",
        status(429, &[("retry-after-ms", "2000"), ("retry-after", "2")]),
    );
    harness.fault("closing", FaultKind::Close {});
    let started = Instant::now();
    // Alone at first, so that the throttled deployment is known before the crowd comes.
    while harness.asked("throttled") == 0 {
        assert_eq!(harness.chat().await.status(), 200);
    }

    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| tokio::spawn(worker(Arc::clone(&harness), Arc::clone(&next))))
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let windows = started.elapsed().as_millis() / wait.as_millis() + 1;
    let asked = harness.asked("throttled");
    // When its wait is over it is ready for everybody, so that each worker may ask it once before the first is answered.
    assert!(
        u128::from(asked) <= windows * WORKERS,
        "asked {asked} times in {windows} waits"
    );
    let elsewhere: u64 = ["throttled", "closing"]
        .map(|instance| harness.asked(instance))
        .iter()
        .sum();
    assert!(elsewhere > 0, "nothing ever failed over");
}

async fn worker(harness: Arc<Harness>, next: Arc<AtomicUsize>) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let size = match number {
            1000.. => return,
            _ if number.is_multiple_of(200) => 30 << 20,
            _ if number % 50 == 1 => 5 << 20,
            _ if number % 10 == 2 => 100 << 10,
            _ => 1 << 10,
        };
        ask(&harness, number, size).await;
    }
}

/// Every tenth is streamed. In what the deployment hashes its own name has replaced the model's, and a stream is asked for
/// its usage.
async fn ask(harness: &Harness, number: usize, size: usize) {
    let mut body = chat_of(size, number);
    let streamed = number % 10 == 5;
    if streamed {
        body.truncate(body.len() - 1);
        body.extend_from_slice(b",\"stream\":true}");
    }
    let expected =
        String::from_utf8(body.clone())
            .unwrap()
            .replacen("\"gpt-4o\"", "\"well-gpt-4o\"", 1);
    let asks = "{\"stream_options\":{\"include_usage\":true},";
    let expected = if streamed {
        expected.replacen('{', asks, 1)
    } else {
        expected
    };
    let expected: String = Sha256::digest(expected)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let response = harness.post(CHAT).body(body).send().await.unwrap();
    assert_eq!(response.status(), 200, "request {number} of {size} bytes");
    assert_eq!(
        response.headers()["x-simulator-body-sha256"],
        expected.as_str(),
        "request {number}"
    );
    let answer = response.text().await.unwrap();
    assert_eq!(answer.ends_with("data: [DONE]\n\n"), streamed, "{answer}");
}

#[tokio::test]
async fn each_way_to_fail_moves_on_to_the_next() {
    let harness = Harness::open_with(
        &[("bad", 1, 1), ("well", 2, 1)],
        "failover: { first_byte_timeout: 300ms }\nbreaker: { pause: 1ms, longest_pause: 1ms, ramp: 0s }",
    )
    .await;
    for fault in [
        status(408, &[]),
        status(500, &[]),
        status(502, &[]),
        status(503, &[]),
        status(504, &[]),
        status(401, &[]),
        status(403, &[]),
        FaultKind::Reset {},
        FaultKind::Close {},
        FaultKind::Hang {},
    ] {
        harness.fault("bad", fault.clone());
        let before = harness.asked("bad");
        let response = harness.chat().await;
        assert_eq!(
            (response.status().as_u16(), served_by(&response)),
            (200, "well".to_owned()),
            "{fault:?}"
        );
        // A refused token is renewed once, and then asked with again.
        assert!(harness.asked("bad") > before, "{fault:?}");
    }
    harness.fault("bad", None);
    harness.switch("bad", "down").await;
    assert_eq!(served_by(&harness.chat().await), "well");
    harness.switch("bad", "up").await;
    assert_eq!(served_by(&harness.chat().await), "bad");
}

#[tokio::test]
async fn what_is_the_callers_own_matter_is_delivered_unchanged() {
    let harness = Harness::open(&[("first", 1, 1), ("second", 2, 1)]).await;
    for code in [400, 409, 413, 422] {
        harness.fault("first", status(code, &[]));
        let response = harness.chat().await;
        assert_eq!(
            (response.status().as_u16(), harness.asked("second")),
            (code, 0)
        );
    }
}

#[tokio::test]
async fn the_first_priority_is_tried_again_soon_after_its_time_and_alone_until_then_left() {
    let harness = Harness::open(&[("ptu", 1, 1), ("std", 2, 1)]).await;
    harness.fault("ptu", throttle(1.5));
    let until = Instant::now() + Duration::from_millis(1500);
    assert_eq!(served_by(&harness.chat().await), "std");
    assert_eq!(harness.asked("ptu"), 1);
    loop {
        let asked_at = Instant::now();
        let server = served_by(&harness.chat().await);
        if server == "ptu" {
            let late = Instant::now().saturating_duration_since(until);
            assert!(late < Duration::from_secs(10), "{late:?} after its time");
            break;
        }
        // Asked before its time it would have been throttled again, and counted.
        assert!(
            asked_at < until + Duration::from_secs(10),
            "never tried again"
        );
        assert_eq!(harness.asked("ptu"), 1);
    }
}

#[tokio::test]
async fn when_all_are_throttled_the_client_learns_the_soonest_return() {
    let harness = Harness::open(&[("a", 1, 1), ("b", 2, 1)]).await;
    harness.fault("a", status(429, &[("retry-after-ms", "60000")]));
    harness.fault("b", status(429, &[("retry-after", "7")]));
    // The first is told after both were asked, the second without asking either.
    for _ in 0..2 {
        let response = harness.chat().await;
        let headers = response.headers().clone();
        error_of(response, 429, "429").await;
        let milliseconds: u64 = headers["retry-after-ms"].to_str().unwrap().parse().unwrap();
        assert!((1..=7000).contains(&milliseconds), "{milliseconds}");
        assert_eq!(
            headers["retry-after"].to_str().unwrap(),
            milliseconds.div_ceil(1000).to_string()
        );
    }
    assert_eq!((harness.asked("a"), harness.asked("b")), (1, 1));
}

#[tokio::test]
async fn when_all_fail_the_client_gets_503_and_is_told_when_to_come_back() {
    let harness = Harness::open(&[("a", 1, 1), ("b", 2, 1)]).await;
    harness.fault("a", FaultKind::Reset {});
    harness.switch("b", "down").await;
    let response = harness.chat().await;
    assert_eq!(
        (
            &response.headers()["retry-after"],
            &response.headers()["retry-after-ms"]
        ),
        (&"1".parse().unwrap(), &"1000".parse().unwrap())
    );
    let body = error_of(response, 503, "ServiceUnavailable").await;
    let told = body.to_string();
    assert!(
        !told.contains("127.0.0.1") && !told.contains("gpt-4o"),
        "{told}"
    );
}

#[tokio::test]
async fn a_deployment_that_failed_and_said_when_to_come_back_is_no_limit() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    harness.fault("only", status(503, &[("retry-after", "30")]));
    for _ in 0..2 {
        let response = harness.chat().await;
        let told: u64 = response.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=30).contains(&told), "{told}");
        error_of(response, 503, "ServiceUnavailable").await;
    }
    assert_eq!(harness.asked("only"), 1);
}

#[tokio::test]
async fn attempts_bound_faults() {
    let instances = [("a", 1, 1), ("b", 2, 1), ("c", 3, 1), ("d", 4, 1)];
    let harness = Harness::open_with(&instances, "failover: { attempts: 2 }").await;
    for (name, ..) in &instances[..3] {
        harness.fault(name, status(500, &[]));
    }
    // Two said the same: so does the gateway.
    error_of(harness.chat().await, 500, "InternalServerError").await;
    assert_eq!((harness.asked("b"), harness.asked("c")), (1, 0));
}

#[tokio::test]
async fn the_deadline_ends_a_request_that_nobody_answers() {
    let harness =
        Harness::open_with(&[("a", 1, 1), ("b", 2, 1)], "failover: { deadline: 400ms }").await;
    harness.fault("a", FaultKind::Hang {});
    harness.fault("b", FaultKind::Hang {});
    error_of(harness.chat().await, 504, "Timeout").await;
    assert_eq!((harness.asked("a"), harness.asked("b")), (1, 0));
}

#[tokio::test]
async fn a_pooled_connection_that_was_closed_meanwhile_is_nobodys_fault() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    assert_eq!(harness.chat().await.status(), 200);
    harness.switch("only", "down").await;
    harness.switch("only", "up").await;
    let answer = harness.chat().await;
    let log = harness.log(2).await;
    assert_eq!(answer.status(), 200, "{}", log[1]);
    assert_eq!(
        log[1]["attempts"].as_array().unwrap().len(),
        1,
        "{}",
        log[1]
    );
}

#[tokio::test]
async fn every_attempt_is_in_the_log_and_in_the_metrics() {
    let harness = Harness::open(&[("a", 1, 1), ("b", 2, 1), ("c", 3, 1)]).await;
    harness.fault("a", status(429, &[("retry-after", "60")]));
    harness.fault("b", FaultKind::Reset {});
    assert_eq!(harness.chat().await.status(), 200);
    let log = harness.log(1).await;
    let outcomes: Vec<_> = log[0]["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| attempt["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["throttled", "fault_reset", "served"]);
    let metrics = harness.metrics().await;
    for line in [
        "forebay_attempts_total{deployment=\"a-gpt-4o\",instance=\"a\",model=\"gpt-4o\",outcome=\"throttled\"} 1",
        "forebay_failovers_total{cause=\"fault_reset\",deployment=\"b-gpt-4o\",instance=\"b\",model=\"gpt-4o\"} 1",
        // A reset may be billed, a 429 never is.
        "forebay_failovers_maybe_billed_total{deployment=\"a-gpt-4o\",instance=\"a\",model=\"gpt-4o\"} 0",
        "forebay_failovers_maybe_billed_total{deployment=\"b-gpt-4o\",instance=\"b\",model=\"gpt-4o\"} 1",
        "forebay_requests_total{client=\"tests\",code=\"200\",model=\"gpt-4o\",operation=\"chat/completions\"} 1",
        "forebay_deployment_available{deployment=\"a-gpt-4o\",instance=\"a\",model=\"gpt-4o\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let status = harness.status().await;
    let first = &status["models"][0]["deployments"][0];
    assert_eq!(
        (&first["state"], &first["available"]),
        (&"open".into(), &false.into()),
        "{status}"
    );
    assert!(first["retry_in_seconds"].as_f64().unwrap() > 50.0);
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_deployment_at_once_and_counts_against_nobody() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    harness.fault("only", FaultKind::Hang {});
    let request = harness
        .http
        .post(harness.url(CHAT))
        .header("api-key", KEY)
        .json(&chat());
    let asking = tokio::spawn(request.send());
    eventually("the deployment was asked", || harness.asked("only") == 1).await;
    asking.abort();
    eventually("the deployment noticed", || {
        harness.seen("only")[0].cancelled
    })
    .await;
    let log = harness.log(1).await;
    assert_eq!(
        (&log[0]["status"], &log[0]["attempts"][0]["outcome"]),
        (&serde_json::Value::Null, &"client_left".into())
    );
    harness.fault("only", None);
    assert_eq!(
        harness
            .post(CHAT)
            .json(&streamed())
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}
