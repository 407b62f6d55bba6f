//! Web pages that ask with what their reader's browser has: those of listed origins may, and no others.

use reqwest::{Method, Response};
use serde_json::Value;

use crate::{
    harness::{CHAT, Gateway, Harness, INSTANCE_KEY, KEY, chat},
    http1_client::{RawConnection, request},
};

const PAGE: &str = "https://app.contoso.example";

/// What an answer tells a browser.
fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name).map(|it| it.to_str().unwrap())
}

#[tokio::test]
async fn a_listed_page_may_ask_and_read_the_answer_and_no_other_may() {
    let more = format!("cors: {{ origins: [\"{PAGE}\"] }}\n");
    let harness = Harness::open_with(&[("only", 1, 1)], &more).await;
    let preflight = |origin: &'static str| {
        let request = harness.http.request(Method::OPTIONS, harness.url(CHAT));
        request
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "api-key,content-type")
            .send()
    };
    let answer = preflight(PAGE).await.unwrap();
    assert_eq!(answer.status(), 200);
    for (name, value) in [
        ("access-control-allow-origin", PAGE),
        ("access-control-allow-headers", "api-key,content-type"),
        ("vary", "origin"),
    ] {
        assert_eq!(header(&answer, name), Some(value), "{name}");
    }
    let methods = header(&answer, "access-control-allow-methods").unwrap();
    assert!(methods.contains("POST"), "{methods}");
    let other = preflight("https://evil.example").await.unwrap();
    assert_eq!(other.status(), 405);
    assert_eq!(header(&other, "access-control-allow-origin"), None);

    let ask = |origin: &'static str, key: &'static str, model: &'static str| {
        let mut body = chat();
        body["model"] = model.into();
        let request = harness.http.post(harness.url(CHAT)).json(&body);
        request
            .header("origin", origin)
            .header("api-key", key)
            .send()
    };
    for (key, model, status) in [
        (KEY, "gpt-4o", 200),
        (KEY, "none", 404),
        ("another", "gpt-4o", 401),
    ] {
        let answer = ask(PAGE, key, model).await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(header(&answer, "access-control-allow-origin"), Some(PAGE));
        let shown = header(&answer, "access-control-expose-headers").unwrap();
        assert!(shown.contains("x-request-id"), "{shown}");
        // Who shows a key has been given one; what it asks is its own matter, and its browser's.
        let answer = ask("https://evil.example", key, model).await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(header(&answer, "access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn without_cors_no_page_of_elsewhere_is_answered_as_one() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let request = harness.http.request(Method::OPTIONS, harness.url(CHAT));
    let request = request.header("origin", PAGE);
    let answer = request
        .header("access-control-request-method", "POST")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(header(&answer, "access-control-allow-origin"), None);
}

#[tokio::test]
async fn where_everyone_is_let_in_pages_of_elsewhere_are_not() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let instance = harness.simulator.address("only").unwrap();
    let config = |more: &str| {
        format!(
            "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\n\
             instances: {{ only: {{ endpoint: \"http://{instance}\", identity: key }} }}\n\
             models: {{ gpt-4o: {{ deployments: [{{ instance: only, deployment: only-gpt-4o }}] }} }}\n\
             anonymous: true\n{more}"
        )
    };
    let allowed = format!("cors: {{ origins: [\"{PAGE}\"] }}\n");
    for (more, from_page) in [("", 403), (allowed.as_str(), 200)] {
        let gateway = Gateway::start(&config(more)).await;
        let own = format!("http://{}", gateway.address);
        for (origin, status) in [
            (None, 200),
            (Some(own.as_str()), 200),
            (Some(PAGE), from_page),
            (Some("https://evil.example"), 403),
            (Some("null"), 403),
        ] {
            // As a page sends it of which the browser asks no question before.
            let lines = origin.map_or(String::new(), |it| format!("origin: {it}\r\n"));
            let lines = format!("{lines}content-type: text/plain\r\n");
            let sent = request("POST", CHAT, &lines, chat().to_string());
            let sent = String::from_utf8(sent).unwrap();
            let host = format!("host: {}\r\n", gateway.address);
            let mut wire = RawConnection::open(gateway.address).await;
            wire.send(sent.replace("host: gateway\r\n", &host)).await;
            let answer = wire.answer().await.unwrap();
            assert_eq!(answer.status, status, "{origin:?}");
            if status == 403 {
                let error: Value = answer.json();
                let message = error["error"]["message"].to_string();
                assert!(message.contains("another origin"), "{error}");
            }
        }
    }
}
