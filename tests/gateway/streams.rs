//! Streams: event by event, ended truthfully, and cancelled with their client.

use std::time::{Duration, Instant};

use forebay::simulator::FaultKind;
use futures_util::StreamExt;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    harness::{CHAT, Harness, KEY, client, client_builder, eventually, eventually_async, streamed},
    metrics_page::{samples, value},
    scripted_upstream::{STREAM, ScriptedUpstream},
};

const RESPONSES: &str = "/openai/v1/responses";

async fn ask(harness: &Harness, http: &Client, path: &str, body: &Value) -> Response {
    let response = http
        .post(harness.url(path))
        .header("api-key", KEY)
        .json(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert!(
        response.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/event-stream")
    );
    response
}

pub(crate) fn over_each_protocol() -> [Client; 2] {
    [
        client(),
        client_builder().http2_prior_knowledge().build().unwrap(),
    ]
}

#[tokio::test]
async fn what_the_client_gets_is_what_the_deployment_sent() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let straight = format!(
        "http://{}/openai/v1/chat/completions",
        harness.simulator.address("only").unwrap()
    );
    let mut body = streamed();
    body["stream_options"] = json!({"include_usage": true});
    for http in over_each_protocol() {
        let through = ask(&harness, &http, CHAT, &body)
            .await
            .text()
            .await
            .unwrap();
        body["model"] = "only-gpt-4o".into();
        let direct = http
            .post(&straight)
            .header("api-key", crate::harness::INSTANCE_KEY)
            .json(&body);
        let direct = direct.send().await.unwrap().text().await.unwrap();
        body["model"] = "gpt-4o".into();
        assert_eq!(without_ids(&through), without_ids(&direct));
        assert!(
            through.starts_with("data: {\"choices\":[],") && through.ends_with("data: [DONE]\n\n"),
            "{through}"
        );
    }
}

/// What differs from one answer to the next: ids, and when it was made.
fn without_ids(stream: &str) -> Vec<Value> {
    let events = stream
        .split("\n\n")
        .filter(|event| !event.is_empty() && *event != "data: [DONE]");
    let parsed = events.map(|event| {
        let mut event: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
        for name in ["id", "created"] {
            event.as_object_mut().unwrap().remove(name);
        }
        event
    });
    parsed.collect()
}

#[tokio::test]
async fn events_pass_one_by_one_as_they_come() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let pause = Duration::from_millis(150);
    harness.fault("only", FaultKind::SlowBody { delay_ms: 150 });
    for http in over_each_protocol() {
        let mut stream = ask(&harness, &http, CHAT, &streamed()).await.bytes_stream();
        let (mut pieces, started, mut first) = (0, Instant::now(), None);
        while let Some(piece) = stream.next().await {
            piece.unwrap();
            pieces += 1;
            first.get_or_insert_with(|| started.elapsed());
        }
        // Held back they would have come in a few pieces, or all at the end.
        assert!(pieces >= 5, "{pieces} pieces");
        assert!(
            started.elapsed() - first.unwrap() >= pause * 3,
            "the first came with the last"
        );
    }
}

#[tokio::test]
async fn the_first_token_is_the_first_event_with_output_and_plain_answers_have_none() {
    // The head, the filter's chunk and the role go out long before it.
    let harness = Harness::open_with(&[("only", 1, 1)], "failover: { hold: 100ms }").await;
    let silent = FaultKind::Silent {
        ms: 1500,
        after_events: 2,
    };
    harness.fault("only", silent);
    let mut answer = ask(&harness, &harness.http, CHAT, &streamed())
        .await
        .bytes_stream();
    let first = answer.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"data: {\"choices\":[]"), "{first:?}");
    answer.for_each(async |piece| drop(piece.unwrap())).await;
    harness.fault("only", None);
    assert_eq!(harness.chat().await.status(), 200);
    let log = harness.log(2).await;
    assert!(
        log[0]["first_byte_ms"].as_f64().unwrap() < 1400.0,
        "{}",
        log[0]
    );
    let labels = "model=\"gpt-4o\",instance=\"only\",deployment=\"only-gpt-4o\"";
    let mut labels: Vec<&str> = labels.split(',').collect();
    labels.sort_unstable();
    let series = |what: &str| {
        format!(
            "forebay_time_to_first_token_seconds_{what}{{{}}} ",
            labels.join(",")
        )
    };
    eventually_async("both are counted", async || {
        let page = harness.metrics().await;
        samples(&page, "forebay_requests_total{")
            .map(|(_, number)| number)
            .sum::<u64>()
            == 2
    })
    .await;
    let page = harness.metrics().await;
    assert_eq!(value(&page, &series("count")), 1.0);
    assert!(value(&page, &series("sum")) >= 1.5, "{page}");
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_event_and_then_breaks() {
    let harness = Harness::open_with(&[("only", 1, 1)], "breaker: { faults: 100 }").await;
    for fault in [
        FaultKind::ResetMidStream { after_events: 3 },
        FaultKind::CloseMidStream { after_events: 3 },
    ] {
        harness.fault("only", fault.clone());
        for http in over_each_protocol() {
            let (text, broken) = read(ask(&harness, &http, CHAT, &streamed()).await).await;
            let last = text.trim_end().rsplit("\n\n").next().unwrap().trim_start();
            let error: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(error["error"]["type"], "server_error", "{text}");
            assert!(
                text.ends_with("\n\n") && broken,
                "{fault:?}: a clean end would be taken for success"
            );

            let request = json!({"model": "gpt-4o", "input": "hi", "stream": true});
            let (text, broken) = read(ask(&harness, &http, RESPONSES, &request).await).await;
            let last = text.trim_end().rsplit("\n\n").next().unwrap().trim_start();
            let data = last.strip_prefix("event: error\ndata: ").unwrap();
            assert_eq!(
                serde_json::from_str::<Value>(data).unwrap()["type"],
                "error",
                "{text}"
            );
            assert!(broken, "{fault:?}");
        }
    }
    let log = harness.log(8).await;
    for line in log {
        assert_eq!(
            (&line["end"], &line["attempts"][0]["outcome"]),
            (&"broken".into(), &"fault_broken".into()),
            "{line}"
        );
    }
}

async fn read(response: Response) -> (String, bool) {
    let (mut text, mut stream) = (Vec::new(), response.bytes_stream());
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => text.extend_from_slice(&piece),
            Err(_) => return (String::from_utf8(text).unwrap(), true),
        }
    }
    (String::from_utf8(text).unwrap(), false)
}

#[tokio::test]
async fn a_plain_answer_that_breaks_looks_broken_and_nothing_is_added() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    harness.fault("only", FaultKind::ResetMidStream { after_events: 1 });
    for http in over_each_protocol() {
        let response = http
            .post(harness.url(CHAT))
            .header("api-key", KEY)
            .json(&crate::harness::chat())
            .send()
            .await
            .unwrap();
        let (text, broken) = read(response).await;
        assert!(
            broken && !text.contains("event") && !text.contains("\"error\""),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_client_that_leaves_mid_stream_cancels_it_at_once() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    harness.fault("only", FaultKind::SlowBody { delay_ms: 200 });
    for (number, http) in over_each_protocol().into_iter().enumerate() {
        let mut stream = ask(&harness, &http, CHAT, &streamed()).await.bytes_stream();
        stream.next().await.unwrap().unwrap();
        drop((stream, http));
        eventually("the deployment noticed", || {
            harness
                .seen("only")
                .get(number)
                .is_some_and(|seen| seen.cancelled)
        })
        .await;
    }
    for line in harness.log(2).await {
        assert_eq!(
            (&line["end"], &line["attempts"][0]["outcome"]),
            (&"client_left".into(), &"client_left".into()),
            "{line}"
        );
    }
    let status = harness.status().await;
    assert_eq!(status["models"][0]["deployments"][0]["inflight"], 0);
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_ended_as_broken() {
    // Its head is out before it is ended.
    let bounds = "failover: { idle_timeout: 400ms, hold: 50ms }";
    let harness = Harness::open_with(&[("only", 1, 1)], bounds).await;
    harness.fault("only", FaultKind::SlowBody { delay_ms: 60_000 });
    for http in over_each_protocol() {
        let (text, broken) = read(ask(&harness, &http, CHAT, &streamed()).await).await;
        assert!(broken && text.contains("\"server_error\""), "{text}");
    }
}

/// The bytes of a stream stop when nobody takes them: what is not read is not asked for without end.
#[tokio::test]
async fn a_client_that_stops_reading_can_come_back_to_its_stream() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let body = streamed().to_string();
    let mut socket = TcpStream::connect(harness.gateway.address).await.unwrap();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: g\r\napi-key: {KEY}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 64];
    socket.read_exact(&mut first).await.unwrap();
    eventually("the deployment was asked", || harness.asked("only") == 1).await;
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.unwrap();
    assert!(
        String::from_utf8(rest)
            .unwrap()
            .ends_with("data: [DONE]\n\n\r\n0\r\n\r\n")
    );
}

/// Nothing is missing but the transfer's end, and an error behind `[DONE]` would be a lie.
#[tokio::test]
async fn a_stream_cut_behind_its_last_event_is_whole() {
    let text = "data: {\"choices\":[{\"delta\":{\"content\":\"Dams\"}}]}\n\ndata: [DONE]\n\n";
    for http in over_each_protocol() {
        // In pieces, and all at once.
        for piece in [20, text.len()] {
            let (upstream, harness) = ScriptedUpstream::harness("").await;
            let request = http.post(harness.url(CHAT)).header("api-key", KEY);
            let response = tokio::spawn(request.json(&streamed()).send());
            let mut call = upstream.call().await;
            call.send(STREAM).await;
            for piece in text.as_bytes().chunks(piece) {
                call.chunk(piece).await;
            }
            drop(call);
            let response = response.await.unwrap().unwrap();
            assert_eq!(response.text().await.unwrap(), text);
            let log = harness.log(1).await;
            assert_eq!(
                (&log[0]["end"], &log[0]["attempts"][0]["outcome"]),
                (&json!("complete"), &json!("served"))
            );
        }
    }
}
