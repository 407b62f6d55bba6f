//! What request bodies cost in memory: one copy each, all of them together no more than the operator gave them, and
//! nothing once their answers have begun.

use std::fs;

use forebay::simulator::FaultKind;
use futures_util::{Stream, StreamExt, future::join_all, stream};
use reqwest::Body;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::{
    harness::{CHAT, Gateway, Harness, chat_of, eventually_async, served_by},
    request_bodies::{failing_twice, hash_at, in_chunks},
    scripted_upstream::ScriptedUpstream,
};

pub(crate) const CLASSIC: &str =
    "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
const MIB: usize = 1 << 20;

/// A chat of about this size whose model is named before all else.
pub(crate) fn named_first(size: usize) -> Vec<u8> {
    let chat = String::from_utf8(chat_of(size, 1)).unwrap();
    let model = "\"model\":\"gpt-4o\"";
    let rest = chat.replace(&format!(",{model}"), "");
    format!("{{{model},{}", &rest[1..]).into_bytes()
}

pub(crate) fn hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// All values of a metric together.
pub(crate) async fn metric_value(harness: &Harness, metric: &str) -> u64 {
    let page = harness.metrics().await;
    let lines = page.lines().filter_map(|line| line.rsplit_once(' '));
    let values = lines
        .filter(|(name, _)| name.split('{').next() == Some(metric))
        .map(|(_, value)| value.parse::<f64>().unwrap() as u64);
    values.sum()
}

/// What bodies hold now.
pub(crate) async fn held(harness: &Harness) -> u64 {
    metric_value(harness, "forebay_body_memory_bytes").await
}

pub(crate) async fn nothing_is_held(harness: &Harness) {
    eventually_async("no body is held", async || held(harness).await == 0).await;
}

/// A figure of the process's memory, in bytes.
fn memory(gateway: &Gateway, figure: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure));
    let kib = line.unwrap().trim_matches([':', '\t', ' ', 'k', 'B']);
    kib.parse::<usize>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_that_fails_over_twice_takes_its_own_size_once() {
    for chunked in [false, true] {
        let harness = failing_twice().await;
        assert_eq!(harness.chat().await.status(), 200);
        let before = memory(&harness.gateway, "VmHWM");
        let sent = chat_of(30 * MIB, 1);
        let (size, expected) = (sent.len(), hash_at("well", &sent));
        let body = if chunked {
            in_chunks(sent)
        } else {
            Body::from(sent)
        };
        let response = harness.post(CHAT).body(body).send().await.unwrap();
        assert_eq!(
            response.headers()["x-simulator-body-sha256"],
            expected.as_str()
        );
        let attempts = &harness.log(2).await[1]["attempts"];
        assert_eq!(attempts.as_array().unwrap().len(), 3);
        let extra = memory(&harness.gateway, "VmHWM") - before;
        assert!(extra > size / 2, "it was not kept at all? {extra}");
        assert!(
            extra < size + 8 * MIB,
            "{extra} for {size}, chunked: {chunked}"
        );
        nothing_is_held(&harness).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_bodies_at_once_stay_within_their_memory_and_all_are_served() {
    let more = "failover: { body_memory: 32MiB }";
    for (path, body, is_passed_on) in [
        (CLASSIC, chat_of(MIB, 1), true),
        (CHAT, named_first(MIB), true),
        (CHAT, chat_of(MIB, 1), false),
    ] {
        let harness = Harness::open_with(&[("one", 1, 1), ("other", 1, 1)], more).await;
        assert_eq!(harness.chat().await.status(), 200);
        let idle = memory(&harness.gateway, "VmRSS");
        let answers = (0..200).map(|_| harness.post(path).body(body.clone()).send());
        for response in join_all(answers).await {
            let response = response.unwrap();
            assert_eq!(response.status(), 200, "{path}");
            let expected = match path {
                CLASSIC => hash(&body),
                _ => hash_at(&served_by(&response), &body),
            };
            assert_eq!(
                response.headers()["x-simulator-body-sha256"],
                expected.as_str()
            );
        }
        let passed_on = metric_value(&harness, "forebay_requests_unreplayable_total").await;
        // One whose model comes last waits for room instead.
        assert_eq!(passed_on > 0, is_passed_on, "{passed_on} at {path}");
        let extra = memory(&harness.gateway, "VmHWM").saturating_sub(idle);
        assert!(extra < (32 + 64) * MIB, "{} MiB at {path}", extra / MIB);
        nothing_is_held(&harness).await;
    }
}

#[tokio::test]
async fn a_streams_body_is_let_go_of_while_the_stream_runs() {
    let harness = Harness::open(&[("slow", 1, 1)]).await;
    harness.fault("slow", FaultKind::SlowBody { delay_ms: 100 });
    let mut body = chat_of(2 * MIB, 1);
    body.splice(1..1, *b"\"stream\":true,");
    let end = body.split_off(MIB);
    let (more, pieces) = mpsc::channel(2);
    more.send(body).await.unwrap();
    let request = harness.post(CHAT).body(Body::wrap_stream(all_of(pieces)));
    let response = tokio::spawn(request.send());
    eventually_async("there is room for what has come", async || {
        held(&harness).await >= MIB as u64
    })
    .await;
    more.send(end).await.unwrap();
    drop(more);
    let mut events = response.await.unwrap().unwrap().bytes_stream();
    events.next().await.unwrap().unwrap();
    nothing_is_held(&harness).await;
    assert_eq!(metric_value(&harness, "forebay_requests_inflight").await, 1);
    let mut last = Vec::new();
    while let Some(piece) = events.next().await {
        last = piece.unwrap().to_vec();
    }
    assert!(last.ends_with(b"data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_body_is_let_go_of_while_a_slow_answer_that_is_no_stream_is_under_way() {
    let (upstream, harness) = ScriptedUpstream::harness("").await;
    let request = harness.post(CHAT).body(named_first(MIB));
    let response = tokio::spawn(request.send());
    let mut call = upstream.call().await;
    assert!(held(&harness).await >= MIB as u64);
    call.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{")
        .await;
    nothing_is_held(&harness).await;
    call.send("}").await;
    let answer = response.await.unwrap().unwrap().text().await;
    assert_eq!(answer.unwrap(), "{}");
    harness.log(1).await;
    // What it did not say of its prompt was worked out in time.
    let tokens = metric_value(&harness, "forebay_tokens_total").await;
    assert!(tokens > MIB as u64 / 10, "{tokens}");
}

/// What is sent into a channel, as a body that comes piece by piece.
pub(crate) fn all_of(
    pieces: mpsc::Receiver<Vec<u8>>,
) -> impl Stream<Item = Result<Vec<u8>, std::io::Error>> + Send + 'static {
    stream::unfold(pieces, async |mut pieces| {
        pieces.recv().await.map(|piece| (Ok(piece), pieces))
    })
}
