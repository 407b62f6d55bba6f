//! Requests in which two readers could see two requests, or one reader another than the next: each is refused before
//! anything is made of it, its connection ends, no deployment sees a byte of it or of what came behind it, and who
//! comes next is served as ever.

mod framing;
mod grammar;
mod http2;
mod odd_but_legal;
mod other_readers;

use crate::{
    harness::{CHAT, Harness, KEY, chat, eventually_async},
    http1_client::{RawConnection, good_chat},
};

/// A request and what becomes of it: the status of the answer and the reason in the log.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    status: u16,
    reason: &'static str,
}

fn case(name: &'static str, bytes: impl AsRef<[u8]>, status: u16, reason: &'static str) -> Case {
    Case {
        name,
        bytes: bytes.as_ref().to_vec(),
        status,
        reason,
    }
}

/// A chat with these lines in its head, and this behind it.
fn chat_with(lines: &str, behind: &str) -> String {
    let known = format!("api-key: {KEY}\r\ncontent-type: application/json\r\n");
    format!("POST {CHAT} HTTP/1.1\r\nhost: gateway\r\n{known}{lines}\r\n{behind}")
}

/// A body, and its length.
fn body() -> (String, usize) {
    let body = chat().to_string();
    let length = body.len();
    (body, length)
}

/// Sends each over a connection of its own, with a good request right behind it, which must not be served: where the
/// bad one ends can't be known. Then a good one over a new connection, which must.
async fn all_are_refused(harness: &Harness, cases: &[Case]) {
    for (i, case) in cases.iter().enumerate() {
        let name = case.name;
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send([case.bytes.as_slice(), &good_chat()].concat())
            .await;
        let method = if case.bytes.starts_with(b"HEAD") {
            "HEAD"
        } else {
            "POST"
        };
        let answer = wire.answer_to(method).await;
        let answer = answer.unwrap_or_else(|| panic!("no answer to {name}"));
        assert_eq!(answer.status, case.status, "{name}: {answer:?}");
        let error = &answer.json()["error"];
        assert!(
            error["code"].is_string() && error["message"].is_string(),
            "{name}: {error}"
        );
        assert_eq!(
            answer.header("x-request-id").map(str::len),
            Some(36),
            "{name}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{name}");
        assert!(!answer.keeps_open(), "{name}: {answer:?}");
        assert!(wire.ends().await, "{name}: more was answered");
        assert_eq!(
            harness.asked("only"),
            i as u64,
            "{name} reached a deployment"
        );

        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(good_chat()).await;
        let answer = wire
            .answer()
            .await
            .unwrap_or_else(|| panic!("none after {name}"));
        assert_eq!(answer.status, 200, "after {name}");
        assert_eq!(harness.asked("only"), i as u64 + 1, "after {name}");
        assert_eq!(
            harness.seen("only").last().unwrap().path,
            CHAT,
            "after {name}"
        );
    }
    let log = harness.log(2 * cases.len()).await;
    assert_eq!(log.len(), 2 * cases.len());
    let mut odd = Vec::new();
    // A served request may be written down after the next one was refused.
    let refusals = log.iter().filter(|line| line["refusal"].is_string());
    for (case, line) in cases.iter().zip(refusals) {
        let told = (line["refusal"].as_str(), line["status"].as_u64());
        if told != (Some(case.reason), Some(case.status.into())) {
            odd.push(format!("{}: {told:?} and not {}", case.name, case.reason));
        }
        assert!(!line.to_string().contains(KEY), "{line}");
    }
    assert!(odd.is_empty(), "{}", odd.join("\n"));
    counted(harness, cases.len()).await;
}

/// Every refusal is in the counters, and nothing is counted as under way any more.
async fn counted(harness: &Harness, refusals: usize) {
    eventually_async("nothing is under way", async || {
        sum(&harness.metrics().await, "forebay_requests_inflight") == 0
    })
    .await;
    assert_eq!(
        sum(&harness.metrics().await, "forebay_refusals_total{"),
        refusals
    );
    assert!(!harness.gateway.stderr().contains("panicked"));
}

fn sum(metrics: &str, name: &str) -> usize {
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        .sum()
}
