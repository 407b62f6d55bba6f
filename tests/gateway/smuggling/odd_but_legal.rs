//! What looks odd and is legal: served, and the connection serves the next request too.

use super::*;
use crate::http1_client::{post, request};

#[tokio::test]
async fn what_looks_odd_and_is_legal_is_served_and_poisons_nothing() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let (body, length) = body();
    let (first, rest) = body.split_at(7);
    let framed = |lines: &str, behind: &str| chat_with(lines, behind);
    let chunked = |size: String, trailer: &str| {
        let behind = format!("7\r\n{first}\r\n{size}\r\n{rest}\r\n0\r\n{trailer}\r\n");
        framed("transfer-encoding: chunked\r\n", &behind)
    };
    let left = length - 7;
    let plain = format!("content-length: {length}\r\n");
    let with = |lines: &str| framed(&format!("{plain}{lines}"), &body);
    let absolute = with("").replacen(CHAT, &format!("http://gateway{CHAT}?include=1"), 1);
    let old = with("connection: keep-alive\r\n").replacen("HTTP/1.1", "HTTP/1.0", 1);
    let h2c = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    let cases = [
        ("chunks", chunked(format!("{left:x}"), "")),
        (
            "a size in capitals, with zeros before it",
            chunked(format!("{left:05X}"), ""),
        ),
        ("an extension", chunked(format!("{left:x};a=\"b\";c"), "")),
        ("a trailer", chunked(format!("{left:x}"), "x-sum: 1\r\n")),
        (
            "tabs around the coding",
            framed(
                "Transfer-Encoding:\tChunked\t\r\n",
                &format!("{length:x}\r\n{body}\r\n0\r\n\r\n"),
            ),
        ),
        (
            "zeros before the length",
            framed(&format!("content-length: 000{length}\r\n"), &body),
        ),
        ("an empty line first", format!("\r\n{}", with(""))),
        ("the host in the URL too", absolute),
        ("HTTP/1.0 that stays", old),
        ("HTTP/2 offered", with(h2c)),
        (
            "a WebSocket asked for with a body",
            with("connection: upgrade\r\nupgrade: websocket\r\n"),
        ),
        ("an empty value", with("x-empty:\r\n")),
        (
            "letters of another kind in a value",
            with("x-name: J\u{f6}rg\r\n"),
        ),
        ("as many lines as may be", with(&"x: y\r\n".repeat(100 - 5))),
    ];
    let sound = good_chat();
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for (i, (name, bytes)) in cases.iter().enumerate() {
        // The next one right behind it.
        wire.send([bytes.as_bytes(), &sound].concat()).await;
        for which in [name, "what came behind it"] {
            let answer = wire
                .answer()
                .await
                .unwrap_or_else(|| panic!("{name}: none to {which}"));
            assert_eq!(answer.status, 200, "{name}: {which}: {answer:?}");
        }
        assert_eq!(harness.asked("only"), 2 * (i as u64 + 1), "{name}");
    }
    let seen = harness.seen("only");
    let hashes = seen.iter().map(|seen| seen.body_sha256.clone().unwrap());
    assert_eq!(hashes.collect::<std::collections::BTreeSet<_>>().len(), 1);
    assert!(seen.iter().all(|seen| seen.path.starts_with(CHAT)));
}

/// What a refused request holds is its own, however much it looks like another.
#[tokio::test]
async fn the_body_of_a_refused_request_is_never_a_request() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let hidden = good_chat();
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for (bytes, status) in [
        (request("POST", CHAT, "api-key: another\r\n", &hidden), 401),
        (post("/nowhere", "", &hidden), 404),
        (post(CHAT, "", &hidden), 400),
        (request("TRACE", CHAT, "", &hidden), 405),
        (request("DELETE", CHAT, "", &hidden), 405),
        (
            request(
                "GET",
                "/openai/v1/models",
                &format!("api-key: {KEY}\r\n"),
                &hidden,
            ),
            200,
        ),
        (request("GET", "/health", "", &hidden), 200),
    ] {
        wire.send(&bytes).await;
        assert_eq!(wire.answer().await.unwrap().status, status);
        assert_eq!(harness.asked("only"), 0);
    }
    wire.send(&hidden).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
    assert_eq!(harness.asked("only"), 1);
}

#[tokio::test]
async fn what_comes_behind_a_good_request_is_looked_at_as_strictly() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let bad = chat_with(
        "content-length: 1\r\ntransfer-encoding: chunked\r\n",
        "0\r\n\r\n",
    );
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send([&good_chat(), &good_chat(), bad.as_bytes(), &good_chat()].concat())
        .await;
    for status in [200, 200, 400] {
        assert_eq!(wire.answer().await.unwrap().status, status);
    }
    assert!(wire.ends().await);
    assert_eq!(harness.asked("only"), 2);
}

/// However a request is cut on its way, it is the same request.
#[tokio::test]
async fn a_request_may_come_in_any_pieces() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let (body, length) = body();
    let whole = chat_with(
        "transfer-encoding: chunked\r\n",
        &format!("{length:x}\r\n{body}\r\n0\r\n\r\n"),
    );
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for size in [1, 2, 7, 64, 150] {
        for piece in whole.as_bytes().chunks(size) {
            wire.send(piece).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(
            wire.answer().await.unwrap().status,
            200,
            "in pieces of {size}"
        );
    }
    assert_eq!(harness.asked("only"), 5);
}
