//! Answers that no honest server gives, and answers that come late or end in an error.

use std::time::Instant;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

const REQUEST: &str = "POST /openai/v1/chat/completions HTTP/1.1\r\nhost: e\r\napi-key: sim-key\r\ncontent-length: 18\r\n\r\n{\"model\":\"gpt-4o\"}";

async fn connect(caller: &Caller) -> TcpStream {
    let address = caller.simulator.address("east").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// What comes until the connection ends, and whether it ended in order.
async fn rest(mut socket: TcpStream) -> (Vec<u8>, bool) {
    let (mut all, mut some) = (Vec::new(), [0; 1024]);
    loop {
        match socket.read(&mut some).await {
            Ok(0) => return (all, true),
            Ok(read) => all.extend_from_slice(&some[..read]),
            Err(_) => return (all, false),
        }
    }
}

#[tokio::test]
async fn raw_bytes_go_out_as_they_are_and_the_connection_ends_as_told() {
    let caller = caller().await;
    for (end, in_order) in [("close", true), ("reset", false)] {
        caller.fault(
            json!({ "kind": "raw", "head": "HTTP/1.1 299 Odd\r\nx: ", "end": end, "pieces": [
            { "base64": "/w==" }, { "text": "\r\n\r\nand more", "pause_ms": 5 }] }),
        );
        let mut socket = connect(&caller).await;
        socket.write_all(REQUEST.as_bytes()).await.unwrap();
        let (bytes, ended) = rest(socket).await;
        assert_eq!(
            bytes, b"HTTP/1.1 299 Odd\r\nx: \xff\r\n\r\nand more",
            "{end}"
        );
        assert_eq!(ended, in_order, "{end}");
    }
    let stats = caller.stats("gpt-4o");
    assert_eq!(
        (stats.fault("raw"), stats.concurrent, stats.cancelled),
        (2, 0, 0)
    );
}

#[tokio::test]
async fn a_connection_can_go_on_after_raw_bytes() {
    let caller = caller().await;
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
    caller.fault(json!({ "kind": "raw", "head": head, "times": 1, "end": "keep", "pieces": [{ "text": "okXX" }] }));
    let mut socket = connect(&caller).await;
    let mut sent = vec![0; head.len() + 4];
    socket.write_all(REQUEST.as_bytes()).await.unwrap();
    socket.read_exact(&mut sent).await.unwrap();
    assert!(sent.ends_with(b"okXX"));
    socket.write_all(REQUEST.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 400");
    assert_eq!(caller.simulator.stats().instances["east"].connections, 1);
}

#[tokio::test]
async fn a_silent_model_sends_its_head_at_once() {
    let caller = caller().await;
    for after_events in [0, 2] {
        caller.fault(json!({ "kind": "silent", "ms": 3_600_000, "after_events": after_events }));
        let mut response = caller.chat("gpt-4o", &streamed()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let mut events = 0;
        while events < after_events {
            let chunk = response.chunk().await.unwrap().unwrap();
            events += chunk.windows(2).filter(|two| two == b"\n\n").count();
        }
        assert_eq!(events, after_events);
    }
}

#[tokio::test]
async fn a_silence_ends_and_a_plain_answer_comes_after_it() {
    let caller = caller().await;
    caller.fault(json!({ "kind": "silent", "ms": 200, "after_events": 2 }));
    for body in [hello(), streamed()] {
        let asked = Instant::now();
        let response = caller.chat("gpt-4o", &body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(!response.bytes().await.unwrap().is_empty());
        assert!(asked.elapsed() >= Duration::from_millis(200));
    }
}

#[tokio::test]
async fn a_stream_ends_behind_its_error_as_told() {
    let caller = caller().await;
    for (end, breaks) in [("clean", false), ("close", true), ("reset", true)] {
        caller.fault(
            json!({ "kind": "stream_error", "type": "server_error", "after_events": 2, "end": end,
            "head": { "retry-after": "9" } }),
        );
        let mut response = caller.chat("gpt-4o", &streamed()).send().await.unwrap();
        assert_eq!(response.headers()["retry-after"], "9");
        let mut stream = Vec::new();
        let ended = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => stream.extend_from_slice(&chunk),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        assert_eq!(ended, !breaks, "{end}");
        let all = events(&stream);
        assert_eq!(
            (all.len(), &all[2]["error"]["type"]),
            (3, &json!("server_error")),
            "{end}"
        );
    }
}

#[tokio::test]
async fn what_is_not_deployed_and_what_throttles_in_words_says_it_as_azure_does() {
    let caller = caller().await;
    caller.fault(json!({ "kind": "not_deployed" }));
    let (status, body) = caller.answered("gpt-4o", &hello()).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (404, &json!("DeploymentNotFound"))
    );
    caller.fault(json!({ "kind": "throttle_in_words", "wording": "please_wait", "seconds": 4 }));
    let response = caller.chat("gpt-4o", &hello()).send().await.unwrap();
    assert!(
        ["retry-after", "retry-after-ms"]
            .iter()
            .all(|name| !response.headers().contains_key(*name))
    );
    let (status, body) = read(response).await;
    assert_eq!(status, 429);
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("Please wait 4 seconds"), "{message}");
    assert_eq!(
        caller.simulator.requests(None)[1].fault,
        Some("throttle_in_words")
    );
}
