//! Bodies that end early, come in broken chunks, too slowly, or are too large.

use super::{CLASSIC, harness, is_unharmed, refusals, refused};
use crate::{
    harness::{CHAT, chat},
    http1_client::{RawConnection, good_chat, post, request},
};

#[tokio::test]
async fn a_body_that_ends_early_is_answered_and_its_connection_closed() {
    let mut harness = harness().await;
    let chunked = "transfer-encoding: chunked\r\n";
    let unfinished = [
        post(CHAT, "content-length: 500\r\n", "{\"model\":"),
        post(CHAT, "content-length: 500\r\n", ""),
        post(CLASSIC, "content-length: 500\r\n", "{"),
        post(CHAT, chunked, "9\r\n{\"model\":\r\n"),
        post(CHAT, chunked, "9\r\n{\"mod"),
        post(CHAT, chunked, "ff"),
    ];
    for request in &unfinished {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(request).await;
        wire.half_close().await;
        let what = String::from_utf8_lossy(request);
        let answer = wire
            .answer()
            .await
            .unwrap_or_else(|| panic!("no answer to {what}"));
        refused(&answer, (400, "400", ""), &what);
        assert!(wire.ends().await, "{what}");
    }
    assert_eq!(harness.asked("only"), 0);
    let log = harness.log(unfinished.len()).await;
    assert!(
        log.iter().all(|line| line["refusal"] == "body_unfinished"),
        "{log:?}"
    );
    is_unharmed(&mut harness);
}

#[tokio::test]
async fn broken_chunks_are_refused_and_their_connection_closed() {
    let mut harness = harness().await;
    let broken = [
        "xyz\r\n{}\r\n0\r\n\r\n",
        "-1\r\n{}\r\n",
        "2\r\n{}xx\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n{}",
        "2;ext\n{}\r\n0\r\n\r\n",
    ];
    for body in broken {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(post(CHAT, "transfer-encoding: chunked\r\n", body))
            .await;
        let answer = wire
            .answer()
            .await
            .unwrap_or_else(|| panic!("no answer to {body:?}"));
        refused(&answer, (400, "400", ""), body);
        assert!(wire.ends().await, "{body:?}");
    }
    assert_eq!(harness.asked("only"), 0);
    assert_eq!(refusals(&harness).await, broken.len() as u64);
    is_unharmed(&mut harness);
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_refused() {
    let mut harness = harness().await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    wire.send(post(CHAT, "transfer-encoding: chunked\r\n", ""))
        .await;
    for _ in 0..32 {
        wire.send(&chunk).await;
    }
    wire.send("0\r\n\r\n").await;
    let answer = wire.answer().await.unwrap();
    refused(&answer, (413, "413", ""), "chunked");
    assert!(
        answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("1048576 bytes")
    );
    if answer.keeps_open() {
        wire.send(good_chat()).await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
    } else {
        assert!(wire.ends().await);
    }
    harness.log(1).await;
    is_unharmed(&mut harness);
}

#[tokio::test]
async fn a_body_that_is_too_slow_is_given_up() {
    let mut harness = harness().await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(post(CHAT, "content-length: 500\r\n", "{\"model\":"))
        .await;
    let answer = wire.answer().await.unwrap();
    refused(&answer, (408, "408", ""), "slow");
    assert!(!answer.keeps_open());
    assert!(wire.ends().await);
    assert_eq!(harness.log(1).await[0]["refusal"], "body_too_slow");
    assert_eq!(harness.asked("only"), 0);
    is_unharmed(&mut harness);
}

#[tokio::test]
async fn a_refused_client_that_waits_for_a_go_ahead_gets_its_refusal_first() {
    let harness = harness().await;
    let body = chat().to_string();
    let lines = format!(
        "api-key: another-key\r\nexpect: 100-continue\r\ncontent-length: {}\r\n",
        body.len()
    );
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(request("POST", CHAT, &lines, "")).await;
    let answer = wire.answer().await.unwrap();
    refused(&answer, (401, "401", ""), "expect");
    assert!(!answer.keeps_open());

    let lines = "expect: 100-continue\r\ncontent-length: 2097152\r\n";
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(post(CHAT, lines, "")).await;
    refused(&wire.answer().await.unwrap(), (413, "413", ""), "expect");

    let lines = format!("expect: 100-continue\r\ncontent-length: {}\r\n", body.len());
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(post(CHAT, &lines, "")).await;
    assert_eq!(wire.answer().await.unwrap().status, 100);
    wire.send(&body).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
    wire.send(good_chat()).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
}
