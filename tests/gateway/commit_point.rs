//! The commit point: what is held moves on, what is out ends truthfully, and a quiet stream is kept alive.

mod keepalive;

use std::collections::BTreeMap;

use forebay::simulator::{ErrorForm, ErrorType, FaultKind, StreamError, Wording};
use futures_util::StreamExt;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::{
    harness::{CHAT, Harness, KEY, served_by, streamed},
    http1_client::{RawConnection, post},
    scripted_upstream::{STREAM, ScriptedUpstream},
    streams::over_each_protocol,
};

const RESPONSES: &str = "/openai/v1/responses";

const FILTER: &str = "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n";

const WORD: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Dams\"}}]}\n\n";

const DONE: &str = "data: [DONE]\n\n";

const ERROR: &str = "data: {\"error\":{\"type\":\"server_error\",\"code\":null}}\n\n";

fn responses() -> Value {
    json!({"model": "gpt-4o", "input": "Why do dams spill?", "stream": true})
}

async fn ask(harness: &Harness, http: &Client, path: &str, body: &Value) -> Response {
    let request = http
        .post(harness.url(path))
        .header("api-key", KEY)
        .json(body);
    request.send().await.unwrap()
}

/// A streamed chat on its way, so that the test can play the deployment's part meanwhile.
fn asking(harness: &Harness, http: &Client) -> tokio::task::JoinHandle<Response> {
    asking_as(harness, http, "some client")
}

fn asking_as(harness: &Harness, http: &Client, agent: &str) -> tokio::task::JoinHandle<Response> {
    let request = http.post(harness.url(CHAT)).header("api-key", KEY);
    let request = request.header("user-agent", agent).json(&streamed());
    tokio::spawn(async { request.send().await.unwrap() })
}

/// The next piece of a stream, whatever its size.
async fn next(stream: &mut Response) -> String {
    let piece = stream.chunk().await.unwrap().expect("the stream goes on");
    String::from_utf8(piece.to_vec()).unwrap()
}

/// All that is left of a stream, and whether it broke off.
async fn rest(stream: Response) -> (String, bool) {
    let (mut text, mut pieces) = (Vec::new(), stream.bytes_stream());
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => text.extend_from_slice(&piece),
            Err(_) => return (String::from_utf8(text).unwrap(), true),
        }
    }
    (String::from_utf8(text).unwrap(), false)
}

fn deployment(response: &Response) -> &str {
    response.headers()["x-forebay-deployment"].to_str().unwrap()
}

fn outcomes(line: &Value) -> Vec<&str> {
    let attempts = line["attempts"].as_array().unwrap();
    let outcomes = attempts.iter().map(|attempt| &attempt["outcome"]);
    outcomes.map(|outcome| outcome.as_str().unwrap()).collect()
}

/// Only what the simulated one said has arrived, as if the other had never been asked.
async fn is_served_by_well(response: Response) {
    assert_eq!(response.status(), 200);
    assert_eq!(deployment(&response), "well/well-gpt-4o");
    assert_eq!(response.headers()["x-forebay-attempts"], "2");
    let (text, broken) = rest(response).await;
    assert!(!broken && text.ends_with(DONE), "{text}");
    assert!(
        !text.contains("\"error\":{") && text.matches("\"role\"").count() == 1,
        "{text}"
    );
}

#[tokio::test]
async fn an_error_event_of_any_form_before_output_moves_on() {
    let forms = ErrorForm::ALL;
    // The deployment may be asked again soon: it names no time, and the longest there is is short.
    let head = BTreeMap::from([("retry-after-ms".to_owned(), "0".to_owned())]);
    let more = "reveal: true\nbreaker: { pause: 1ms, longest_pause: 1ms, ramp: 0s }";
    for http in over_each_protocol() {
        for (path, body) in [(CHAT, streamed()), (RESPONSES, responses())] {
            let instances = [("bad", 1, 1), ("well", 2, 1)];
            let harness = Harness::open_with(&instances, more).await;
            let mut number = 0;
            for form in forms {
                for after_events in 0..=2 {
                    let error = StreamError {
                        head: head.clone(),
                        ..StreamError::new(ErrorType::TooManyRequests, after_events)
                    };
                    harness.fault("bad", FaultKind::StreamError(error.in_form(form)));
                    let response = ask(&harness, &http, path, &body).await;
                    let story = format!("{path} {form:?} after {after_events}");
                    assert_eq!(deployment(&response), "well/well-gpt-4o", "{story}");
                    assert_eq!(response.headers()["x-forebay-attempts"], "2", "{story}");
                    let (text, broken) = rest(response).await;
                    assert!(
                        !broken && !text.contains("too_many_requests"),
                        "{story}: {text}"
                    );
                    number += 1;
                }
            }
            for line in harness.log(number).await {
                assert_eq!(outcomes(&line), ["throttled", "served"], "{line}");
            }
            assert_eq!(harness.asked("bad"), number as u64);
        }
    }
}

#[tokio::test]
async fn an_error_event_says_what_its_type_says() {
    for (error, expected) in [
        (ErrorType::ServerError, &["fault_status", "served"][..]),
        // Once more with a fresh token.
        (
            ErrorType::Forbidden,
            &["identity_rejected", "identity_rejected", "served"],
        ),
        (ErrorType::UserError, &["caller_error"]),
    ] {
        let harness = Harness::open(&[("bad", 1, 1), ("well", 2, 1)]).await;
        harness.fault("bad", FaultKind::StreamError(StreamError::new(error, 1)));
        let response = ask(&harness, &harness.http, RESPONSES, &responses()).await;
        let (text, broken) = rest(response).await;
        assert!(!broken);
        let log = harness.log(1).await;
        assert_eq!(
            (outcomes(&log[0]).as_slice(), &log[0]["end"]),
            (expected, &json!("complete"))
        );
        // What is the caller's own matter is delivered as it came.
        assert_eq!(
            text.contains("user_error"),
            error == ErrorType::UserError,
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_ends_before_its_first_output_moves_on() {
    let empty = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 0\r\n\r\n";
    for http in over_each_protocol() {
        let (upstream, harness) = ScriptedUpstream::harness("").await;
        for end in [
            "nothing at all",
            "no output",
            "an empty body",
            "a death",
            "a reset",
        ] {
            let response = asking(&harness, &http);
            let mut call = upstream.call().await;
            call.send(if end == "an empty body" {
                empty
            } else {
                STREAM
            })
            .await;
            if end != "nothing at all" && end != "an empty body" {
                call.chunk(FILTER).await;
            }
            match end {
                "a death" => drop(call),
                "a reset" => call.die(),
                "an empty body" => {}
                _ => call.end().await,
            }
            is_served_by_well(response.await.unwrap()).await;
        }
        for line in harness.log(5).await {
            let outcomes = outcomes(&line);
            assert!(
                ["fault_broken", "fault_reset"].contains(&outcomes[0]),
                "{line}"
            );
            assert_eq!(outcomes[1..], ["served"], "{line}");
        }
    }
}

#[tokio::test]
async fn nothing_goes_out_before_the_first_output_and_then_all_of_it() {
    for http in over_each_protocol() {
        let (upstream, harness) = ScriptedUpstream::harness("").await;
        let response = asking(&harness, &http);
        let mut call = upstream.call().await;
        call.send(STREAM).await;
        call.chunk(FILTER).await;
        let word = WORD.as_bytes();
        call.chunk(&word[..30]).await;
        // Well, not for as long as it takes to ask another thing.
        harness.status().await;
        assert!(!response.is_finished());
        call.chunk(&word[30..]).await;
        let mut response = response.await.unwrap();
        assert_eq!(deployment(&response), "puppet/puppet-gpt-4o");
        let mut text = String::new();
        while text.len() < FILTER.len() + WORD.len() {
            text += &next(&mut response).await;
        }
        call.chunk(DONE).await;
        call.end().await;
        text += &rest(response).await.0;
        assert_eq!(text, [FILTER, WORD, DONE].concat());
        assert_eq!(harness.asked("well"), 0);
    }
}

#[tokio::test]
async fn the_head_goes_out_at_the_bound_and_what_follows_is_judged_then() {
    for http in over_each_protocol() {
        let (upstream, harness) = ScriptedUpstream::harness("failover: { hold: 50ms }").await;
        for end in ["well", "an error", "nothing", "a death"] {
            let response = asking(&harness, &http);
            let mut call = upstream.call().await;
            call.send(STREAM).await;
            if end != "nothing" {
                call.chunk(FILTER).await;
            }
            // It comes although the deployment says no more.
            let response = response.await.unwrap();
            assert_eq!(deployment(&response), "puppet/puppet-gpt-4o");
            assert_eq!(response.headers()["x-forebay-attempts"], "1");
            match end {
                "well" => call.chunk([WORD, DONE].concat()).await,
                "an error" => call.chunk(ERROR).await,
                _ => {}
            }
            match end {
                "a death" => drop(call),
                _ => call.end().await,
            }
            let (text, broken) = rest(response).await;
            assert_eq!(broken, end != "well", "{end}");
            let told = text.matches("\"type\":\"server_error\"").count();
            assert_eq!(told, usize::from(end != "well"), "{end}: {text}");
        }
        let log = harness.log(4).await;
        let expected = [
            ("served", "complete"),
            ("fault_status", "broken"),
            ("fault_broken", "broken"),
            ("fault_broken", "broken"),
        ];
        for (line, (outcome, end)) in log.iter().zip(expected) {
            assert_eq!(
                (outcomes(line), &line["end"]),
                (vec![outcome], &json!(end)),
                "{line}"
            );
        }
        assert_eq!(harness.asked("well"), 0);
    }
}

#[tokio::test]
async fn an_error_event_after_the_commit_passes_and_the_transfer_is_cut_off() {
    for http in over_each_protocol() {
        let (upstream, harness) = ScriptedUpstream::harness("").await;
        let response = asking(&harness, &http);
        let mut call = upstream.call().await;
        call.send(STREAM).await;
        call.chunk(WORD).await;
        let mut response = response.await.unwrap();
        let mut text = String::new();
        while text.len() < WORD.len() {
            text += &next(&mut response).await;
        }
        call.chunk(&ERROR[..20]).await;
        call.chunk(&ERROR[20..]).await;
        call.chunk(DONE).await;
        call.end().await;
        let (more, broken) = rest(response).await;
        assert!(broken, "{more}");
        assert_eq!(text + &more, [WORD, ERROR, DONE].concat());
        let log = harness.log(1).await;
        assert_eq!(
            (outcomes(&log[0]), &log[0]["end"]),
            (vec!["fault_status"], &json!("broken"))
        );
    }
}

#[tokio::test]
async fn what_can_not_be_read_passes_unchanged() {
    let large = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
        "x".repeat(8 << 20)
    );
    let bodies = [
        b"data: no JSON\r\n\r\n<html>\xff\xfe</html>\n".to_vec(),
        b"data: {\"choices\":[\n\n".to_vec(),
        large.into_bytes(),
    ];
    for http in over_each_protocol() {
        for body in &bodies {
            let (upstream, harness) = ScriptedUpstream::harness("").await;
            let response = asking(&harness, &http);
            let (mut call, sent) = (upstream.call().await, body.clone());
            let sending = tokio::spawn(async move {
                call.send(STREAM).await;
                for piece in sent.chunks(100_000) {
                    call.chunk(piece).await;
                }
                call.end().await;
            });
            let got = response.await.unwrap().bytes().await.unwrap();
            sending.await.unwrap();
            assert!(got == body[..], "{} of {} bytes", got.len(), body.len());
        }
    }
}

/// Nobody can read in it, so nobody holds it, or writes in it.
#[tokio::test]
async fn an_encoded_stream_passes_at_once_and_as_it_is() {
    let head = STREAM.replace("\r\n\r\n", "\r\ncontent-encoding: gzip\r\n\r\n");
    for http in over_each_protocol() {
        let (upstream, harness) =
            ScriptedUpstream::harness("server: { stream_keepalive: 1ms }").await;
        let response = asking(&harness, &http);
        let mut call = upstream.call().await;
        call.send(&head).await;
        let mut response = response.await.unwrap();
        call.chunk(FILTER).await;
        assert_eq!(next(&mut response).await, FILTER);
        harness.status().await;
        call.end().await;
        assert_eq!(rest(response).await, (String::new(), false));
    }
}

#[tokio::test]
async fn a_missing_deployment_moves_on_and_another_404_is_delivered_as_it_is() {
    let missing = br#"{"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist."}}"#;
    let large = [b"not here ".repeat(20_000), b"\xff\x00".to_vec()].concat();
    for http in over_each_protocol() {
        for body in [&b""[..], b"{\"error\":{\"code\":\"404\"}}", &large] {
            let (upstream, harness) = ScriptedUpstream::harness("").await;
            let response = asking(&harness, &http);
            upstream.call().await.answer("404 Not Found", body).await;
            let response = response.await.unwrap();
            assert_eq!(
                (response.status().as_u16(), deployment(&response)),
                (404, "puppet/puppet-gpt-4o")
            );
            assert!(response.bytes().await.unwrap() == body);
            assert_eq!(outcomes(&harness.log(1).await[0]), ["caller_error"]);
        }
        let (upstream, harness) = ScriptedUpstream::harness("").await;
        let response = asking(&harness, &http);
        upstream.call().await.answer("404 Not Found", missing).await;
        is_served_by_well(response.await.unwrap()).await;
        assert_eq!(
            outcomes(&harness.log(1).await[0]),
            ["not_deployed", "served"]
        );
    }
}

#[tokio::test]
async fn a_wait_that_only_the_message_tells_is_kept_to() {
    let harness = Harness::open(&[("busy", 1, 1), ("well", 2, 1)]).await;
    let wording = Wording::default();
    harness.fault(
        "busy",
        FaultKind::ThrottleInWords {
            wording,
            seconds: 3,
        },
    );
    assert_eq!(served_by(&harness.chat().await), "well");
    let status = harness.status().await;
    let wait = status["models"][0]["deployments"][0]["retry_in_seconds"].as_f64();
    assert!(wait.is_some_and(|wait| wait <= 3.0), "{status}");
    assert_eq!(outcomes(&harness.log(1).await[0]), ["throttled", "served"]);
}

#[tokio::test]
async fn a_client_that_leaves_while_its_answer_is_held_cancels_it_at_once() {
    for http in over_each_protocol() {
        let (upstream, harness) = ScriptedUpstream::harness("").await;
        let response = asking(&harness, &http);
        let mut call = upstream.call().await;
        call.send(STREAM).await;
        call.chunk(FILTER).await;
        harness.status().await;
        response.abort();
        drop(http);
        assert!(call.leaves().await);
        let log = harness.log(1).await;
        assert_eq!(
            (outcomes(&log[0]), &log[0]["status"]),
            (vec!["client_left"], &Value::Null)
        );
        assert_eq!(harness.asked("well"), 0);
    }
}

#[tokio::test]
async fn a_pipelined_request_waits_behind_a_held_stream() {
    let (upstream, harness) = ScriptedUpstream::harness("").await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    let request = post(CHAT, "", streamed().to_string());
    wire.send([&request[..], &request].concat()).await;
    for _ in 0..2 {
        let mut call = upstream.call().await;
        call.send(STREAM).await;
        call.chunk(FILTER).await;
        harness.status().await;
        call.chunk([WORD, DONE].concat()).await;
        call.end().await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(answer.body, [FILTER, WORD, DONE].concat().as_bytes());
    }
}
