//! A request body arrives whole at the deployment that serves, however it was sent and however often it had to be sent again.

use forebay::simulator::FaultKind;
use reqwest::Body;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::harness::{CHAT, Harness, KEY, chat_of, client, client_builder, served_by, status};

const SIZES: [usize; 6] = [1, 65_300, 65_700, 100 << 10, 5 << 20, 30 << 20];

/// The deployment that serves has its own name in the body, in place of the model's.
pub(crate) fn hash_at(instance: &str, body: &[u8]) -> String {
    let (model, own) = (b"\"gpt-4o\"", format!("\"{instance}-gpt-4o\""));
    let at = body
        .windows(model.len())
        .position(|window| window == model)
        .unwrap();
    let sent = [&body[..at], own.as_bytes(), &body[at + model.len()..]].concat();
    Sha256::digest(sent)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub(crate) async fn failing_twice() -> Harness {
    let instances = [("throttled", 1, 1), ("reset", 2, 1), ("well", 3, 1)];
    let harness = Harness::open_with(&instances, "breaker: { faults: 1000 }").await;
    harness.fault("throttled", status(429, &[("retry-after-ms", "0")]));
    harness.fault("reset", FaultKind::Reset {});
    harness
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_size_survives_two_failures_over_each_protocol_and_framing() {
    let harness = failing_twice().await;
    let h2 = client_builder().http2_prior_knowledge().build().unwrap();
    for http in [client(), h2] {
        for size in SIZES {
            for chunked in [false, true] {
                let sent = chat_of(size, size);
                let expected = hash_at("well", &sent);
                let body = if chunked {
                    in_chunks(sent)
                } else {
                    Body::from(sent)
                };
                let request = http
                    .post(harness.url(CHAT))
                    .header("authorization", format!("Bearer {KEY}"));
                let response = request
                    .header("content-type", "application/json")
                    .body(body)
                    .send()
                    .await
                    .unwrap();
                assert_eq!(response.status(), 200, "{size} bytes, chunked: {chunked}");
                assert_eq!(
                    response.headers()["x-simulator-body-sha256"],
                    expected.as_str(),
                    "{size} bytes, chunked: {chunked}"
                );
                assert_eq!(served_by(&response), "well");
            }
        }
    }
    let log = harness.log(4 * SIZES.len()).await;
    assert!(
        log.iter()
            .all(|line| line["attempts"].as_array().unwrap().len() == 3),
        "each was asked of all three"
    );
}

pub(crate) fn in_chunks(body: Vec<u8>) -> Body {
    let chunks: Vec<_> = body
        .chunks(10_000)
        .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
        .collect();
    Body::wrap_stream(futures_util::stream::iter(chunks))
}

#[tokio::test]
async fn a_client_that_waits_to_be_waved_on_is() {
    let harness = failing_twice().await;
    let body = chat_of(2 << 20, 1);
    let mut stream = BufReader::new(TcpStream::connect(harness.gateway.address).await.unwrap());
    for _ in 0..2 {
        let head = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: gateway\r\napi-key: {KEY}\r\ncontent-type: application/json\r\n\
             expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let waved_on = head_of(&mut stream).await;
        assert!(waved_on.starts_with("HTTP/1.1 100"), "{waved_on}");
        stream.write_all(&body).await.unwrap();
        let head = head_of(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains(&hash_at("well", &body)), "{head}");
        let length: usize = header(&head, "content-length").parse().unwrap();
        let mut answer = vec![0; length];
        // The same connection serves the next one.
        stream.read_exact(&mut answer).await.unwrap();
    }
}

async fn head_of(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(
            stream.read_line(&mut head).await.unwrap(),
            0,
            "closed after {head}"
        );
    }
    head
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
    found.unwrap().1.trim()
}

#[tokio::test]
async fn an_early_answer_ends_the_sending_and_the_next_deployment_gets_it_all() {
    let harness = Harness::open(&[("early", 1, 1), ("well", 2, 1)]).await;
    let FaultKind::Status {
        status,
        headers,
        body,
    } = status(429, &[("retry-after-ms", "0")])
    else {
        unreachable!()
    };
    harness.fault(
        "early",
        FaultKind::EarlyStatus {
            status,
            headers,
            body,
        },
    );
    for size in [1 << 10, 5 << 20] {
        let sent = chat_of(size, size);
        let expected = hash_at("well", &sent);
        let response = harness.post(CHAT).body(sent).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), served_by(&response)),
            (200, "well".to_owned())
        );
        assert_eq!(
            response.headers()["x-simulator-body-sha256"],
            expected.as_str()
        );
    }
}
