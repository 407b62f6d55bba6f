//! A deployment that repeats in its errors what it was asked with.

use super::INSTANCE_KEY;
use crate::{
    harness::{CHAT, INSTANCE_KEY as KEY, streamed},
    http1_client::{RawConnection, good_chat, post},
    scripted_upstream::{EVENT, STREAM, ScriptedUpstream},
};

#[tokio::test]
async fn an_error_that_repeats_the_deployments_credential_is_told_without_it() {
    assert_ne!(KEY, INSTANCE_KEY);
    let told = |key: &str| format!("{{\"error\":{{\"message\":\"Wrong: {key}, {key}\"}}}}");
    let (said, left) = (told(KEY), told(&"*".repeat(KEY.len())));
    for status in ["400 Bad Request", "422 Unprocessable Content"] {
        for size in [said.len(), 1, 7] {
            let (upstream, harness) = ScriptedUpstream::harness("").await;
            let mut wire = RawConnection::open(harness.gateway.address).await;
            wire.send(good_chat()).await;
            let mut call = upstream.call().await;
            if size == said.len() {
                call.answer(status, said.as_bytes()).await;
            } else {
                let head = format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n");
                call.send(head).await;
                for piece in said.as_bytes().chunks(size) {
                    call.chunk(piece).await;
                }
                call.end().await;
            }
            let answer = wire.answer().await.unwrap();
            assert_eq!(answer.status.to_string(), status[..3]);
            assert_eq!(String::from_utf8_lossy(&answer.body), left);
        }
    }
}

#[tokio::test]
async fn an_error_in_a_stream_that_repeats_the_deployments_credential_is_told_without_it() {
    let event = |key: &str| {
        format!(
            "data: {{\"error\":{{\"type\":\"invalid_request_error\",\"message\":\"{key}\"}}}}\n\n"
        )
    };
    let left = event(&"*".repeat(KEY.len()));
    for before in ["", EVENT] {
        let (upstream, harness) = ScriptedUpstream::harness("").await;
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(post(CHAT, "", streamed().to_string())).await;
        let mut call = upstream.call().await;
        call.send(STREAM).await;
        call.chunk(before).await;
        if !before.is_empty() {
            assert!(wire.arrives(before).await);
        }
        call.chunk(event(KEY)).await;
        assert!(wire.arrives(&left).await, "behind {before:?}");
    }
}
