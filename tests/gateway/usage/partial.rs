//! Answers that do not come to their end: what passed is counted.

use forebay::simulator::FaultKind;
use futures_util::StreamExt;
use reqwest::Response;
use serde_json::json;

use super::{Tokens, estimated, harness};
use crate::{
    harness::{Harness, eventually},
    streams::over_each_protocol,
};

const CHAT: &str = "/openai/v1/chat/completions";

/// Of what passed the gateway, between what a client got and what a deployment sent, an estimate may be wrong by 40 %, and
/// by two tokens an answer.
pub(super) fn fits(estimate: u64, got: u64, sent: u64, answers: u64) -> bool {
    let slack = 2 * answers;
    estimate + slack >= got * 3 / 5 && estimate <= sent * 7 / 5 + slack
}

/// How many of its words a stream had brought: the simulator's tokens.
pub(super) fn words(stream: &str) -> u64 {
    let count = |what: &str| stream.matches(what).count() as u64;
    count("\"delta\":{\"content\":\"") - count("\"delta\":{\"content\":\"\"")
}

async fn stream(harness: &Harness, http: &reqwest::Client) -> Response {
    let body = json!({"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "Why do dams spill?"}]});
    let request = http
        .post(harness.url(CHAT))
        .header("api-key", crate::harness::KEY);
    request.json(&body).send().await.unwrap()
}

#[tokio::test]
async fn a_client_that_leaves_has_used_what_had_passed() {
    let harness = harness(
        &[("gpt-4o", "model: gpt-4o, output_tokens: { median: 4000 }")],
        "",
        "",
    )
    .await;
    harness.fault("only", FaultKind::SlowBody { delay_ms: 20 });
    for (number, http) in over_each_protocol().into_iter().enumerate() {
        let before = harness.stats("gpt-4o");
        let mut answer = stream(&harness, &http).await.bytes_stream();
        let mut text = String::new();
        while words(&text) < 40 {
            text += std::str::from_utf8(&answer.next().await.unwrap().unwrap()).unwrap();
        }
        drop((answer, http));
        let log = harness.log(number + 1).await;
        let (line, told) = (&log[number], Tokens::of_line(&log[number]));
        assert_eq!(
            (&line["end"], &line["usage"]["estimated"]),
            (&json!("client_left"), &json!(true))
        );
        eventually("the deployment knows", || {
            harness
                .simulator
                .stats()
                .deployment("only", "gpt-4o")
                .cancelled
                == number as u64 + 1
        })
        .await;
        let after = harness.stats("gpt-4o");
        let output = after.output() - before.output();
        assert!(output < 4_000, "it was sent to its end");
        assert!(
            fits(told.output(), words(&text), output, 1),
            "{told:?} for {output}"
        );
        let input = after.input() - before.input();
        assert!(
            fits(told.input(), input, input, 8),
            "{told:?} for {after:?}"
        );
    }
    assert_eq!(estimated(&harness.metrics_of(2).await, "client_left"), 2);
}

#[tokio::test]
async fn a_client_that_leaves_before_any_answer_has_used_its_prompt() {
    let harness = harness(&[("gpt-4o", "model: gpt-4o")], "", "").await;
    harness.fault("only", FaultKind::Hang {});
    let asked = tokio::spawn({
        let request = harness
            .post(CHAT)
            .json(&json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Why?"}]}));
        request.send()
    });
    eventually("it is asked", || harness.asked("only") == 1).await;
    asked.abort();
    let log = harness.log(1).await;
    let told = Tokens::of_line(&log[0]);
    assert!(
        told.input() > 0 && told.output() == 0 && log[0]["usage"]["estimated"] == true,
        "{}",
        log[0]
    );
}

#[tokio::test]
async fn a_stream_that_breaks_has_used_what_had_passed_unless_it_had_said_it() {
    let harness = harness(
        &[("gpt-4o", "model: gpt-4o, output_tokens: { median: 60 }")],
        "",
        "",
    )
    .await;
    // Filter, role, words; and with all but [DONE] of 64 events the usage too.
    for (number, (after_events, is_told)) in [(32, false), (64, true)].into_iter().enumerate() {
        harness.fault("only", FaultKind::CloseMidStream { after_events });
        let before = harness.stats("gpt-4o");
        let answer = stream(&harness, &harness.http).await;
        let text = answer.bytes_stream().map(|piece| piece.unwrap_or_default());
        let text: Vec<_> = text.collect().await;
        assert!(
            !String::from_utf8(text.concat())
                .unwrap()
                .contains("\"usage\"")
        );
        let log = harness.log(number + 1).await;
        let (line, told, after) = (
            &log[number],
            Tokens::of_line(&log[number]),
            harness.stats("gpt-4o"),
        );
        assert_eq!(
            (&line["end"], &line["usage"]["estimated"]),
            (&json!("broken"), &json!(!is_told)),
            "{line}"
        );
        let output = after.output() - before.output();
        if is_told {
            assert_eq!(told.output(), output, "{line}")
        } else {
            assert!(
                fits(told.output(), output, output, 1),
                "{line} for {output}"
            )
        }
    }
    assert_eq!(estimated(&harness.metrics_of(2).await, "broken"), 1);
}
