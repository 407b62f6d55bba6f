//! Until a deployment has said 101 a session is a request like any other; what is no 101, or not the one that was asked for,
//! opens nothing.

use forebay::simulator::FaultKind;

use super::{DATED, KEY_LINE, Socket, V1, client, handshake, two};
use crate::{
    harness::{Harness, status, throttle},
    http1_client::{RawConnection, good_chat, post, request},
    scripted_upstream::ScriptedUpstream,
};

#[tokio::test]
async fn until_a_deployment_has_said_101_another_may_take_its_place() {
    for (fault, outcome) in [
        (status(429, &[("retry-after-ms", "1")]), "throttled"),
        (status(500, &[]), "fault_status"),
        (status(503, &[]), "fault_status"),
        (status(403, &[]), "identity_rejected"),
        // Not what was asked for, though no error: nothing of it may pass for a session.
        (status(200, &[]), "unwanted"),
        (status(204, &[]), "unwanted"),
        (
            status(302, &[("location", "http://elsewhere.example")]),
            "redirected",
        ),
        (FaultKind::NotDeployed {}, "not_deployed"),
        (FaultKind::Reset {}, "fault_reset"),
        (FaultKind::Close {}, "fault_reset"),
        (FaultKind::Hang {}, "fault_silence"),
    ] {
        // Short where it is waited for; elsewhere a slow machine must not run into it.
        let more = match outcome {
            "fault_silence" => "failover: { first_byte_timeout: 3s }",
            _ => "",
        };
        let harness = Harness::open_with(&[("first", 1, 1), ("second", 2, 1)], more).await;
        harness.fault("first", fault.clone());
        let mut socket = Socket::open(&harness, V1, KEY_LINE).await;
        assert_eq!(
            socket.hear().await["session"]["model"],
            "second-gpt-4o",
            "{fault:?}"
        );
        socket.close(1000, "").await;
        let log = harness.log(1).await;
        let attempts = log[0]["attempts"].as_array().unwrap();
        let (tried, last) = (&attempts[0], attempts.last().unwrap());
        assert_eq!(
            (&tried["instance"], &tried["outcome"]),
            (&"first".into(), &outcome.into()),
            "{log:?}"
        );
        assert_eq!(
            (&last["instance"], &last["status"]),
            (&"second".into(), &101.into()),
            "{log:?}"
        );
    }
    let harness = two().await;
    harness.switch("first", "down").await;
    let mut socket = Socket::open(&harness, DATED, KEY_LINE).await;
    assert_eq!(socket.hear().await["session"]["model"], "second-gpt-4o");
}

#[tokio::test]
async fn where_all_are_throttled_a_session_is_refused_with_the_wait_and_the_connection_stays_usable()
 {
    let harness = two().await;
    for name in ["first", "second"] {
        harness.fault(name, throttle(40.0));
    }
    let mut wire = RawConnection::open(harness.gateway.address).await;
    // The first of them was asked in vain, so Pingora ends the connection behind it.
    wire.send(handshake(V1, KEY_LINE)).await;
    let answer = wire.answer().await.unwrap();
    let seconds = |answer: &crate::http1_client::Answer| {
        answer
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (429, Some("429"))
    );
    assert!((30..=40).contains(&seconds(&answer)) && answer.header("retry-after-ms").is_some());
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for _ in 0..2 {
        wire.send(handshake(V1, KEY_LINE)).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, answer.keeps_open()), (429, true));
        assert!((30..=40).contains(&seconds(&answer)));
    }
    wire.send(request("GET", "/v1/models", KEY_LINE, "")).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
    assert_eq!(harness.asked("first") + harness.asked("second"), 2);
}

/// What is the client's own mistake is told as the instance tells it.
#[tokio::test]
async fn an_instances_no_to_a_handshake_reaches_the_client_as_it_is() {
    let harness = two().await;
    let error = r#"{"error":{"code":"OperationNotSupported","message":"The realtime operation does not work with the specified model."}}"#;
    let fault = FaultKind::Status {
        status: 400,
        headers: [].into(),
        body: Some(error.into()),
    };
    harness.fault("first", fault);
    let mut wire = RawConnection::open(harness.gateway.address).await;
    // What follows on the connection is a request again.
    wire.send(
        [
            handshake(V1, KEY_LINE),
            request("GET", "/v1/models", KEY_LINE, ""),
        ]
        .concat(),
    )
    .await;
    let answer = wire.answer().await.unwrap();
    assert_eq!(
        (
            answer.status,
            String::from_utf8(answer.body).unwrap().as_str()
        ),
        (400, error)
    );
    assert_eq!(wire.answer().await.unwrap().status, 200);
    assert_eq!((harness.asked("first"), harness.asked("second")), (1, 0));
}

/// An `Upgrade` anywhere else means nothing, and what an instance answers to it is no tunnel.
#[tokio::test]
async fn on_any_other_path_an_upgrade_is_ignored_and_a_101_is_no_answer() {
    let (upstream, harness) = ScriptedUpstream::harness("").await;
    for lines in [
        "",
        "connection: Upgrade\r\nupgrade: h2c\r\n",
        "connection: Upgrade\r\nupgrade: websocket\r\n",
    ] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(post(
            crate::harness::CHAT,
            lines,
            crate::harness::chat().to_string(),
        ))
        .await;
        let mut call = upstream.call().await;
        call.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nnot HTTP any more").await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(
            (answer.status, answer.header("x-forebay-deployment")),
            (200, Some("well/well-gpt-4o")),
            "{lines}"
        );
        drop(call);
        wire.send(good_chat()).await;
        upstream.call().await.answer("200 OK", b"{}").await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
    }
    let seen = harness.seen("well");
    assert!(
        seen.iter()
            .all(|seen| !seen.headers.iter().any(|(name, _)| name == "upgrade")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_101_that_is_not_what_was_asked_for_opens_no_tunnel() {
    let (upstream, harness) = ScriptedUpstream::harness("breaker: { faults: 1000 }").await;
    let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for head in [
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n{accept}\r\n"
        ),
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
            .into(),
        format!(
            "HTTP/1.0 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n{accept}\r\n"
        ),
        "HTTP/1.1 200 OK\r\nupgrade: websocket\r\n\r\nanything".into(),
    ] {
        let opened = tokio::spawn(client::opened(harness.gateway.address, V1, KEY_LINE));
        let mut call = upstream.call().await;
        call.send(&head).await;
        let mut socket = opened.await.unwrap();
        assert_eq!(
            socket.hear().await["session"]["model"],
            "well-gpt-4o",
            "{head}"
        );
        drop(call);
    }
}
