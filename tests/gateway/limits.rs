//! What clients may spend: what they are told at a limit, on every kind of answer, and that nothing gets round it.

mod ignored_limits;
mod output_limits;
mod reservations;
mod restarts;

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::harness::{CHAT, Harness, chat, error_of, status, streamed, throttle};

pub(crate) const LIMITED: &str = "a-key-with-limits";

/// A client beside the harness's own, with these limits.
pub(crate) fn limited(limits: &str) -> String {
    let hash = forebay::config::hash_key(LIMITED).unwrap().hash;
    format!(
        "  limited: {{ keys: [\"{hash}\"], models: [\"*\"], operations: [inference, stateful, realtime], limits: {{ {limits} }} }}\n"
    )
}

/// A request of that client.
pub(crate) fn ask(harness: &Harness, path: &str) -> RequestBuilder {
    let request = harness
        .http
        .post(harness.url(path))
        .header("api-key", LIMITED);
    request.header("content-type", "application/json")
}

pub(crate) async fn send(harness: &Harness, body: &Value) -> Response {
    ask(harness, CHAT).json(body).send().await.unwrap()
}

pub(crate) fn bounded(max_tokens: u64) -> Value {
    let mut chat = chat();
    chat["max_tokens"] = max_tokens.into();
    chat
}

fn header(response: &Response, name: &str) -> Option<u64> {
    let value = response.headers().get(name)?;
    Some(value.to_str().unwrap().parse().unwrap())
}

/// Limit and remaining of requests, then of tokens.
fn limit_headers(response: &Response) -> [Option<u64>; 4] {
    [
        "limit-requests",
        "remaining-requests",
        "limit-tokens",
        "remaining-tokens",
    ]
    .map(|name| header(response, &format!("x-ratelimit-{name}")))
}

/// How a client stands, as the metrics say: what is left of a limit.
pub(crate) async fn remaining(harness: &Harness, limit: &str) -> Option<u64> {
    let page = harness.metrics().await;
    let series = format!(
        "forebay_client_limit_remaining{{client=\"limited\",limit=\"{limit}\",model=\"*\"}} "
    );
    let line = page.lines().find_map(|line| line.strip_prefix(&series))?;
    Some(line.parse::<f64>().unwrap() as u64)
}

#[tokio::test]
async fn at_its_requests_a_minute_a_client_hears_the_exact_wait() {
    let harness = Harness::open_with(&[("a", 1, 1)], &limited("requests_per_minute: 3")).await;
    for _ in 0..3 {
        assert_eq!(send(&harness, &chat()).await.status(), 200);
    }
    let refused = send(&harness, &chat()).await;
    assert_eq!(limit_headers(&refused)[..2], [Some(3), Some(0)]);
    assert_eq!(refused.headers()["x-should-retry"], "true");
    let (ms, seconds) = (
        header(&refused, "retry-after-ms").unwrap(),
        header(&refused, "retry-after").unwrap(),
    );
    assert!((1..=60_000).contains(&ms), "{ms}");
    assert_eq!(seconds, ms.div_ceil(1000));
    let body = error_of(refused, 429, "requests_per_minute_exceeded").await;
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("requests_per_minute of 3 for client limited"),
        "{message}"
    );
    assert_eq!(body["error"]["type"], "too_many_requests");
    // Nobody else is bound by it, and nobody was asked.
    assert_eq!(harness.chat().await.status(), 200);
    assert_eq!(harness.asked("a"), 4);
    let refusals =
        "forebay_refusals_total{client=\"limited\",reason=\"requests_per_minute_exceeded\"} 1";
    assert!(harness.metrics().await.contains(refusals));
}

#[tokio::test]
async fn a_spent_day_is_a_403_with_when_it_renews() {
    let more = limited("tokens_per_day: 100") + "counters: { time_zone: Asia/Kathmandu }\n";
    let harness = Harness::open_with(&[("a", 1, 1)], &more).await;
    let mut refused = send(&harness, &bounded(20)).await;
    while refused.status() == 200 && harness.asked("a") < 20 {
        refused = send(&harness, &bounded(20)).await;
    }
    assert!((2..20).contains(&harness.asked("a")));
    assert_eq!(refused.headers().get("retry-after"), None);
    assert_eq!(refused.headers()["x-should-retry"], "false");
    assert_eq!(limit_headers(&refused), [None, None, Some(100), Some(0)]);
    let body = error_of(refused, 403, "tokens_per_day_exceeded").await;
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("T00:00:00+05:45 (Asia/Kathmandu)"),
        "{message}"
    );
}

#[tokio::test]
async fn every_kind_of_answer_tells_what_is_left() {
    let limits = "requests_per_minute: 100, tokens_per_minute: 100000, concurrency: 9";
    let harness = Harness::open_with(&[("a", 1, 1), ("b", 2, 1)], &limited(limits)).await;
    let http2 = crate::harness::client_builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let mut left = 100;
    let mut expect = |response: &Response, what: &str| {
        let [limit, remaining, tokens, remaining_tokens] = limit_headers(response);
        assert_eq!(
            (limit, tokens),
            (Some(100), Some(100_000)),
            "{what}: {response:?}"
        );
        left -= 1;
        assert_eq!(remaining, Some(left), "{what}");
        assert!(
            remaining_tokens < Some(100_000) && remaining_tokens > Some(50_000),
            "{what}: {remaining_tokens:?}"
        );
    };
    let mut stream = streamed();
    stream["max_tokens"] = 50.into();
    for (what, body) in [("plain", bounded(50)), ("stream", stream.clone())] {
        let response = send(&harness, &body).await;
        assert_eq!(response.status(), 200);
        expect(&response, what);
        response.bytes().await.unwrap();
    }
    for body in [bounded(50), stream] {
        let request = http2.post(harness.url(CHAT)).header("api-key", LIMITED);
        let response = request.json(&body).send().await.unwrap();
        assert_eq!(
            (response.status(), response.version()),
            (200.into_status(), http::Version::HTTP_2)
        );
        expect(&response, "HTTP/2");
        response.bytes().await.unwrap();
    }
    harness.fault("a", throttle(60.0));
    let moved = send(&harness, &bounded(50)).await;
    assert_eq!(crate::harness::served_by(&moved), "b");
    expect(&moved, "failed over");
    harness.fault("b", status(400, &[]));
    let caller = send(&harness, &bounded(50)).await;
    assert_eq!(caller.status(), 400);
    expect(&caller, "a caller's error");
    // What no deployment answered is given back, before its client hears what is left.
    harness.fault("b", throttle(60.0));
    for _ in 0..3 {
        let refused = send(&harness, &bounded(50)).await;
        assert_eq!(refused.status(), 429);
        assert_eq!(limit_headers(&refused)[1], Some(left));
    }
    tells_beside_other_answers(&harness, left).await;
    // Others have no limits to be told of.
    assert_eq!(limit_headers(&harness.chat().await), [None; 4]);
    eventually_free(&harness).await;
}

/// What no deployment was asked for costs nothing, and says so.
async fn tells_beside_other_answers(harness: &Harness, left: u64) {
    let unread = ask(harness, CHAT).body("{").send().await.unwrap();
    assert_eq!(
        (unread.status().as_u16(), limit_headers(&unread)[1]),
        (400, Some(left))
    );
    let models = harness
        .http
        .get(harness.url("/v1/models"))
        .header("api-key", LIMITED);
    let models = models.send().await.unwrap();
    assert_eq!(
        (models.status().as_u16(), limit_headers(&models)[1]),
        (200, Some(left))
    );
}

/// Waits until nothing is under way for the client any more.
async fn eventually_free(harness: &Harness) {
    crate::harness::eventually_async("nothing is held", async || {
        remaining(harness, "concurrency").await == Some(9)
    })
    .await;
}

trait IntoStatus {
    fn into_status(self) -> reqwest::StatusCode;
}

impl IntoStatus for u16 {
    fn into_status(self) -> reqwest::StatusCode {
        reqwest::StatusCode::from_u16(self).unwrap()
    }
}

#[tokio::test]
async fn requests_at_the_same_time_are_bounded_and_counted_out_however_they_end() {
    let harness = Harness::open_with(&[("a", 1, 1)], &limited("concurrency: 2")).await;
    harness.fault("a", forebay::simulator::FaultKind::Hang {});
    let (first, second) = (
        tokio::spawn(ask(&harness, CHAT).json(&chat()).send()),
        tokio::spawn(ask(&harness, CHAT).json(&chat()).send()),
    );
    crate::harness::eventually_async("two are under way", async || {
        remaining(&harness, "concurrency").await == Some(0)
    })
    .await;
    let refused = send(&harness, &chat()).await;
    assert_eq!(header(&refused, "retry-after"), Some(1));
    error_of(refused, 429, "concurrency_exceeded").await;
    // Their clients leave.
    first.abort();
    second.abort();
    harness.fault("a", None);
    crate::harness::eventually_async("both are counted out", async || {
        remaining(&harness, "concurrency").await == Some(2)
    })
    .await;
    assert_eq!(send(&harness, &chat()).await.status(), 200);
}

#[tokio::test]
async fn what_could_never_fit_is_not_told_to_come_back() {
    let harness = Harness::open_with(&[("a", 1, 1)], &limited("tokens_per_minute: 1000")).await;
    let refused = send(&harness, &bounded(1001)).await;
    assert_eq!(refused.headers()["x-should-retry"], "false");
    assert_eq!(refused.headers().get("retry-after-ms"), None);
    let body = error_of(refused, 400, "request_larger_than_limit").await;
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("tokens_per_minute of 1000"), "{message}");
    assert_eq!(harness.asked("a"), 0);
}

#[tokio::test]
async fn limits_with_a_model_are_that_models_alone() {
    let limits = "requests_per_minute: 50, models: { gpt-4o: { requests_per_minute: 1, max_output_tokens: 7 } }";
    let harness = Harness::open_with(&[("a", 1, 1)], &limited(limits)).await;
    let first = send(&harness, &chat()).await;
    assert_eq!(
        (first.status().as_u16(), limit_headers(&first)[..2].to_vec()),
        (200, vec![Some(1), Some(0)])
    );
    let body = error_of(
        send(&harness, &chat()).await,
        429,
        "requests_per_minute_exceeded",
    )
    .await;
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("for client limited with model gpt-4o")
    );
    // By its path a model is known before the body is read.
    let classic = ask(
        &harness,
        "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
    );
    error_of(
        classic.json(&chat()).send().await.unwrap(),
        429,
        "requests_per_minute_exceeded",
    )
    .await;
    let embed = json!({"model": "text-embedding-3-small", "input": "x"});
    let embedded = ask(&harness, "/v1/embeddings")
        .json(&embed)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            embedded.status().as_u16(),
            limit_headers(&embedded)[..2].to_vec()
        ),
        (200, vec![Some(50), Some(48)])
    );
}
