//! What goes out to a deployment and comes back to a client: every header, every path, every byte of the body.

mod bodies;
mod headers;
mod paths;

use forebay::simulator::SeenRequest;

use crate::{
    harness::{CHAT, Harness, chat},
    http1_client::{RawConnection, post},
};

fn header<'a>(seen: &'a SeenRequest, name: &str) -> &'a str {
    let found = seen.headers.iter().find(|(other, _)| other == name);
    &found.unwrap_or_else(|| panic!("no {name} in {seen:?}")).1
}

fn last(harness: &Harness, instance: &str) -> SeenRequest {
    harness.seen(instance).pop().unwrap()
}

#[tokio::test]
async fn an_http_1_0_client_gets_its_answer_whole_and_never_in_chunks() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    for (stream, end) in [(false, "}"), (true, "data: [DONE]\n\n")] {
        let mut body = chat();
        body["stream"] = stream.into();
        let request = post(CHAT, "", body.to_string());
        let request = String::from_utf8(request)
            .unwrap()
            .replacen("HTTP/1.1", "HTTP/1.0", 1);
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(request).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(
            (answer.status, answer.header("transfer-encoding")),
            (200, None),
            "{answer:?}"
        );
        assert!(String::from_utf8(answer.body).unwrap().ends_with(end));
        assert!(wire.ends().await);
    }
    assert_eq!(harness.asked("only"), 2);
}

#[tokio::test]
async fn a_connection_is_kept_or_ends_as_its_client_says() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    let old = |lines: &str| {
        let request = post(CHAT, lines, chat().to_string());
        let request = String::from_utf8(request).unwrap();
        request.replacen("HTTP/1.1", "HTTP/1.0", 1)
    };
    for request in [
        post(CHAT, "connection: keep-alive\r\n", chat().to_string()),
        old("connection: keep-alive\r\n").into(),
        post(CHAT, "connection: close\r\n", chat().to_string()),
    ] {
        wire.send(request).await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
    }
    assert!(wire.ends().await);
    for path in [CHAT, "/nothing"] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(old("").replacen(CHAT, path, 1)).await;
        assert!(wire.answer().await.is_some() && wire.ends().await, "{path}");
    }
}
