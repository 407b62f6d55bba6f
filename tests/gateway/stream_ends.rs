//! A stream that ends cleanly in the middle is no whole answer: its client gets an error event and an aborted transfer.

use serde_json::{Value, json};

use crate::{
    harness::{CHAT, Harness, KEY, streamed},
    scripted_upstream::{ReceivedRequest, STREAM, ScriptedUpstream},
    streams::over_each_protocol,
};

const RESPONSES: &str = "/openai/v1/responses";
const CLOSED: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
const WORD: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Dams\"},\"finish_reason\":null}]}\n\n";
const STOP: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DELTA: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Dams\"}\n\n";

/// What the client got, and whether the transfer ended well.
async fn read(harness: &Harness, http: reqwest::Client, path: &str, body: Value) -> (String, bool) {
    let request = http.post(harness.url(path)).header("api-key", KEY);
    let mut answer = request.json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut text = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(piece)) => text.extend_from_slice(&piece),
            Ok(None) => return (String::from_utf8(text).unwrap(), true),
            Err(_) => return (String::from_utf8(text).unwrap(), false),
        }
    }
}

fn responses() -> Value {
    json!({"model": "gpt-4o", "input": "Why do dams spill?", "stream": true})
}

/// Ends a stream of these pieces well: in chunks, or with the connection.
async fn play(mut call: ReceivedRequest, head: &str, pieces: &[&str]) {
    call.send(head).await;
    for piece in pieces {
        if head == STREAM {
            call.chunk(piece).await
        } else {
            call.send(piece).await
        }
    }
    if head == STREAM {
        call.end().await;
    }
}

#[tokio::test]
async fn a_stream_that_ends_cleanly_without_its_end_is_ended_as_broken() {
    for (path, body, pieces) in [
        (CHAT, streamed(), &[WORD, WORD][..]),
        (CHAT, streamed(), &[WORD, "data: {\"choices\":[{\"ind"]),
        (
            CHAT,
            streamed(),
            &[WORD, STOP, "data: {\"choices\":[],\"usa"],
        ),
        (RESPONSES, responses(), &[DELTA]),
    ] {
        for head in [STREAM, CLOSED] {
            for http in over_each_protocol() {
                let (upstream, harness) = ScriptedUpstream::harness("").await;
                let player = async { play(upstream.call().await, head, pieces).await };
                let ((text, is_clean), ()) =
                    tokio::join!(read(&harness, http, path, body.clone()), player);
                assert!(!is_clean, "{pieces:?}: {text}");
                assert!(text.starts_with(pieces[0]), "{text}");
                let last = text.trim_end().rsplit("data: ").next().unwrap();
                let error: Value = serde_json::from_str(last).unwrap();
                let code = error.pointer("/error/code").or_else(|| error.get("code"));
                assert_eq!(code, Some(&"server_error".into()), "{text}");
                let log = harness.log(1).await;
                assert_eq!(
                    (&log[0]["end"], &log[0]["attempts"][0]["outcome"]),
                    (&json!("broken"), &json!("fault_broken"))
                );
            }
        }
    }
}

#[tokio::test]
async fn a_finished_stream_without_its_last_event_stays_a_clean_end() {
    for head in [STREAM, CLOSED] {
        for http in over_each_protocol() {
            let (upstream, harness) = ScriptedUpstream::harness("").await;
            let player = async { play(upstream.call().await, head, &[WORD, STOP]).await };
            let ((text, is_clean), ()) =
                tokio::join!(read(&harness, http, CHAT, streamed()), player);
            assert_eq!((text, is_clean), ([WORD, STOP].concat(), true));
            let log = harness.log(1).await;
            assert_eq!(
                (&log[0]["end"], &log[0]["attempts"][0]["outcome"]),
                (&json!("complete"), &json!("served"))
            );
        }
    }
}

/// Nothing of it has gone out: another deployment may still take its place.
#[tokio::test]
async fn a_stream_that_came_all_at_once_without_its_end_moves_on() {
    let (upstream, harness) = ScriptedUpstream::harness("").await;
    let player = async {
        let mut call = upstream.call().await;
        let head = "200 OK\r\ncontent-type: text/event-stream";
        call.answer(head, [WORD, WORD].concat().as_bytes()).await;
    };
    let http = harness.http.clone();
    let ((text, is_clean), ()) = tokio::join!(read(&harness, http, CHAT, streamed()), player);
    assert!(is_clean && text.ends_with("data: [DONE]\n\n"), "{text}");
    let log = harness.log(1).await;
    let attempts = log[0]["attempts"].as_array().unwrap();
    let outcomes: Vec<_> = attempts.iter().map(|it| &it["outcome"]).collect();
    assert_eq!(outcomes, ["fault_broken", "served"]);
}
