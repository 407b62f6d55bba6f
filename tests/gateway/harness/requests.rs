//! What tests send, what deployments are told to do, and what comes of it.

use std::collections::BTreeMap;

use forebay::simulator::FaultKind;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

pub(crate) const CHAT: &str = "/openai/v1/chat/completions";

pub(crate) fn chat() -> Value {
    json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Why do dams spill?"}]})
}

/// A chat whose body is about so large, and a number that makes it its own.
pub(crate) fn chat_of(size: usize, number: usize) -> Vec<u8> {
    let filler = "wasser ".repeat(size / 7);
    let chat = json!({
        "model": "gpt-4o",
        "messages": [{"role": "system", "content": filler}, {"role": "user", "content": format!("number {number}")}],
    });
    chat.to_string().into_bytes()
}

pub(crate) fn streamed() -> Value {
    let mut chat = chat();
    chat["stream"] = true.into();
    chat
}

pub(crate) fn throttle(seconds: f64) -> FaultKind {
    FaultKind::Throttle { seconds }
}

/// An answer of this status and these headers.
pub(crate) fn status(status: u16, headers: &[(&str, &str)]) -> FaultKind {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    FaultKind::Status {
        status,
        headers: headers.collect::<BTreeMap<_, _>>(),
        body: None,
    }
}

/// Which instance served an answer, by the simulator's own header.
pub(crate) fn served_by(response: &Response) -> String {
    let header = response.headers()["x-simulator-deployment"]
        .to_str()
        .unwrap();
    header.split('/').next().unwrap().to_owned()
}

pub(crate) async fn error_of(response: Response, status: u16, code: &str) -> Value {
    assert_eq!(response.status(), StatusCode::from_u16(status).unwrap());
    assert!(response.headers().contains_key("x-request-id"));
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], code, "{body}");
    assert!(
        body["error"]["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty())
    );
    body
}
