//! Clients that take their time: a head and a body have theirs, and who takes longer is told so and holds nothing.

use crate::{
    harness::{CHAT, Harness, KEY, chat},
    http1_client::{RawConnection, good_chat, post},
};

/// With a body that may take as long as it likes in all.
async fn harness() -> Harness {
    let server = "server: { header_timeout: 1s, body_timeout: 1h }";
    Harness::open_with(&[("only", 1, 1)], server).await
}

#[tokio::test]
async fn a_head_that_takes_too_long_is_answered_and_its_connection_ends() {
    let harness = harness().await;
    let whole = good_chat();
    let head = whole.len() - chat().to_string().len();
    for length in [1, 5, head - 20, head - 1] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(&whole[..length]).await;
        let answer = wire
            .answer()
            .await
            .unwrap_or_else(|| panic!("no answer after {length}"));
        assert_eq!(
            (answer.status, answer.keeps_open()),
            (408, false),
            "{length}"
        );
        assert!(wire.ends().await);
    }
    let log = harness.log(4).await;
    for line in &log {
        assert_eq!(
            (&line["refusal"], &line["status"]),
            (&"head_too_slow".into(), &408.into())
        );
        assert!(line["duration_ms"].as_f64().unwrap() >= 1000.0, "{line}");
        assert!(!line.to_string().contains(KEY));
    }
    // What had come of the first line is in the log.
    assert_eq!(
        (&log[3]["method"], &log[3]["path"]),
        (&"POST".into(), &CHAT.into())
    );
    assert!(log[0]["method"].is_null() && log[0]["path"].is_null());
    assert_eq!(harness.asked("only"), 0);
}

/// A byte now and then does not make it longer.
#[tokio::test]
async fn a_head_that_trickles_has_no_more_time() {
    let harness = harness().await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    let trickle = async {
        wire.send("POST / HTTP/1.1\r\n").await;
        for _ in 0..100 {
            wire.send("x: y\r\n").await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        wire.answer().await
    };
    assert_eq!(trickle.await.unwrap().status, 408);
    assert_eq!(harness.log(1).await[0]["refusal"], "head_too_slow");
}

/// Nothing was asked, so there is nothing to answer or to write down.
#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_without_a_word() {
    let harness = harness().await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    assert!(wire.drained().await.is_empty());
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send("\r\n").await;
    wire.half_close().await;
    assert!(wire.drained().await.is_empty());
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(good_chat()).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
    assert_eq!(harness.log(1).await.len(), 1);
}

/// One that was used may stay for as long as Front Door keeps it.
#[tokio::test]
async fn a_used_connection_is_kept_longer_than_a_head_may_take() {
    let harness = harness().await;
    let mut used = RawConnection::open(harness.gateway.address).await;
    used.send(good_chat()).await;
    assert_eq!(used.answer().await.unwrap().status, 200);
    let mut unused = RawConnection::open(harness.gateway.address).await;
    assert!(unused.ends().await);
    used.send(good_chat()).await;
    assert_eq!(used.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_body_that_pauses_too_long_is_answered_and_its_connection_ends() {
    let harness = harness().await;
    let body = chat().to_string();
    let chunked = "transfer-encoding: chunked\r\n";
    for bytes in [
        post(CHAT, "content-length: 500\r\n", ""),
        post(CHAT, "content-length: 500\r\n", &body),
        post(CHAT, chunked, "5\r\nhel"),
        post(CHAT, chunked, "5\r\nhello\r\n"),
        post(CHAT, chunked, ""),
    ] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(&bytes).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, answer.keeps_open()), (408, false));
        assert!(wire.ends().await);
    }
    let log = harness.log(5).await;
    assert!(
        log.iter().all(|line| line["refusal"] == "body_too_slow"),
        "{log:?}"
    );
    assert_eq!(harness.asked("only"), 0);
}

/// A body that goes on may take longer than any pause.
#[tokio::test]
async fn a_body_that_goes_on_has_the_time_for_bodies() {
    let harness = harness().await;
    let body = chat().to_string();
    let whole = post(CHAT, "", &body);
    let head = whole.len() - body.len();
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(&whole[..head]).await;
    let began = std::time::Instant::now();
    for piece in whole[head..].chunks(body.len() / 24) {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        wire.send(piece).await;
    }
    assert!(began.elapsed() > std::time::Duration::from_secs(1));
    assert_eq!(wire.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_head_that_breaks_off_is_answered_where_anybody_is_left_to_hear_it() {
    let harness = harness().await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send("POST /openai/v1/chat/completions HTT").await;
    wire.half_close().await;
    assert_eq!(wire.answer().await.unwrap().status, 400);
    assert!(wire.ends().await);
    assert_eq!(harness.log(1).await[0]["refusal"], "malformed_request");
}
