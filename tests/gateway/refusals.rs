//! Bad input over real sockets: each refusal says what to do, costs nothing but itself, and reaches no deployment.

mod bad_requests;
mod broken_bodies;

use reqwest::{Client, Method};
use serde_json::Value;

use crate::{
    harness::{CHAT, Harness, chat, client_builder, eventually},
    http1_client::{Answer, RawConnection, good_chat, post},
};

use bad_requests::{BadRequest, all};

const SETTINGS: &str =
    "failover: { max_body: 1MiB }\nserver: { max_headers: 8KiB, body_timeout: 300ms }";

const CLASSIC: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";

async fn harness() -> Harness {
    Harness::open_with(&[("only", 1, 1)], SETTINGS).await
}

#[tokio::test]
async fn whatever_is_bad_in_a_whole_request_is_refused_and_the_connection_stays_usable() {
    let mut harness = harness().await;
    let all = all();
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for (i, bad) in all.iter().enumerate() {
        let what = what(bad);
        wire.send(bad.raw()).await;
        let answer = wire
            .answer()
            .await
            .unwrap_or_else(|| panic!("no answer to {what}"));
        refused(&answer, bad.expected, &what);
        // Past a head that is too large the next one is not looked for.
        let ends = bad.expected.2 == "headers_too_large";
        assert_eq!(answer.keeps_open(), !ends, "{what}");
        if ends {
            assert!(wire.ends().await, "{what}");
            wire = RawConnection::open(harness.gateway.address).await;
        }
        wire.send(good_chat()).await;
        let answer = wire
            .answer()
            .await
            .unwrap_or_else(|| panic!("not usable after {what}"));
        assert_eq!(answer.status, 200, "after {what}");
        assert_eq!(
            harness.asked("only"),
            i as u64 + 1,
            "{what} reached a deployment"
        );
    }
    every_refusal_is_in_the_log_and_counted(&harness, &all, 2 * all.len()).await;
    is_unharmed(&mut harness);
}

#[tokio::test]
async fn the_same_is_refused_over_http_2() {
    let mut harness = harness().await;
    let http = client_builder().http2_prior_knowledge().build().unwrap();
    // No HTTP/2 client sends these paths as they are.
    let all: Vec<_> = all()
        .into_iter()
        .filter(|bad| !bad.path.contains("..") && !bad.path.contains("%2e"))
        .collect();
    for bad in &all {
        let what = what(bad);
        let answer = over_http_2(&http, &harness, bad).await;
        refused(&answer, bad.expected, &what);
    }
    assert_eq!(harness.asked("only"), 0);
    assert_eq!(
        harness
            .post(CHAT)
            .json(&chat())
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    every_refusal_is_in_the_log_and_counted(&harness, &all, all.len() + 1).await;
    is_unharmed(&mut harness);
}

async fn over_http_2(http: &Client, harness: &Harness, bad: &BadRequest) -> Answer {
    let method = Method::from_bytes(bad.method.as_bytes()).unwrap();
    let mut request = http
        .request(method, harness.url(&bad.path))
        .body(bad.body.clone());
    for (name, value) in &bad.headers {
        request = request.header(*name, value);
    }
    let response = request
        .send()
        .await
        .unwrap_or_else(|error| panic!("{}: {error:?}", what(bad)));
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()));
    Answer {
        status: response.status().as_u16(),
        headers: headers.collect(),
        body: response.bytes().await.unwrap().into(),
    }
}

fn what(bad: &BadRequest) -> String {
    let body = String::from_utf8_lossy(&bad.body[..bad.body.len().min(60)]).into_owned();
    format!("{} {} {body} ({})", bad.method, bad.path, bad.expected.2)
}

/// Status, Azure's error shape, an id to ask the operator with, and a message that says what to do.
fn refused(answer: &Answer, (status, code, _): (u16, &str, &str), what: &str) {
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["error"]["code"]),
        (status, &code.into()),
        "{what}: {body}"
    );
    let error = body["error"].as_object().unwrap();
    let mut keys: Vec<_> = error.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["code", "message", "param", "type"], "{what}");
    assert!(
        error["type"].is_string() && error["param"].is_null(),
        "{what}: {body}"
    );
    let advice = [
        "Send",
        "Paths are",
        "POST",
        "Use a key",
        "lists the models",
        "Nest it less",
        "Add `model`",
        "must be",
        "Name it once",
        "follow its boundary",
    ];
    let message = error["message"].as_str().unwrap();
    assert!(
        advice.iter().any(|words| message.contains(words)),
        "{what}: {message}"
    );
    assert_eq!(
        answer.header("x-request-id").map(str::len),
        Some(36),
        "{what}"
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{what}"
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
}

async fn every_refusal_is_in_the_log_and_counted(
    harness: &Harness,
    all: &[BadRequest],
    lines: usize,
) {
    let log = harness.log(lines).await;
    assert_eq!(log.len(), lines);
    let mut told: Vec<_> = log
        .iter()
        .filter_map(|line| line["refusal"].as_str())
        .collect();
    let mut expected: Vec<_> = all.iter().map(|bad| bad.expected.2).collect();
    // Streams of one HTTP/2 connection run side by side: an answer may be read before its line is
    // written, and the next stream's line overtakes it.
    told.sort_unstable();
    expected.sort_unstable();
    assert_eq!(told, expected);
    assert_eq!(refusals(harness).await, all.len() as u64);
}

/// All that `forebay_refusals_total` holds.
async fn refusals(harness: &Harness) -> u64 {
    let metrics = harness.metrics().await;
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("forebay_refusals_total{"));
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

fn is_unharmed(harness: &mut Harness) {
    assert_eq!(harness.gateway.ended(), None);
    let stderr = harness.gateway.stderr();
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[tokio::test]
async fn headers_of_any_size_are_refused_or_cut_off() {
    let mut harness = harness().await;
    for size in [9 << 10, 100 << 10, 900 << 10, 2 << 20, 8 << 20] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        let line = format!("x-junk: {}\r\n", "x".repeat(size));
        wire.send(post(CHAT, &line, chat().to_string())).await;
        match wire.answer().await {
            Some(answer) if size < 1 << 20 => refused(&answer, (431, "431", ""), "large"),
            other => assert!(other.is_none_or(|answer| answer.status >= 400), "{size}"),
        }
    }
    assert_eq!(harness.asked("only"), 0);
    assert_eq!(harness.chat().await.status(), 200);
    is_unharmed(&mut harness);
}

#[tokio::test]
async fn requests_sent_at_once_on_one_connection_are_all_answered_in_their_order() {
    let harness = harness().await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    let unknown = post("/openai/v1/none", "", "{}");
    wire.send([good_chat(), unknown, good_chat(), good_chat()].concat())
        .await;
    for status in [200, 404, 200, 200] {
        assert_eq!(wire.answer().await.unwrap().status, status);
    }
    assert_eq!((harness.asked("only"), harness.log(4).await.len()), (3, 4));
}

#[tokio::test]
async fn an_error_of_the_gateways_own_says_nothing_of_what_it_was_sent() {
    let harness = harness().await;
    let body = r#"{"model":"secret-project","secret-project":1}"#;
    let response = harness.post(CHAT).body(body).send().await.unwrap();
    let told: Value = response.json().await.unwrap();
    assert!(!told.to_string().contains("secret-project"), "{told}");
    eventually("its line is written", || {
        std::fs::read_to_string(harness.gateway.folder.join("access.jsonl"))
            .is_ok_and(|log| log.contains("unknown_model"))
    })
    .await;
    let log = std::fs::read_to_string(harness.gateway.folder.join("access.jsonl")).unwrap();
    assert!(!log.contains("secret-project"), "{log}");
}
