//! Bodies that find no room: served all the same, passed on as they come, and told the truth where that ends badly.

use forebay::simulator::FaultKind;
use reqwest::Body;
use serde_json::Value;

use crate::{
    harness::{CHAT, Harness, KEY, chat_of, client, client_builder, error_of, eventually, status},
    http1_client::{Answer, RawConnection, good_chat, post},
    memory::{CLASSIC, hash, metric_value, named_first, nothing_is_held},
    request_bodies::{hash_at, in_chunks},
};

/// Room for small bodies only.
const NO_ROOM: &str = "failover: { body_memory: 16KiB, max_body: 6MiB }";

async fn cramped(instances: &[(&str, u32, u32)]) -> Harness {
    Harness::open_with(instances, NO_ROOM).await
}

pub(crate) async fn passed_on(harness: &Harness) -> u64 {
    metric_value(harness, "forebay_requests_unreplayable_total").await
}

pub(crate) fn refused(answer: &Answer, status: u16, code: &str, word: &str) {
    let error = &answer.json()["error"];
    assert_eq!(
        (answer.status, error["code"].as_str()),
        (status, Some(code))
    );
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(word), "{message}");
}

/// A body in the form of chunks, without their end.
pub(crate) fn chunk(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}

pub(crate) const CHUNKED: &str = "transfer-encoding: chunked\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_room_arrives_whole_over_each_protocol_and_framing() {
    let harness = cramped(&[("only", 1, 1)]).await;
    let h2 = client_builder().http2_prior_knowledge().build().unwrap();
    let mut expected = Vec::new();
    for http in [client(), h2] {
        for size in [150_000, 1 << 20, 5 << 20] {
            for path in [CLASSIC, CHAT] {
                for chunked in [false, true] {
                    let sent = named_first(size);
                    let arriving = match path {
                        CLASSIC => hash(&sent),
                        _ => hash_at("only", &sent),
                    };
                    expected.push((sent.len(), !chunked));
                    let body = if chunked {
                        in_chunks(sent)
                    } else {
                        Body::from(sent)
                    };
                    let request = http.post(harness.url(path)).header("api-key", KEY);
                    let request = request.header("content-type", "application/json");
                    let response = request.body(body).send().await.unwrap();
                    assert_eq!(response.status(), 200, "{size} {path} {chunked}");
                    assert_eq!(
                        response.headers()["x-simulator-body-sha256"],
                        arriving.as_str()
                    );
                }
            }
        }
    }
    let log = harness.log(expected.len()).await;
    let seen = harness.seen("only");
    for ((line, seen), (length, is_told)) in log.iter().zip(seen).zip(&expected) {
        assert_eq!(line["request_bytes"], *length, "{line}");
        let told = seen
            .headers
            .iter()
            .any(|(name, _)| name == "content-length");
        assert_eq!(told, *is_told, "a length goes on where one came: {line}");
    }
    // A deployment that was sent more than its request would have said so.
    let said = harness.gateway.stderr();
    assert!(!said.contains("more data than expected"), "{said}");
    assert!(!said.contains("on idle client connection"), "{said}");
    assert_eq!(passed_on(&harness).await, expected.len() as u64);
    nothing_is_held(&harness).await;
}

#[tokio::test]
async fn what_asks_for_a_stream_is_logged_as_one_wherever_it_says_so() {
    let harness = cramped(&[("only", 1, 1)]).await;
    let mut body = chat_of(200_000, 1);
    body.truncate(body.len() - 1);
    body.extend_from_slice(b",\"stream\":true}");
    let response = harness.post(CLASSIC).body(body).send().await.unwrap();
    let text = response.text().await.unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"));
    assert_eq!(harness.log(1).await[0]["stream"], true);
}

#[tokio::test]
async fn small_bodies_need_no_room() {
    let harness = cramped(&[("failing", 1, 1), ("well", 2, 1)]).await;
    harness.fault("failing", status(500, &[]));
    for chunked in [false, true] {
        let sent = chat_of(50_000, 1);
        let expected = hash_at("well", &sent);
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
    }
    assert_eq!(passed_on(&harness).await, 0);
}

/// The same answer before the body was read.
fn early(code: u16, headers: &[(&str, &str)]) -> FaultKind {
    let FaultKind::Status {
        status,
        headers,
        body,
    } = status(code, headers)
    else {
        unreachable!()
    };
    FaultKind::EarlyStatus {
        status,
        headers,
        body,
    }
}

#[tokio::test]
async fn an_answer_that_does_not_wait_for_the_body_is_delivered() {
    let harness = cramped(&[("only", 1, 1)]).await;
    harness.fault("only", early(400, &[]));
    let mut requests = 0;
    for lines in [CHUNKED, "content-length: 200000\r\n"] {
        requests += 1;
        let mut wire = RawConnection::open(harness.gateway.address).await;
        let (begin, end) = match lines {
            CHUNKED => (chunk(&[b' '; 150_000]), b"0\r\n\r\n".to_vec()),
            _ => (vec![b' '; 150_000], vec![b' '; 50_000]),
        };
        wire.send(post(CLASSIC, lines, begin)).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(answer.status, 400, "{lines}");
        // What is still to come of it is read past.
        wire.send(end).await;
        wire.send(post("/nowhere", "", "")).await;
        let next = wire.answer().await;
        assert!(
            next.as_ref().is_none_or(|next| next.status == 404),
            "no rest of a body is taken for a request"
        );
        requests += usize::from(next.is_some());
    }
    let mut log = harness.log(requests).await;
    log.retain(|line| line["path"] != "/nowhere");
    let codes: Vec<_> = log.iter().map(|line| line["status"].as_u64()).collect();
    assert_eq!(codes, [Some(400); 2]);
}

#[tokio::test]
async fn before_anything_was_passed_on_another_deployment_can_be_asked() {
    let harness = cramped(&[("down", 1, 1), ("early", 2, 1), ("well", 3, 1)]).await;
    harness.switch("down", "down").await;
    harness.fault("early", early(429, &[("retry-after-ms", "60000")]));
    let sent = chat_of(200_000, 1);
    let mut wire = RawConnection::open(harness.gateway.address).await;
    let length = format!("content-length: {}\r\n", sent.len());
    wire.send(post(CLASSIC, &length, "")).await;
    eventually("the third is asked", || !harness.seen("well").is_empty()).await;
    wire.send(&sent).await;
    let answer = wire.answer().await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("x-simulator-body-sha256"),
        Some(hash(&sent).as_str())
    );
    let log = harness.log(1).await;
    let attempts = log[0]["attempts"].as_array().unwrap();
    let outcomes: Vec<&Value> = attempts.iter().map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, ["fault_connect", "throttled", "served"]);
    // The same connection serves the next one.
    wire.send(good_chat()).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_failure_after_that_is_told_and_moves_on_nowhere() {
    for (fault, outcome) in [
        (status(503, &[]), "fault_status"),
        (FaultKind::Reset {}, "fault_reset"),
        (status(429, &[("retry-after-ms", "60000")]), "throttled"),
        (status(401, &[]), "identity_rejected"),
    ] {
        let harness = cramped(&[("failing", 1, 1), ("well", 2, 1)]).await;
        harness.fault("failing", fault);
        let sent = named_first(200_000);
        let length = sent.len();
        let response = harness.post(CHAT).body(sent).send().await.unwrap();
        assert_eq!(response.headers()["retry-after"], "1");
        error_of(response, 503, "ServiceUnavailable").await;
        let log = harness.log(1).await;
        assert_eq!(log[0]["request_bytes"], length);
        assert_eq!(log[0]["refusal"], "unavailable");
        let attempts = log[0]["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 1, "{log:?}");
        assert_eq!(attempts[0]["outcome"], outcome);
        assert!(harness.seen("well").is_empty());
        assert_eq!(passed_on(&harness).await, 1);
        nothing_is_held(&harness).await;
    }
}

#[tokio::test]
async fn a_second_model_is_refused_before_any_deployment_has_all_of_the_body() {
    let harness = cramped(&[("only", 1, 1)]).await;
    for (i, (tail, word)) in [
        (r#","model":"gpt-4o"}"#, "more than once"),
        (
            r#","mod\u0065l":"text-embedding-3-small"}"#,
            "more than once",
        ),
        (r#"}{"model":"gpt-4o"}"#, "not a JSON object"),
        (r#",}"#, "not a JSON object"),
    ]
    .into_iter()
    .enumerate()
    {
        for framing in [CHUNKED, "length"] {
            let mut begin = named_first(200_000);
            begin.pop();
            let length = format!("content-length: {}\r\n", begin.len() + tail.len());
            let (lines, begin, tail) = match framing {
                CHUNKED => (
                    CHUNKED,
                    chunk(&begin),
                    [&chunk(tail.as_bytes())[..], b"0\r\n\r\n"].concat(),
                ),
                _ => (length.as_str(), begin, tail.as_bytes().to_vec()),
            };
            let before = harness.seen("only").len();
            let mut wire = RawConnection::open(harness.gateway.address).await;
            wire.send(post(CHAT, lines, begin)).await;
            eventually("it is under way", || harness.seen("only").len() > before).await;
            wire.send(tail).await;
            refused(&wire.answer().await.unwrap(), 400, "400", word);
            assert!(wire.ends().await);
            eventually("the attempt is given up", || {
                harness.seen("only")[before].cancelled
            })
            .await;
            assert_eq!(harness.seen("only")[before].body_sha256, None, "{i}");
        }
    }
    let log = harness.log(8).await;
    assert!(log.iter().all(|line| line["status"] == 400));
    let page = harness.metrics().await;
    assert!(page.contains("forebay_refusals_total{client=\"tests\",reason=\"model_twice\"} 4"));
    // It was no fault of the deployment's.
    assert_eq!(harness.chat().await.status(), 200);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_attempt_with_it() {
    let harness = cramped(&[("only", 1, 1)]).await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(post(
        CHAT,
        "content-length: 400000\r\n",
        named_first(200_000),
    ))
    .await;
    eventually("it is under way", || !harness.seen("only").is_empty()).await;
    drop(wire);
    eventually("the attempt is cancelled", || {
        harness.seen("only")[0].cancelled
    })
    .await;
    let log = harness.log(1).await;
    assert_eq!(
        (&log[0]["end"], &log[0]["status"]),
        (&"client_left".into(), &Value::Null)
    );
    assert_eq!(log[0]["attempts"][0]["outcome"], "client_left");
}

#[tokio::test]
async fn a_body_that_grows_too_large_on_its_way_is_refused() {
    let harness = cramped(&[("only", 1, 1)]).await;
    for path in [CLASSIC, CHAT] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(post(path, CHUNKED, "")).await;
        wire.send(chunk(&named_first(6 << 20))).await;
        wire.send("0\r\n\r\n").await;
        refused(&wire.answer().await.unwrap(), 413, "413", "6291456 bytes");
    }
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let more = format!("{NO_ROOM}\nserver: {{ body_timeout: 300ms }}");
    let harness = Harness::open_with(&[("only", 1, 1)], &more).await;
    for path in [CLASSIC, CHAT] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(post(
            path,
            "content-length: 400000\r\n",
            named_first(200_000),
        ))
        .await;
        refused(&wire.answer().await.unwrap(), 408, "408", "too long");
    }
    eventually("the attempts are given up", || {
        harness.seen("only").iter().all(|seen| seen.cancelled)
    })
    .await;
}
