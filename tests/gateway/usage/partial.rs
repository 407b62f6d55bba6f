//! Answers that do not come to their end: what passed is counted.

use forebay::simulator::FaultKind;
use futures_util::StreamExt;
use reqwest::Response;
use serde_json::json;

use super::{Tokens, estimated, house};
use crate::{
    house::{House, eventually},
    streams::over_each_protocol,
};

const CHAT: &str = "/openai/v1/chat/completions";

/// Estimates are this close to what a deployment counts: 40 %, and a few tokens of what was on its way.
pub(super) fn is_near(estimate: u64, counted: u64, on_its_way: u64) -> bool {
    estimate.abs_diff(counted) <= counted * 2 / 5 + on_its_way
}

async fn stream(house: &House, http: &reqwest::Client) -> Response {
    let body = json!({"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "Why do dams spill?"}]});
    let request = http
        .post(house.url(CHAT))
        .header("api-key", crate::house::KEY);
    request.json(&body).send().await.unwrap()
}

#[tokio::test]
async fn a_client_that_leaves_has_used_what_had_passed() {
    let house = house(
        &[("gpt-4o", "model: gpt-4o, output_tokens: { median: 4000 }")],
        "",
        "",
    )
    .await;
    house.fault("only", FaultKind::SlowBody { delay_ms: 20 });
    for (number, http) in over_each_protocol().into_iter().enumerate() {
        let before = house.books("gpt-4o");
        let mut answer = stream(&house, &http).await.bytes_stream();
        for _ in 0..40 {
            answer.next().await.unwrap().unwrap();
        }
        drop((answer, http));
        let log = house.log(number + 1).await;
        let (line, told) = (&log[number], Tokens::of_line(&log[number]));
        assert_eq!(
            (&line["end"], &line["usage"]["estimated"]),
            (&json!("client_left"), &json!(true))
        );
        eventually("the deployment knows", || {
            house
                .simulator
                .books()
                .deployment("only", "gpt-4o")
                .cancelled
                == number as u64 + 1
        })
        .await;
        let after = house.books("gpt-4o");
        let output = after.output() - before.output();
        assert!((20..400).contains(&output), "{output}");
        assert!(is_near(told.output(), output, 8), "{told:?} for {output}");
        assert!(
            is_near(told.input(), after.input() - before.input(), 20),
            "{told:?} for {after:?}"
        );
    }
    assert_eq!(estimated(&house.metrics_of(2).await, "client_left"), 2);
}

#[tokio::test]
async fn a_client_that_leaves_before_any_answer_has_used_its_prompt() {
    let house = house(&[("gpt-4o", "model: gpt-4o")], "", "").await;
    house.fault("only", FaultKind::Hang {});
    let asked = tokio::spawn({
        let request = house
            .post(CHAT)
            .json(&json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Why?"}]}));
        request.send()
    });
    eventually("it is asked", || house.asked("only") == 1).await;
    asked.abort();
    let log = house.log(1).await;
    let told = Tokens::of_line(&log[0]);
    assert!(
        told.input() > 0 && told.output() == 0 && log[0]["usage"]["estimated"] == true,
        "{}",
        log[0]
    );
}

#[tokio::test]
async fn a_stream_that_breaks_has_used_what_had_passed_unless_it_had_said_it() {
    let house = house(
        &[("gpt-4o", "model: gpt-4o, output_tokens: { median: 60 }")],
        "",
        "",
    )
    .await;
    // Filter, role, words; and with all but [DONE] of 64 events the usage too.
    for (number, (after_events, is_told)) in [(32, false), (64, true)].into_iter().enumerate() {
        house.fault("only", FaultKind::CloseMidStream { after_events });
        let before = house.books("gpt-4o");
        let answer = stream(&house, &house.http).await;
        let text = answer.bytes_stream().map(|piece| piece.unwrap_or_default());
        let text: Vec<_> = text.collect().await;
        assert!(
            !String::from_utf8(text.concat())
                .unwrap()
                .contains("\"usage\"")
        );
        let log = house.log(number + 1).await;
        let (line, told, after) = (
            &log[number],
            Tokens::of_line(&log[number]),
            house.books("gpt-4o"),
        );
        assert_eq!(
            (&line["end"], &line["usage"]["estimated"]),
            (&json!("broken"), &json!(!is_told)),
            "{line}"
        );
        let output = after.output() - before.output();
        match is_told {
            true => assert_eq!(told.output(), output, "{line}"),
            false => assert!(is_near(told.output(), output, 2), "{line} for {output}"),
        }
    }
    assert_eq!(estimated(&house.metrics_of(2).await, "broken"), 1);
}
