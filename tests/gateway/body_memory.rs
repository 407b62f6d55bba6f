//! Bodies that find no room and can't be passed on, or must not be: they wait, or are refused with the reason.

use forebay::simulator::{Fault, FaultKind};

use crate::{
    body_passthrough::{CHUNKED, chunk, passed_on, refused},
    harness::{CHAT, Harness, chat_of, eventually, eventually_async},
    http1_client::{RawConnection, good_chat, post},
    memory::{CLASSIC, held, metric_value, named_first, nothing_is_held},
};

#[tokio::test]
async fn the_operator_may_prefer_a_refusal() {
    let more = "failover: { body_memory: 16KiB, over_body_memory: refuse }";
    let harness = Harness::open_with(&[("only", 1, 1)], more).await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for path in [CLASSIC, CHAT] {
        let body = named_first(200_000);
        wire.send(post(path, "", &body)).await;
        let answer = wire.answer().await.unwrap();
        refused(&answer, 503, "ServiceUnavailable", "no memory left");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("retry-after-ms"), Some("1000"));
        wire.send(post(
            path,
            CHUNKED,
            [&chunk(&body)[..], b"0\r\n\r\n"].concat(),
        ))
        .await;
        refused(
            &wire.answer().await.unwrap(),
            503,
            "ServiceUnavailable",
            "no memory left",
        );
        wire.send(good_chat()).await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
    }
    assert!(
        harness
            .seen("only")
            .iter()
            .all(|seen| seen.body_length < 1000)
    );
    assert_eq!(passed_on(&harness).await, 0);
}

/// Takes nearly all room for a body that does not come to its end.
async fn filled(harness: &Harness) -> RawConnection {
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(post(CHAT, "content-length: 1000000\r\n", "{"))
        .await;
    eventually_async("the room is taken", async || {
        held(harness).await >= 1_000_000
    })
    .await;
    wire
}

fn form(model: &str) -> (String, Vec<u8>) {
    let kind = "content-type: multipart/form-data; boundary=b\r\n";
    let part = |name: &str, content: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
    };
    let parts = [
        part("prompt", "a dam"),
        part("model", model),
        part("image", &"x".repeat(200_000)),
        "--b--\r\n".into(),
    ];
    (kind.to_owned(), parts.concat().into_bytes())
}

#[tokio::test]
async fn what_must_be_read_whole_waits_for_room() {
    let harness = Harness::open_with(&[("only", 1, 1)], "failover: { body_memory: 1MiB }").await;
    let (kind, form) = form("gpt-image-1");
    let chunked = [&chunk(&chat_of(200_000, 1))[..], b"0\r\n\r\n"].concat();
    for request in [
        post(CHAT, "", chat_of(200_000, 1)),
        post("/openai/v1/images/edits", &kind, form),
        post(CHAT, CHUNKED, chunked),
    ] {
        let first = filled(&harness).await;
        let mut waiting = RawConnection::open(harness.gateway.address).await;
        let before = harness.seen("only").len();
        waiting.send(request).await;
        eventually_async("it is being served", async || {
            metric_value(&harness, "forebay_requests_inflight").await == 2
        })
        .await;
        // Others that need less than the slack pass it by.
        let mut other = RawConnection::open(harness.gateway.address).await;
        other.send(good_chat()).await;
        assert_eq!(other.answer().await.unwrap().status, 200);
        assert_eq!(harness.seen("only").len(), before + 1);
        drop(first);
        let answer = waiting.answer().await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
        nothing_is_held(&harness).await;
    }
    assert_eq!(passed_on(&harness).await, 0);
}

#[tokio::test]
async fn who_waits_for_room_in_vain_is_refused_and_what_never_fits_at_once() {
    let more = "failover: { body_memory: 1MiB }\nserver: { body_timeout: 3s }";
    let harness = Harness::open_with(&[("only", 1, 1)], more).await;
    let once = Fault {
        times: Some(1),
        ..Fault::from(FaultKind::Hang {})
    };
    harness
        .simulator
        .set_fault("only", None, Some(once))
        .unwrap();
    let mut first = RawConnection::open(harness.gateway.address).await;
    first.send(post(CHAT, "", chat_of(1_000_000, 1))).await;
    eventually("the room is taken", || harness.asked("only") == 1).await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(post(CHAT, "", chat_of(200_000, 1))).await;
    let answer = wire.answer().await.unwrap();
    refused(&answer, 503, "ServiceUnavailable", "no memory left");
    assert!(answer.keeps_open());
    wire.send(post(CHAT, "", chat_of(2_000_000, 1))).await;
    refused(&wire.answer().await.unwrap(), 413, "413", "1048576 bytes");
    wire.send(good_chat()).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
}
