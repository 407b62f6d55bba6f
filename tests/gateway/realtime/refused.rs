//! Sessions that the gateway itself refuses, and keys that stand where others might read them.

use serde_json::Value;

use super::{DATED, KEY_LINE, V1, client, handshake, two};
use crate::{
    harness::{Harness, KEY, client_builder, status},
    http1_client::{RawConnection, post, request},
};

#[tokio::test]
async fn credentials_that_disagree_open_nothing() {
    let harness = two().await;
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
        refused(&harness, handshake(path, lines), 401, "401").await;
    }
    refused(&harness, handshake(V1, ""), 401, "401").await;
    refused(
        &harness,
        handshake(&format!("{V1}&api-key=another"), ""),
        401,
        "401",
    )
    .await;
    // In a URL a key counts for nothing but a WebSocket.
    let chat = crate::harness::chat().to_string();
    let path = format!("{}?api-key={KEY}", crate::harness::CHAT);
    refused(&harness, request("POST", &path, "", chat), 401, "401").await;
    let offered = format!("sec-websocket-protocol: openai-insecure-api-key.{KEY}\r\n");
    refused(
        &harness,
        request("GET", "/v1/models", &offered, ""),
        401,
        "401",
    )
    .await;
    assert!(harness.seen("first").is_empty() && harness.seen("second").is_empty());
    let reasons: Vec<_> = harness
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

async fn refused(harness: &Harness, asked: Vec<u8>, status: u16, code: &str) {
    let mut wire = RawConnection::open(harness.gateway.address).await;
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
    let harness = two().await;
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
        refused(&harness, bad.into(), 400, "400").await;
    }
    for query in [
        "",
        "?model=",
        "?model=a&model=b",
        "?model=gpt-4o&deployment=gpt-4o",
        "?model=%ff",
    ] {
        let path = format!("/openai/v1/realtime{query}");
        refused(&harness, handshake(&path, KEY_LINE), 400, "400").await;
    }
    let unknown = "/openai/v1/realtime?model=gpt-5";
    refused(
        &harness,
        handshake(unknown, KEY_LINE),
        404,
        "DeploymentNotFound",
    )
    .await;
    refused(
        &harness,
        handshake("/openai/v1/realtime/calls?model=gpt-4o", KEY_LINE),
        404,
        "404",
    )
    .await;
    refused(&harness, post(V1, "", "{}"), 405, "MethodNotAllowed").await;
    let h2 = client_builder().http2_prior_knowledge().build().unwrap();
    let answer = h2
        .get(harness.url(V1))
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
    assert!(harness.seen("first").is_empty() && harness.seen("second").is_empty());
}

#[tokio::test]
async fn without_the_grant_no_deployment_is_asked() {
    let hash = forebay::config::hash_key("another-key-of-the-tests")
        .unwrap()
        .hash;
    let more = format!(
        "  plain: {{ keys: [\"{hash}\"], models: [\"*\"], operations: [inference, stateful] }}"
    );
    let harness = Harness::open_with(&[("first", 1, 1)], &more).await;
    let lines = "api-key: another-key-of-the-tests\r\n";
    for path in [
        V1,
        DATED,
        "/openai/v1/realtime?model=nobodys",
        "/v1/realtime",
    ] {
        refused(&harness, handshake(path, lines), 403, "OperationNotAllowed").await;
    }
    assert!(harness.seen("first").is_empty());
}

#[tokio::test]
async fn a_key_in_a_query_is_in_no_log_no_metric_and_nothing_an_instance_sees() {
    const MARKED: &str = "marked-secret-of-the-tests-0123456789";
    let hash = forebay::config::hash_key(MARKED).unwrap().hash;
    let more = format!(
        "  marked: {{ keys: [\"{hash}\"], models: [gpt-4o], operations: [inference, realtime] }}"
    );
    let mut harness = Harness::open_with(&[("first", 1, 1), ("second", 2, 1)], &more).await;
    harness.fault("first", status(500, &[]));
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
        let mut wire = RawConnection::open(harness.gateway.address).await;
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
    let log = harness.log(paths.len()).await;
    let pages = [harness.metrics().await, harness.status().await.to_string()];
    harness.gateway.end();
    let seen = format!("{:?}{:?}", harness.seen("first"), harness.seen("second"));
    assert!(seen.contains("model=second-gpt-4o"), "{seen}");
    let log = Value::from(log).to_string();
    for text in [
        &said.concat(),
        &log,
        &pages.concat(),
        &harness.gateway.stderr(),
        &seen,
    ] {
        assert!(
            !text.contains(MARKED) && !text.contains("api-key="),
            "{text}"
        );
    }
}
