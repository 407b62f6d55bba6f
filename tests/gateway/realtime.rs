//! Realtime sessions: WebSockets that are opened with failover, and then pass as they are.

mod client;
mod secure;

use std::time::Duration;

use forebay::simulator::FaultKind;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::{
    house::{
        Gateway, House, INSTANCE_KEY, KEY, client_builder, comes_true, eventually, status, throttle,
    },
    puppet::Puppet,
    raw::{Wire, good_chat, post, request},
};
pub(crate) use client::handshake;
use client::{Socket, update};

const V1: &str = "/openai/v1/realtime?model=gpt-4o";
const DATED: &str = "/openai/realtime?api-version=2024-10-01-preview&deployment=gpt-4o";

async fn two() -> House {
    House::open(&[("first", 1, 1), ("second", 2, 1)]).await
}

/// How many sessions an instance has open.
fn open_at(house: &House, instance: &str) -> u64 {
    let books = house.simulator.books();
    let pages = books.instances[instance].deployments.values();
    pages.map(|page| page.concurrent).sum()
}

#[tokio::test]
async fn a_session_is_opened_by_each_path_and_each_way_to_show_a_key() {
    let house = two().await;
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
        house.simulator.clear_requests();
        let mut socket = Socket::open(&house, &path, lines).await;
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

        let seen = house.seen("first").pop().unwrap();
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
    for line in house.log(7).await {
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
    let page = house.metrics().await;
    assert!(page.contains("forebay_requests_total{client=\"tests\",code=\"101\",model=\"gpt-4o\",operation=\"realtime\"} 7"), "{page}");
    assert!(page.contains("forebay_request_duration_seconds_count{deployment=\"first-gpt-4o\",instance=\"first\",model=\"gpt-4o\"} 0"), "{page}");
}

#[tokio::test]
async fn what_either_end_says_reaches_the_other_as_it_is() {
    let house = two().await;
    let mut socket = Socket::open(&house, V1, KEY_LINE).await;
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
    let mut socket = Socket::open(&house, V1, KEY_LINE).await;
    socket.hear().await;
    let frame = socket
        .close(3001, "bye")
        .await
        .expect("the close is answered");
    assert_eq!(
        (frame.code, frame.reason.as_str()),
        (CloseCode::from(3001), "bye")
    );
    let log = house.log(2).await;
    assert!(log.iter().all(|line| line["end"] == "complete"), "{log:?}");
    eventually("both are closed", || open_at(&house, "first") == 0).await;
}

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
            "unwanted",
        ),
        (FaultKind::NotDeployed {}, "not_deployed"),
        (FaultKind::Reset {}, "fault_reset"),
        (FaultKind::Close {}, "fault_reset"),
        (FaultKind::Hang {}, "fault_silence"),
    ] {
        let more = "failover: { first_byte_timeout: 1s }";
        let house = House::open_with(&[("first", 1, 1), ("second", 2, 1)], more).await;
        house.fault("first", fault.clone());
        let mut socket = Socket::open(&house, V1, KEY_LINE).await;
        assert_eq!(
            socket.hear().await["session"]["model"],
            "second-gpt-4o",
            "{fault:?}"
        );
        socket.close(1000, "").await;
        let log = house.log(1).await;
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
    let house = two().await;
    house.switch("first", "down").await;
    let mut socket = Socket::open(&house, DATED, KEY_LINE).await;
    assert_eq!(socket.hear().await["session"]["model"], "second-gpt-4o");
}

#[tokio::test]
async fn where_all_are_throttled_a_session_is_refused_with_the_wait_and_the_connection_stays_usable()
 {
    let house = two().await;
    for name in ["first", "second"] {
        house.fault(name, throttle(40.0));
    }
    let mut wire = Wire::open(house.gateway.address).await;
    // The first of them was asked in vain, so Pingora ends the connection behind it.
    wire.send(handshake(V1, KEY_LINE)).await;
    let answer = wire.answer().await.unwrap();
    let seconds = |answer: &crate::raw::Answer| {
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
    let mut wire = Wire::open(house.gateway.address).await;
    for _ in 0..2 {
        wire.send(handshake(V1, KEY_LINE)).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, answer.keeps_open()), (429, true));
        assert!((30..=40).contains(&seconds(&answer)));
    }
    wire.send(request("GET", "/v1/models", KEY_LINE, "")).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
    assert_eq!(house.asked("first") + house.asked("second"), 2);
}

/// What is the client's own mistake is told as the instance tells it.
#[tokio::test]
async fn an_instances_no_to_a_handshake_reaches_the_client_as_it_is() {
    let house = two().await;
    let error = r#"{"error":{"code":"OperationNotSupported","message":"The realtime operation does not work with the specified model."}}"#;
    let fault = FaultKind::Status {
        status: 400,
        headers: [].into(),
        body: Some(error.into()),
    };
    house.fault("first", fault);
    let mut wire = Wire::open(house.gateway.address).await;
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
    assert_eq!((house.asked("first"), house.asked("second")), (1, 0));
}

#[tokio::test]
async fn what_a_client_sends_right_behind_its_handshake_arrives_first() {
    let house = two().await;
    let mut wire = Wire::open(house.gateway.address).await;
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
    let house = two().await;
    let sockets = [
        Socket::open(&house, V1, KEY_LINE).await,
        Socket::open(&house, V1, KEY_LINE).await,
    ];
    eventually("both are open", || open_at(&house, "first") == 2).await;
    let [mut polite, rude] = sockets;
    polite.hear().await;
    polite.half_close().await;
    eventually("the first has ended", || open_at(&house, "first") == 1).await;
    rude.reset();
    eventually("the second has ended", || open_at(&house, "first") == 0).await;
    let log = house.log(2).await;
    assert_eq!(
        (&log[0]["end"], &log[1]["end"]),
        (&"complete".into(), &"client_left".into()),
        "{log:?}"
    );
    let nobody = "forebay_requests_inflight 0";
    comes_true("nobody is counted any more", async || {
        house.metrics().await.contains(nobody)
    })
    .await;
}

/// The client finds out by the end of its connection: a close that nobody sent is not made up.
#[tokio::test]
async fn a_session_whose_instance_dies_ends_without_a_close() {
    let house = two().await;
    let mut socket = Socket::open(&house, V1, KEY_LINE).await;
    socket.hear().await;
    socket.say(&json!({"type": "simulator.die"})).await;
    assert!(socket.next().await.is_none());
    let mut socket = Socket::open(&house, V1, KEY_LINE).await;
    socket.hear().await;
    house.switch("first", "down").await;
    assert!(socket.next().await.is_none());
    let log = house.log(2).await;
    assert_eq!(
        (&log[0]["end"], &log[0]["attempts"][0]["outcome"]),
        (&"broken".into(), &"fault_broken".into()),
        "{log:?}"
    );
    // Nothing is asked again for a session that was open.
    assert!(house.seen("second").is_empty());
}

#[tokio::test]
async fn a_session_in_which_nobody_says_anything_is_ended() {
    let house = House::open_with(&[("only", 1, 1)], "failover: { idle_timeout: 1s }").await;
    let mut socket = Socket::open(&house, V1, KEY_LINE).await;
    socket.hear().await;
    assert!(socket.next().await.is_none());
    let log = house.log(1).await;
    assert_eq!(
        (&log[0]["end"], &log[0]["attempts"][0]["outcome"]),
        (&"idle".into(), &"served".into()),
        "{log:?}"
    );
    eventually("it has ended at the instance", || {
        open_at(&house, "only") == 0
    })
    .await;
}

#[tokio::test]
async fn credentials_that_disagree_open_nothing() {
    let house = two().await;
    let key = format!("{V1}&api-key={KEY}");
    for (path, lines) in [
        (key.as_str(), "api-key: another\r\n"),
        (&format!("{V1}&api-key=another"), KEY_LINE),
        (&format!("{key}&api-key=another"), ""),
        (&format!("{key}&Authorization=Bearer%20another"), ""),
        (
            &key,
            "sec-websocket-protocol: realtime, openai-insecure-api-key.another\r\n",
        ),
        (&key, "authorization: Bearer another\r\n"),
        (&format!("{V1}&api-key="), KEY_LINE),
    ] {
        refused(&house, handshake(path, lines), 401, "401").await;
    }
    refused(&house, handshake(V1, ""), 401, "401").await;
    refused(
        &house,
        handshake(&format!("{V1}&api-key=another"), ""),
        401,
        "401",
    )
    .await;
    // In a URL a key counts for nothing but a WebSocket.
    let chat = crate::house::chat().to_string();
    let path = format!("{}?api-key={KEY}", crate::house::CHAT);
    refused(&house, request("POST", &path, "", chat), 401, "401").await;
    let offered = format!("sec-websocket-protocol: openai-insecure-api-key.{KEY}\r\n");
    refused(
        &house,
        request("GET", "/v1/models", &offered, ""),
        401,
        "401",
    )
    .await;
    assert!(house.seen("first").is_empty() && house.seen("second").is_empty());
    let reasons: Vec<_> = house
        .log(11)
        .await
        .iter()
        .map(|line| line["refusal"].clone())
        .collect();
    assert_eq!(
        reasons
            .iter()
            .filter(|reason| **reason == "ambiguous_credential")
            .count(),
        7,
        "{reasons:?}"
    );
}

async fn refused(house: &House, asked: Vec<u8>, status: u16, code: &str) {
    let mut wire = Wire::open(house.gateway.address).await;
    wire.send(&asked).await;
    let answer = wire.answer().await.unwrap();
    let error = answer.json();
    let shown = (answer.status, error["error"]["code"].as_str());
    assert_eq!(
        shown,
        (status, Some(code)),
        "{}",
        String::from_utf8_lossy(&asked)
    );
}

#[tokio::test]
async fn what_is_no_handshake_or_names_no_model_is_refused_and_never_forwarded() {
    let house = two().await;
    let good = String::from_utf8(handshake(V1, KEY_LINE)).unwrap();
    for (part, other) in [
        ("upgrade: websocket\r\n", ""),
        ("upgrade: websocket", "upgrade: h2c"),
        (
            "upgrade: websocket\r\n",
            "upgrade: websocket\r\nupgrade: websocket\r\n",
        ),
        ("connection: Upgrade", "connection: keep-alive"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("sec-websocket-version: 13", "sec-websocket-version: 8"),
        ("sec-websocket-key: ", "sec-websocket-key: x"),
        ("\r\n\r\n", "\r\ncontent-length: 3\r\n\r\nabc"),
        (
            "\r\n\r\n",
            "\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    ] {
        let bad = good.replacen(part, other, 1);
        assert_ne!(bad, good);
        refused(&house, bad.into(), 400, "400").await;
    }
    for query in [
        "",
        "?model=",
        "?model=a&model=b",
        "?model=gpt-4o&deployment=gpt-4o",
        "?model=%ff",
    ] {
        let path = format!("/openai/v1/realtime{query}");
        refused(&house, handshake(&path, KEY_LINE), 400, "400").await;
    }
    let unknown = "/openai/v1/realtime?model=gpt-5";
    refused(
        &house,
        handshake(unknown, KEY_LINE),
        404,
        "DeploymentNotFound",
    )
    .await;
    refused(
        &house,
        handshake("/openai/v1/realtime/calls?model=gpt-4o", KEY_LINE),
        404,
        "404",
    )
    .await;
    refused(&house, post(V1, "", "{}"), 405, "MethodNotAllowed").await;
    let h2 = client_builder().http2_prior_knowledge().build().unwrap();
    let answer = h2
        .get(house.url(V1))
        .header("api-key", KEY)
        .send()
        .await
        .unwrap();
    let error: Value = answer.json().await.unwrap();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("HTTP/1.1") && message.contains("Upgrade: websocket"),
        "{error}"
    );
    assert!(house.seen("first").is_empty() && house.seen("second").is_empty());
}

#[tokio::test]
async fn without_the_grant_no_deployment_is_asked() {
    let hash = forebay::config::hash_key("another-key-of-the-tests")
        .unwrap()
        .hash;
    let more = format!(
        "  plain: {{ keys: [\"{hash}\"], models: [\"*\"], operations: [inference, stateful] }}"
    );
    let house = House::open_with(&[("first", 1, 1)], &more).await;
    let lines = "api-key: another-key-of-the-tests\r\n";
    for path in [
        V1,
        DATED,
        "/openai/v1/realtime?model=nobodys",
        "/v1/realtime",
    ] {
        refused(&house, handshake(path, lines), 403, "OperationNotAllowed").await;
    }
    assert!(house.seen("first").is_empty());
}

/// An `Upgrade` anywhere else means nothing, and what an instance answers to it is no tunnel.
#[tokio::test]
async fn on_any_other_path_an_upgrade_is_ignored_and_a_101_is_no_answer() {
    let (puppet, house) = Puppet::house("").await;
    for lines in [
        "",
        "connection: Upgrade\r\nupgrade: h2c\r\n",
        "connection: Upgrade\r\nupgrade: websocket\r\n",
    ] {
        let mut wire = Wire::open(house.gateway.address).await;
        wire.send(post(
            crate::house::CHAT,
            lines,
            crate::house::chat().to_string(),
        ))
        .await;
        let mut call = puppet.call().await;
        call.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nnot HTTP any more").await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(
            (answer.status, answer.header("x-forebay-deployment")),
            (200, Some("well/well-gpt-4o")),
            "{lines}"
        );
        wire.send(good_chat()).await;
        drop(call);
    }
    let seen = house.seen("well");
    assert!(
        seen.iter()
            .all(|seen| !seen.headers.iter().any(|(name, _)| name == "upgrade")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_101_that_is_not_what_was_asked_for_opens_no_tunnel() {
    let (puppet, house) = Puppet::house("breaker: { faults: 1000 }").await;
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
        let opened = tokio::spawn(client::opened(house.gateway.address, V1, KEY_LINE));
        let mut call = puppet.call().await;
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

#[tokio::test]
async fn a_terminated_gateway_lets_open_sessions_go_on_until_they_end() {
    let mut house = two().await;
    house.gateway = again(&house, "drain: { notice: 0s, deadline: 1m }").await;
    let mut socket = Socket::open(&house, V1, KEY_LINE).await;
    socket.hear().await;
    house.gateway.signal("TERM");
    let refuses = async || {
        tokio::net::TcpStream::connect(house.gateway.address)
            .await
            .is_err()
    };
    comes_true("nobody else is let in", refuses).await;
    for _ in 0..3 {
        socket.say(&update()).await;
        assert_eq!(socket.hear().await["type"], "session.updated");
    }
    assert!(house.gateway.ended().is_none());
    socket.close(1000, "").await;
    eventually("the gateway has ended", || house.gateway.ended().is_some()).await;
    assert_eq!(house.log(1).await[0]["end"], "complete");
}

/// Another gateway before the first instance, with these settings.
async fn again(house: &House, more: &str) -> Gateway {
    let address = house.simulator.address("first").unwrap();
    let hash = forebay::config::hash_key(KEY).unwrap().hash;
    let config = format!(
        "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\ninstances: {{ first: {{ endpoint: \"http://{address}\", identity: key }} }}\n\
         models: {{ gpt-4o: {{ deployments: [{{ instance: first, deployment: first-gpt-4o }}] }} }}\n\
         clients: {{ tests: {{ keys: [\"{hash}\"], models: [\"*\"], operations: [inference, realtime] }} }}\n{more}\n"
    );
    Gateway::start(&config).await
}

#[tokio::test]
async fn a_key_in_a_query_is_in_no_log_no_metric_and_nothing_an_instance_sees() {
    const MARKED: &str = "marked-secret-of-the-tests-0123456789";
    let hash = forebay::config::hash_key(MARKED).unwrap().hash;
    let more = format!(
        "  marked: {{ keys: [\"{hash}\"], models: [gpt-4o], operations: [inference, realtime] }}"
    );
    let mut house = House::open_with(&[("first", 1, 1), ("second", 2, 1)], &more).await;
    house.fault("first", status(500, &[]));
    let query = format!("api-key={MARKED}");
    let paths = [
        format!("{V1}&{query}"),
        format!("{DATED}&Authorization=Bearer%20{MARKED}"),
        format!("/openai/v1/realtime?model=gpt-5&{query}"),
        format!("/openai/v1/realtime?{query}"),
        format!("/openai/v1/realtime/calls?{query}"),
        format!("/openai/v1/realtime?model={MARKED}&{query}"),
        format!("{V1}&{query}&api-key=x"),
        format!("{V1}&api-key={MARKED}x"),
    ];
    let mut said = Vec::new();
    for (at, path) in paths.iter().enumerate() {
        let mut wire = Wire::open(house.gateway.address).await;
        let offered = format!("sec-websocket-protocol: openai-insecure-api-key.{MARKED}\r\n");
        wire.send(handshake(path, &offered)).await;
        match at {
            0 | 1 => wire.send(client::masked_close()).await,
            _ => wire.half_close().await,
        }
        said.push(String::from_utf8_lossy(&wire.drained().await).into_owned());
    }
    assert!(
        said[0].starts_with("HTTP/1.1 101 ") && said[1].starts_with("HTTP/1.1 101 "),
        "{said:?}"
    );
    let log = house.log(paths.len()).await;
    let pages = [house.metrics().await, house.status().await.to_string()];
    house.gateway.end();
    let seen = format!("{:?}{:?}", house.seen("first"), house.seen("second"));
    assert!(seen.contains("model=second-gpt-4o"), "{seen}");
    let log = Value::from(log).to_string();
    for text in [
        &said.concat(),
        &log,
        &pages.concat(),
        &house.gateway.stderr(),
        &seen,
    ] {
        assert!(
            !text.contains(MARKED) && !text.contains("api-key="),
            "{text}"
        );
    }
}

/// With the house's own key in a header.
const KEY_LINE: &str = "api-key: a-key-of-the-tests\r\n";

#[tokio::test]
async fn sessions_take_nothing_from_the_connections_of_other_requests() {
    let house = two().await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = Socket::open(&house, V1, KEY_LINE).await;
        socket.hear().await;
        assert_eq!(house.chat().await.status(), 200);
        sockets.push(socket);
    }
    assert_eq!(open_at(&house, "first"), 20);
    let page = house.metrics().await;
    assert!(page.contains("forebay_deployment_inflight{deployment=\"first-gpt-4o\",instance=\"first\",model=\"gpt-4o\"} 20"), "{page}");
    for mut socket in sockets {
        socket.say(&update()).await;
        assert_eq!(socket.hear().await["type"], "session.updated");
        socket.close(1000, "").await;
    }
    eventually("all have ended", || open_at(&house, "first") == 0).await;
    tokio::time::timeout(Duration::from_secs(30), house.chat())
        .await
        .unwrap();
}

/// Both directions at once, with more under way than the sockets between can hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_can_say_much_at_once() {
    let house = two().await;
    let mut socket = Socket::open(&house, V1, KEY_LINE).await;
    socket.hear().await;
    let (mut out, mut back) = socket.split();
    let saying = tokio::spawn(async move {
        for _ in 0..64 {
            out.send(Message::Binary(vec![7; 1 << 20].into()))
                .await
                .unwrap();
        }
        out
    });
    for heard in 0..64 {
        let next = tokio::time::timeout(Duration::from_secs(30), back.next()).await;
        let message = next
            .unwrap_or_else(|_| panic!("stuck after {heard}"))
            .unwrap()
            .unwrap();
        assert_eq!(message.len(), 1 << 20);
    }
    drop(saying.await.unwrap());
}
