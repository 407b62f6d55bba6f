//! A request is sent once, unless it never reached anybody; and each sending is an attempt that is written down.

use std::time::Duration;

use forebay::simulator::FaultKind;
use serde_json::{Value, json};

use crate::{
    harness::{CHAT, Harness, KEY, chat, status},
    scripted_upstream::{ReceivedRequest, ScriptedUpstream},
};

const ONE_THREAD: &str = "server: { threads: 1 }";
const ANSWER: &[u8] =
    br#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

/// A connection that has served a request and lies in the pool.
async fn pooled(upstream: &ScriptedUpstream, harness: &Harness) -> ReceivedRequest {
    let asking = tokio::spawn(harness.post(CHAT).json(&chat()).send());
    let mut call = upstream.call().await;
    call.answer("200 OK\r\ncontent-type: application/json", ANSWER)
        .await;
    assert_eq!(asking.await.unwrap().unwrap().status(), 200);
    call
}

fn outcomes(line: &Value) -> Vec<(&str, &str)> {
    let attempts = line["attempts"].as_array().unwrap().iter();
    attempts
        .map(|it| {
            (
                it["instance"].as_str().unwrap(),
                it["outcome"].as_str().unwrap(),
            )
        })
        .collect()
}

/// It had the request, and may have worked on it: that is no connection that was closed before.
#[tokio::test]
async fn a_pooled_connection_that_ends_after_a_while_is_not_tried_again() {
    let (upstream, harness) = ScriptedUpstream::harness(ONE_THREAD).await;
    let mut call = pooled(&upstream, &harness).await;
    let asking = tokio::spawn(harness.post(CHAT).json(&chat()).send());
    assert!(call.again().await);
    tokio::time::sleep(Duration::from_millis(800)).await;
    drop(call);
    assert_eq!(asking.await.unwrap().unwrap().status(), 200);
    let log = harness.log(2).await;
    assert_eq!(
        outcomes(&log[1]),
        [("puppet", "fault_reset"), ("well", "served")]
    );
}

#[tokio::test]
async fn a_pooled_connection_that_ends_inside_an_answer_is_not_tried_again() {
    let (upstream, harness) = ScriptedUpstream::harness(ONE_THREAD).await;
    for begun in ["HTTP/1.1 200 O", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let mut call = pooled(&upstream, &harness).await;
        let asking = tokio::spawn(harness.post(CHAT).json(&chat()).send());
        assert!(call.again().await);
        call.send(begun).await;
        drop(call);
        assert_eq!(asking.await.unwrap().unwrap().status(), 200);
    }
    let log = harness.log(4).await;
    for line in [&log[1], &log[3]] {
        assert_eq!(
            outcomes(line),
            [("puppet", "fault_reset"), ("well", "served")]
        );
    }
}

/// Whoever is slow may find the connection gone too late: it is tried until it was in time.
#[tokio::test]
async fn a_pooled_connection_that_was_closed_already_is_an_attempt_of_its_own_and_nobodys_fault() {
    let more = format!("{ONE_THREAD}\nbreaker: {{ faults: 1000 }}");
    let (upstream, harness) = ScriptedUpstream::harness(&more).await;
    for number in 1.. {
        let mut call = pooled(&upstream, &harness).await;
        let asking = tokio::spawn(harness.post(CHAT).json(&chat()).send());
        assert!(call.again().await);
        call.die();
        let mut asking = std::pin::pin!(asking);
        let served = tokio::select! {
            mut call = upstream.call() => {
                call.answer("200 OK\r\ncontent-type: application/json", ANSWER).await;
                asking.await
            }
            answer = &mut asking => answer,
        };
        assert_eq!(served.unwrap().unwrap().status(), 200);
        let log = harness.log(2 * number).await;
        let line = &log[2 * number - 1];
        if outcomes(line)[0].1 == "stale_connection" {
            let expected = [("puppet", "stale_connection"), ("puppet", "served")];
            assert_eq!(outcomes(line), expected);
            break;
        }
        assert!(number < 20, "{line}");
    }
    let metrics = harness.metrics().await;
    let labels = "deployment=\"puppet-gpt-4o\",instance=\"puppet\",model=\"gpt-4o\"";
    for line in [
        format!("forebay_attempts_total{{{labels},outcome=\"stale_connection\"}} 1"),
        format!("forebay_failovers_maybe_billed_total{{{labels}}} 0"),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

/// We don't repeat it, and neither is its client to do so by itself.
#[tokio::test]
async fn the_client_of_what_may_have_acted_is_told_not_to_retry() {
    let harness = Harness::open(&[("first", 1, 1), ("second", 2, 1)]).await;
    let body = json!({"model": "gpt-4o", "input": "Pay the bill.", "conversation": "conv_1"});
    for fault in [status(500, &[]), FaultKind::Reset {}] {
        harness.fault("first", fault);
        let request = harness.http.post(harness.url("/openai/v1/responses"));
        let request = request.header("api-key", KEY).json(&body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["x-should-retry"], "false");
        for name in ["retry-after", "retry-after-ms"] {
            assert!(!answer.headers().contains_key(name), "{name}");
        }
        let body: Value = answer.json().await.unwrap();
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains("before you send it again"), "{message}");
    }
    assert_eq!(harness.asked("second"), 0);
    let log = harness.log(2).await;
    assert_eq!(log[0]["refusal"], "may_have_acted");
    // Where nobody can have acted the wait is told, as ever.
    for name in ["first", "second"] {
        harness.fault(name, status(429, &[("retry-after", "1")]));
    }
    let request = harness.post("/openai/v1/responses").json(&body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["x-should-retry"], "true");
}
