//! Clients that leave, and clients that only say that they will send nothing more.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    harness::{CHAT, chat, streamed},
    http1_client::{Answer, RawConnection, good_chat, post},
    scripted_upstream::{EVENT, STREAM, ScriptedUpstream},
};

/// Past interim answers.
async fn final_answer(wire: &mut RawConnection) -> Answer {
    loop {
        let answer = wire.answer().await.unwrap();
        if answer.status >= 200 {
            return answer;
        }
        assert_eq!(answer.status, 100);
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_whatever_it_sent_behind_its_request() {
    let (upstream, harness) = ScriptedUpstream::harness("").await;
    let next = good_chat();
    // The last is more than is read ahead.
    let many = next.repeat((80 << 10) / next.len());
    for behind in [&b""[..], b"\r\n", b"GET / HT", &next, &many] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send([&good_chat(), behind].concat()).await;
        let call = upstream.call().await;
        drop(wire);
        assert!(call.leaves().await, "{} bytes behind it", behind.len());
    }
    for line in harness.log(5).await {
        assert_eq!(line["end"], "client_left", "{line}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_a_quiet_stream_is_noticed() {
    let (upstream, harness) = ScriptedUpstream::harness("").await;
    let (wire, call) = upstream.stream(&harness).await;
    drop(wire);
    assert!(call.leaves().await);
}

#[tokio::test]
async fn a_client_that_has_ended_its_side_alone_gets_its_answer() {
    let (upstream, harness) = ScriptedUpstream::harness("").await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(good_chat()).await;
    wire.half_close().await;
    let mut call = upstream.call().await;
    // Long enough for whoever has left to be seen.
    sleep(Duration::from_millis(600)).await;
    call.answer("200 OK", b"{\"late\":true}").await;
    let answer = final_answer(&mut wire).await;
    assert_eq!(
        (answer.status, &answer.body[..]),
        (200, &b"{\"late\":true}"[..])
    );
    assert!(wire.ends().await);
    assert_eq!(harness.log(1).await[0]["end"], "complete");
}

#[tokio::test]
async fn a_client_that_has_ended_its_side_gets_its_stream_and_what_it_had_asked_beside() {
    let (upstream, harness) = ScriptedUpstream::harness("").await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    let stream = post(CHAT, "", streamed().to_string());
    wire.send([stream, good_chat()].concat()).await;
    wire.half_close().await;
    let mut call = upstream.call().await;
    call.send(STREAM).await;
    for _ in 0..3 {
        call.chunk(EVENT).await;
        sleep(Duration::from_millis(300)).await;
    }
    call.chunk("data: [DONE]\n\n").await;
    call.end().await;
    let streamed = String::from_utf8(final_answer(&mut wire).await.body).unwrap();
    let events: String = streamed
        .split_inclusive("\n\n")
        .filter(|event| !event.starts_with(':'))
        .collect();
    assert_eq!(events, EVENT.repeat(3) + "data: [DONE]\n\n");
    let mut call = upstream.call().await;
    call.answer("200 OK", b"{}").await;
    assert_eq!(final_answer(&mut wire).await.status, 200);
    assert!(wire.ends().await);
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_answer_before_the_answer() {
    let (upstream, harness) = ScriptedUpstream::harness("").await;
    let old = |lines: &str| {
        let request = String::from_utf8(post(CHAT, lines, chat().to_string())).unwrap();
        request.replace("HTTP/1.1", "HTTP/1.0")
    };
    for lines in ["", "expect: 100-continue\r\n"] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(old(lines)).await;
        wire.half_close().await;
        let mut call = upstream.call().await;
        call.send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
            .await;
        sleep(Duration::from_millis(600)).await;
        call.answer("200 OK", b"{}").await;
        let all = String::from_utf8(wire.drained().await).unwrap();
        assert!(
            all.starts_with("HTTP/1.1 200") || all.starts_with("HTTP/1.0 200"),
            "{all}"
        );
    }
}
