//! Realtime sessions: WebSockets that are opened with failover, and then pass as they are.

mod client;
mod handshake;
mod over_tls;
mod refused;

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::{
    harness::{Gateway, Harness, INSTANCE_KEY, KEY, eventually, eventually_async},
    http1_client::RawConnection,
};
pub(crate) use client::handshake;
use client::{Socket, update};

/// With the harness's own key in a header.
const KEY_LINE: &str = "api-key: a-key-of-the-tests\r\n";
const V1: &str = "/openai/v1/realtime?model=gpt-4o";
const DATED: &str = "/openai/realtime?api-version=2024-10-01-preview&deployment=gpt-4o";

async fn two() -> Harness {
    Harness::open(&[("first", 1, 1), ("second", 2, 1)]).await
}

/// How many sessions an instance has open.
fn open_at(harness: &Harness, instance: &str) -> u64 {
    let stats = harness.simulator.stats();
    let pages = stats.instances[instance].deployments.values();
    pages.map(|page| page.concurrent).sum()
}

#[tokio::test]
async fn a_session_is_opened_by_each_path_and_each_way_to_show_a_key() {
    let harness = two().await;
    let key = format!("api-key: {KEY}\r\n");
    let bearer = format!("authorization: Bearer {KEY}\r\n");
    let protocols = format!(
        "sec-websocket-protocol: realtime, openai-insecure-api-key.{KEY}, openai-beta.realtime-v1\r\n"
    );
    for (path, lines, asked) in [
        (
            DATED.to_owned(),
            key.as_str(),
            "/openai/realtime?api-version=2024-10-01-preview&deployment=first-gpt-4o",
        ),
        (
            V1.to_owned(),
            &bearer,
            "/openai/v1/realtime?model=first-gpt-4o",
        ),
        (
            "/v1/realtime?intent=x%20y&model=gpt-4o".to_owned(),
            &bearer,
            "/openai/v1/realtime?intent=x%20y&model=first-gpt-4o",
        ),
        (
            format!("{V1}&api-key={KEY}"),
            "",
            "/openai/v1/realtime?model=first-gpt-4o",
        ),
        (
            format!("{V1}&Authorization=Bearer%20{KEY}"),
            "",
            "/openai/v1/realtime?model=first-gpt-4o",
        ),
        (
            format!("{V1}&api%2Dkey={KEY}"),
            &key,
            "/openai/v1/realtime?model=first-gpt-4o",
        ),
        (
            V1.to_owned(),
            &protocols,
            "/openai/v1/realtime?model=first-gpt-4o",
        ),
    ] {
        opens_a_session(&harness, &path, lines, asked).await;
    }
    for line in harness.log(7).await {
        is_of_a_session(&line);
    }
    let page = harness.metrics().await;
    assert!(page.contains("forebay_requests_total{client=\"tests\",code=\"101\",model=\"gpt-4o\",operation=\"realtime\"} 7"), "{page}");
    assert!(page.contains("forebay_request_duration_seconds_count{deployment=\"first-gpt-4o\",instance=\"first\",model=\"gpt-4o\"} 0"), "{page}");
}

/// A session that the deployment is `asked` for, without the client's key.
async fn opens_a_session(harness: &Harness, path: &str, lines: &str, asked: &str) {
    harness.simulator.clear_requests();
    let mut socket = Socket::open(harness, path, lines).await;
    assert_eq!(socket.hear().await["type"], "session.created", "{path}");
    assert!(socket.header("x-request-id").is_some());
    for (name, _) in &socket.headers {
        assert!(
            !name.starts_with("x-ms-deployment") && name != "content-length",
            "{name}"
        );
    }
    socket.say(&update()).await;
    let updated = socket.hear().await;
    assert_eq!(
        (&updated["type"], &updated["session"]["model"]),
        (&"session.updated".into(), &"first-gpt-4o".into())
    );
    socket.close(1000, "done").await;

    let seen = harness.seen("first").pop().unwrap();
    assert_eq!((seen.path.as_str(), seen.method.as_str()), (asked, "GET"));
    assert!(!format!("{seen:?}").contains(KEY), "{seen:?}");
    let sent = |name: &str| {
        seen.headers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(
        (sent("upgrade"), sent("connection")),
        (Some("websocket"), Some("Upgrade"))
    );
    assert!(sent("authorization").is_some_and(|value| value.starts_with("Bearer ")));
    let offered = lines
        .contains("protocol")
        .then_some("realtime, openai-beta.realtime-v1");
    assert_eq!(sent("sec-websocket-protocol"), offered);
    assert_eq!(
        socket.header("sec-websocket-protocol"),
        offered.map(|_| "realtime")
    );
}

fn is_of_a_session(line: &Value) {
    assert_eq!(
        (
            &line["status"],
            &line["end"],
            &line["operation"],
            &line["method"]
        ),
        (
            &101.into(),
            &"complete".into(),
            &"realtime".into(),
            &"GET".into()
        ),
        "{line}"
    );
    assert_eq!(
        (&line["client"], &line["model"]),
        (&"tests".into(), &"gpt-4o".into())
    );
    let attempts = line["attempts"].as_array().unwrap();
    assert_eq!(
        (
            attempts.len(),
            &attempts[0]["outcome"],
            &attempts[0]["status"]
        ),
        (1, &"served".into(), &101.into())
    );
    assert!(
        line["request_bytes"].as_u64() > Some(0)
            && line["response_bytes"].as_u64() > line["request_bytes"].as_u64()
    );
}

#[tokio::test]
async fn what_either_end_says_reaches_the_other_as_it_is() {
    let harness = two().await;
    let mut socket = Socket::open(&harness, V1, KEY_LINE).await;
    socket.hear().await;
    // Text, small and large.
    for size in [0, 125, 126, 65_535, 65_536, 3 << 20] {
        let text = "é".repeat(size / 2);
        socket.say(&json!({"type": "conversation.item.create", "item": {"content": [{"type": "input_text", "text": text}]}})).await;
        let item = socket.hear().await;
        assert!(item["item"]["content"][0]["text"] == text, "{size}");
    }
    // Bytes of every value, and more than any buffer on the way.
    for size in [1, 256, 5 << 20] {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        socket.send(Message::Binary(bytes.clone().into())).await;
        assert!(
            matches!(socket.next().await, Some(Message::Binary(echo)) if echo == bytes),
            "{size}"
        );
    }
    socket.send(Message::Ping("are you there?".into())).await;
    assert!(matches!(socket.next().await, Some(Message::Pong(bytes)) if bytes == "are you there?"));
    socket
        .say(&json!({"type": "conversation.item.create", "item": {"content": [{"text": "hello"}]}}))
        .await;
    socket.hear().await;
    socket.say(&json!({"type": "response.create"})).await;
    let mut told = String::new();
    let done = loop {
        let event = socket.hear().await;
        match event["type"].as_str().unwrap() {
            "response.output_text.delta" => told.push_str(event["delta"].as_str().unwrap()),
            "response.done" => break event,
            _ => {}
        }
    };
    assert_eq!(told, "You said: hello");
    assert!(done["response"]["usage"]["output_tokens"].as_u64() > Some(0));
    // The instance ends it, with a code of its own.
    socket
        .say(&json!({"type": "simulator.close", "code": 4321, "reason": "enough"}))
        .await;
    let Some(Message::Close(Some(frame))) = socket.next().await else {
        panic!("no close came");
    };
    assert_eq!(
        (u16::from(frame.code), frame.reason.as_str()),
        (4321, "enough")
    );
    assert!(socket.next().await.is_none());
    // The client ends it, and the instance answers in kind.
    let mut socket = Socket::open(&harness, V1, KEY_LINE).await;
    socket.hear().await;
    let frame = socket
        .close(3001, "bye")
        .await
        .expect("the close is answered");
    assert_eq!(
        (frame.code, frame.reason.as_str()),
        (CloseCode::from(3001), "bye")
    );
    let log = harness.log(2).await;
    assert!(log.iter().all(|line| line["end"] == "complete"), "{log:?}");
    eventually("both are closed", || open_at(&harness, "first") == 0).await;
}

#[tokio::test]
async fn what_a_client_sends_right_behind_its_handshake_arrives_first() {
    let harness = two().await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    let frame = client::masked(br#"{"type":"simulator.close","code":4000,"reason":"early"}"#);
    let early = [handshake(V1, KEY_LINE), frame, client::masked_close()].concat();
    wire.send(early).await;
    let all = wire.drained().await;
    let text = String::from_utf8_lossy(&all);
    assert!(
        text.starts_with("HTTP/1.1 101 ") && text.contains("session.created"),
        "{text}"
    );
    assert!(all.ends_with(b"\x0f\xa0early"), "{text}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_session_at_the_instance() {
    let harness = two().await;
    let sockets = [
        Socket::open(&harness, V1, KEY_LINE).await,
        Socket::open(&harness, V1, KEY_LINE).await,
    ];
    eventually("both are open", || open_at(&harness, "first") == 2).await;
    let [mut polite, rude] = sockets;
    polite.hear().await;
    polite.half_close().await;
    eventually("the first has ended", || open_at(&harness, "first") == 1).await;
    rude.reset();
    eventually("the second has ended", || open_at(&harness, "first") == 0).await;
    let log = harness.log(2).await;
    assert_eq!(
        (&log[0]["end"], &log[1]["end"]),
        (&"complete".into(), &"client_left".into()),
        "{log:?}"
    );
    let nobody = "forebay_requests_inflight 0";
    eventually_async("nobody is counted any more", async || {
        harness.metrics().await.contains(nobody)
    })
    .await;
}

/// The client finds out by the end of its connection: a close that nobody sent is not made up.
#[tokio::test]
async fn a_session_whose_instance_dies_ends_without_a_close() {
    let harness = two().await;
    let mut socket = Socket::open(&harness, V1, KEY_LINE).await;
    socket.hear().await;
    socket.say(&json!({"type": "simulator.die"})).await;
    assert!(socket.next().await.is_none());
    let mut socket = Socket::open(&harness, V1, KEY_LINE).await;
    socket.hear().await;
    harness.switch("first", "down").await;
    assert!(socket.next().await.is_none());
    let log = harness.log(2).await;
    assert_eq!(
        (&log[0]["end"], &log[0]["attempts"][0]["outcome"]),
        (&"broken".into(), &"fault_broken".into()),
        "{log:?}"
    );
    // Nothing is asked again for a session that was open.
    assert!(harness.seen("second").is_empty());
}

/// What a client says in its session may be what it dies of.
#[tokio::test]
async fn sessions_that_die_on_one_client_close_nothing_for_another() {
    let harness = two().await;
    for _ in 0..6 {
        let mut socket = Socket::open(&harness, V1, KEY_LINE).await;
        socket.hear().await;
        socket.say(&json!({"type": "simulator.die"})).await;
        assert!(socket.next().await.is_none());
    }
    let log = harness.log(6).await;
    let is_first = |line: &serde_json::Value| {
        let attempt = &line["attempts"][0];
        attempt["instance"] == "first" && attempt["outcome"] == "fault_broken"
    };
    assert!(log.iter().all(is_first), "{log:?}");
    let status = harness.status().await;
    assert_eq!(status["models"][0]["deployments"][0]["state"], "closed");
}

#[tokio::test]
async fn a_session_in_which_nobody_says_anything_is_ended() {
    let harness = Harness::open_with(&[("only", 1, 1)], "failover: { idle_timeout: 1s }").await;
    let mut socket = Socket::open(&harness, V1, KEY_LINE).await;
    socket.hear().await;
    assert!(socket.next().await.is_none());
    let log = harness.log(1).await;
    assert_eq!(
        (&log[0]["end"], &log[0]["attempts"][0]["outcome"]),
        (&"idle".into(), &"served".into()),
        "{log:?}"
    );
    eventually("it has ended at the instance", || {
        open_at(&harness, "only") == 0
    })
    .await;
}

#[tokio::test]
async fn a_terminated_gateway_lets_open_sessions_go_on_until_they_end() {
    let mut harness = two().await;
    harness.gateway = again(&harness, "drain: { notice: 0s, deadline: 1m }").await;
    let mut socket = Socket::open(&harness, V1, KEY_LINE).await;
    socket.hear().await;
    harness.gateway.signal("TERM");
    let refuses = async || {
        tokio::net::TcpStream::connect(harness.gateway.address)
            .await
            .is_err()
    };
    eventually_async("nobody else is let in", refuses).await;
    for _ in 0..3 {
        socket.say(&update()).await;
        assert_eq!(socket.hear().await["type"], "session.updated");
    }
    assert!(harness.gateway.ended().is_none());
    socket.close(1000, "").await;
    eventually("the gateway has ended", || {
        harness.gateway.ended().is_some()
    })
    .await;
    assert_eq!(harness.log(1).await[0]["end"], "complete");
}

/// Another gateway before the first instance, with these settings.
async fn again(harness: &Harness, more: &str) -> Gateway {
    let address = harness.simulator.address("first").unwrap();
    let hash = forebay::config::hash_key(KEY).unwrap().hash;
    let config = format!(
        "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\ninstances: {{ first: {{ endpoint: \"http://{address}\", identity: key }} }}\n\
         models: {{ gpt-4o: {{ deployments: [{{ instance: first, deployment: first-gpt-4o }}] }} }}\n\
         clients: {{ tests: {{ keys: [\"{hash}\"], models: [\"*\"], operations: [inference, realtime] }} }}\n{more}\n"
    );
    Gateway::start(&config).await
}

#[tokio::test]
async fn sessions_take_nothing_from_the_connections_of_other_requests() {
    let harness = two().await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = Socket::open(&harness, V1, KEY_LINE).await;
        socket.hear().await;
        assert_eq!(harness.chat().await.status(), 200);
        sockets.push(socket);
    }
    assert_eq!(open_at(&harness, "first"), 20);
    let inflight = "forebay_deployment_inflight{deployment=\"first-gpt-4o\",instance=\"first\",model=\"gpt-4o\"} 20";
    let is_said = async || harness.metrics().await.contains(inflight);
    eventually_async("the chats are over, the sessions are not", is_said).await;
    for mut socket in sockets {
        socket.say(&update()).await;
        assert_eq!(socket.hear().await["type"], "session.updated");
        socket.close(1000, "").await;
    }
    eventually("all have ended", || open_at(&harness, "first") == 0).await;
    tokio::time::timeout(Duration::from_secs(30), harness.chat())
        .await
        .unwrap();
}

/// Both directions at once, with a megabyte on its way at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_can_say_much_at_once() {
    let harness = two().await;
    let mut socket = Socket::open(&harness, V1, KEY_LINE).await;
    socket.hear().await;
    let (mut out, mut back) = socket.split();
    let under_way = Arc::new(Semaphore::new(16));
    let allowed = Arc::clone(&under_way);
    let saying = tokio::spawn(async move {
        for _ in 0..512 {
            allowed.acquire().await.unwrap().forget();
            let piece = Message::Binary(vec![7; 64 << 10].into());
            out.send(piece).await.unwrap();
        }
        out
    });
    for _ in 0..512 {
        let next = tokio::time::timeout(Duration::from_secs(30), back.next()).await;
        let message = next.expect("an echo comes in time").unwrap().unwrap();
        assert_eq!(message.len(), 64 << 10);
        under_way.add_permits(1);
    }
    drop(saying.await.unwrap());
}

/// What it does not take would be held for it, or hold up the instance, for as long as it likes.
#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go() {
    let harness = Harness::open_with(&[("only", 1, 1)], "failover: { idle_timeout: 1s }").await;
    let mut socket = Socket::open(&harness, V1, KEY_LINE).await;
    socket.hear().await;
    let (mut out, back) = socket.split();
    let saying = tokio::spawn(async move {
        let piece = Message::Binary(vec![7; 1 << 20].into());
        while out.send(piece.clone()).await.is_ok() {}
    });
    eventually("the session has ended", || open_at(&harness, "only") == 0).await;
    saying.await.unwrap();
    drop(back);
    assert_eq!(harness.log(1).await[0]["status"], 101);
}
