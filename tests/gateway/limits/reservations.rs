//! What requests are taken to cost that nobody can know before, or that never say it.

use std::time::Duration;

use forebay::simulator::FaultKind;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};

use super::{LIMITED, ask, limited, remaining, send};
use crate::{
    harness::{Harness, chat, error_of, eventually_async, status},
    http1_client::RawConnection,
    realtime::handshake,
};

const RESPONSES: &str = "/openai/v1/responses";
const COMPLETIONS: &str = "/openai/v1/completions";

async fn harness(limits: &str) -> Harness {
    Harness::open_with(&[("a", 1, 1)], &limited(limits)).await
}

/// An answer of a response that has come so far, without a word of what it used.
fn response(status: &str) -> FaultKind {
    let body =
        json!({"id": "r", "object": "response", "status": status, "output": [], "usage": null});
    FaultKind::Status {
        status: 200,
        headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
        body: Some(body.to_string()),
    }
}

#[tokio::test]
async fn an_answer_that_says_its_work_goes_on_costs_what_was_reserved_for_it() {
    let harness = harness("tokens_per_day: 200000").await;
    let body = json!({"model": "gpt-4o", "input": "work hard", "max_output_tokens": 90_000});
    let mut left = 200_000;
    for (status, least, most) in [
        ("queued", 90_000, 90_050),
        ("completed", 0, 50),
        ("in_progress", 90_000, 90_050),
    ] {
        harness.fault("a", response(status));
        let answer = ask(&harness, RESPONSES).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
        let mut now = left;
        eventually_async("it is settled", async || {
            now = remaining(&harness, "tokens_per_day").await.unwrap();
            (least..=most).contains(&(left - now)) && now != left
        })
        .await;
        left = now;
    }
    // One more may go over the limit; none follows it.
    let answer = ask(&harness, RESPONSES).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap();
    eventually_async("the day is spent", async || {
        remaining(&harness, "tokens_per_day").await == Some(0)
    })
    .await;
    let answer = ask(&harness, RESPONSES).json(&body).send().await.unwrap();
    error_of(answer, 403, "tokens_per_day_exceeded").await;
    let page = harness.metrics().await;
    let counted = page
        .lines()
        .find(|line| line.contains("reason=\"unfinished\""));
    assert!(counted.is_some_and(|line| line.ends_with(" 3")), "{page}");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_costs_what_was_reserved_for_it() {
    let harness = harness("tokens_per_day: 200000").await;
    let FaultKind::Status {
        mut headers, body, ..
    } = response("completed")
    else {
        panic!("it is a status");
    };
    headers.insert("content-encoding".to_owned(), "br".to_owned());
    let status = 200;
    harness.fault(
        "a",
        FaultKind::Status {
            status,
            headers,
            body,
        },
    );
    let body = json!({"model": "gpt-4o", "input": "work hard", "max_output_tokens": 90_000});
    let answer = ask(&harness, RESPONSES).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap();
    let line = &harness.log(1).await[0];
    assert_eq!(line["usage"]["estimated"], true, "{line}");
    let left = remaining(&harness, "tokens_per_day").await;
    assert!((109_000..=110_000).contains(&left.unwrap()), "{left:?}");
}

#[tokio::test]
async fn a_session_counts_as_a_request_whoever_ends_it() {
    let harness = harness("requests_per_minute: 3").await;
    let key = format!("api-key: {LIMITED}\r\n");
    for number in 0..5 {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(handshake("/openai/v1/realtime?model=gpt-4o", &key))
            .await;
        let answer = wire.answer_to("HEAD").await.unwrap();
        assert_eq!(
            answer.status,
            if number < 3 { 101 } else { 429 },
            "{number}"
        );
        if answer.status == 101 {
            // The instance answers the close, and ends the connection first.
            wire.send([0x88, 0x82, 0, 0, 0, 0, 3, 0xe8]).await;
            wire.drained().await;
        }
    }
}

#[tokio::test]
async fn each_prompt_of_an_array_is_answered_and_so_reserved_for() {
    let harness = harness("tokens_per_minute: 1000").await;
    let body = |prompts: Value, more: Value| {
        let mut body = json!({"model": "gpt-4o", "prompt": prompts, "max_tokens": 100});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    for (prompts, more) in [
        (json!(vec!["x"; 10]), json!({})),
        (json!(["x", "y"]), json!({"n": 5})),
        (json!(["x", "y"]), json!({"best_of": 5})),
        (json!([[1, 2], [3]]), json!({"max_tokens": 500})),
    ] {
        let body = body(prompts, more);
        let answer = ask(&harness, COMPLETIONS).json(&body).send().await.unwrap();
        error_of(answer, 400, "request_larger_than_limit").await;
    }
    for (prompts, more) in [
        (json!("x"), json!({"n": 5})),
        (json!([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]), json!({})),
    ] {
        let body = body(prompts, more);
        let answer = ask(&harness, COMPLETIONS).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{body}");
        answer.bytes().await.unwrap();
    }
}

#[tokio::test]
async fn errors_and_embeddings_do_not_teach_that_chats_cost_nothing() {
    let harness = harness("tokens_per_minute: 10000").await;
    harness.fault("a", status(400, &[]));
    for _ in 0..100 {
        send(&harness, &chat()).await.bytes().await.unwrap();
    }
    harness.fault("a", None);
    let embedding = json!({"model": "text-embedding-3-small", "input": "x"});
    for _ in 0..20 {
        let answer = ask(&harness, "/v1/embeddings")
            .json(&embedding)
            .send()
            .await;
        assert_eq!(answer.unwrap().status(), 200);
    }
    eventually_async("all is settled", async || {
        remaining(&harness, "tokens_per_minute").await > Some(9000)
    })
    .await;
    harness.fault("a", FaultKind::Hang {});
    let chat = chat();
    let mut chats: FuturesUnordered<_> = (0..12).map(|_| send(&harness, &chat)).collect();
    // Five of 2,048 tokens and a prompt go into ten thousand, the last one over it.
    for _ in 0..7 {
        let answer = chats.next().await.unwrap();
        assert_eq!(answer.headers()["retry-after"], "1");
        error_of(answer, 429, "tokens_per_minute_exceeded").await;
    }
    let more = tokio::time::timeout(Duration::from_millis(300), chats.next());
    assert!(more.await.is_err(), "the others are under way");
}
