//! What the contenders are sent: requests written out once, the same bytes to each of them.

use bytes::Bytes;

/// One way of loading a contender.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) request: Bytes,
    pub(crate) connections: usize,
    /// For each turn.
    pub(crate) requests: u64,
    /// What a request's cost is told by: a part of it, and how many it has.
    pub(crate) part: Option<(&'static str, f64)>,
}

impl Case {
    pub(crate) fn all(requests: u64) -> Vec<Self> {
        let chat = |connections| Self {
            name: format!("chat, 1 KiB, {connections} connections"),
            request: plain(1 << 10),
            connections,
            requests,
            part: None,
        };
        let stream = Self {
            name: format!("stream of {EVENTS} events, unpaced, 16 connections"),
            request: request(1 << 10, r#""stream":true,"#),
            connections: 16,
            requests: (requests / 5).max(16),
            part: Some(("event", f64::from(EVENTS))),
        };
        let prompt = Self {
            name: "prompt of 256 KiB, 8 connections".into(),
            request: plain(256 << 10),
            connections: 8,
            requests: (requests / 20).max(8),
            part: Some(("MiB", 0.25)),
        };
        vec![chat(16), chat(32), stream, prompt]
    }
}

/// The filter's, the role's, sixteen tokens, the end's, and `[DONE]`.
const EVENTS: u32 = 20;

/// A chat whose body has this many bytes.
pub(crate) fn plain(size: usize) -> Bytes {
    request(size, "")
}

fn request(size: usize, members: &str) -> Bytes {
    let (before, after) = (
        format!(r#"{{"model":"gpt-4o",{members}"messages":[{{"role":"user","content":""#),
        r#""}]}"#,
    );
    // Words like these, so that strings are as long as prompts are.
    let words = "Above the dam the water waits until a turbine is free. ";
    let length = size.saturating_sub(before.len() + after.len());
    let text: String = words.chars().cycle().take(length).collect();
    let body = before + &text + after;
    let head = format!(
        "POST /openai/v1/chat/completions HTTP/1.1\r\nHost: gateway.test\r\napi-key: bench\r\n\
         Content-Type: application/json\r\nAccept: application/json\r\n\
         User-Agent: AzureOpenAI/Python 1.109.1\r\nx-stainless-lang: python\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into()
}
