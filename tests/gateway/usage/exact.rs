//! Every operation's usage, plain and streamed, to the token.

use serde_json::{Value, json};

use super::{Tokens, counted, estimated, harness};
use crate::harness::Harness;

const ALL_KINDS: &str = "usage: { reasoning: 5, audio_input: 3, audio_output: 2, tier: priority }";

async fn ask(harness: &Harness, path: &str, body: &Value) -> String {
    let answer = harness.post(path).json(body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path} {body}");
    answer.text().await.unwrap()
}

#[tokio::test]
async fn each_operation_is_counted_to_the_token() {
    let chat = format!("model: gpt-4o, {ALL_KINDS}");
    let harness = harness(
        &[
            ("gpt-4o", &chat),
            ("instruct", "model: gpt-35-turbo-instruct"),
            ("o3", "model: o3, usage: { tier: flex }"),
            ("embed", "model: text-embedding-3-small"),
            ("image", "model: gpt-image-1"),
            ("gpt-4o-transcribe", "model: gpt-4o-transcribe"),
            ("whisper", "model: whisper"),
            ("tts", "model: tts"),
        ],
        "",
        "",
    )
    .await;
    let mut asked = Vec::new();
    for (model, path, body, tier) in cases() {
        let before = harness.stats(model);
        ask(&harness, &format!("/openai/v1/{path}"), &body).await;
        asked.push((model, before, harness.stats(model), tier));
    }
    for (model, format) in [("gpt-4o-transcribe", "json"), ("whisper", "verbose_json")] {
        let before = harness.stats(model);
        transcribe(&harness, model, format).await;
        asked.push((model, before, harness.stats(model), ""));
    }
    accounts_agree(&harness, &asked).await;
}

/// By model and path: the body, and the tier that its answer names.
fn cases() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let messages = json!([{"role": "user", "content": "Why do dams spill?"}]);
    // Long enough that its second time is cached.
    let long = json!([{"role": "user", "content": "wasser ".repeat(1_000)}]);
    let chat = |more: Value| with(json!({"model": "gpt-4o", "messages": messages}), more);
    vec![
        ("gpt-4o", "chat/completions", chat(json!({})), "priority"),
        (
            "gpt-4o",
            "chat/completions",
            chat(json!({"stream": true})),
            "priority",
        ),
        (
            "gpt-4o",
            "chat/completions",
            chat(json!({"stream": true, "stream_options": {"include_usage": true}})),
            "priority",
        ),
        (
            "gpt-4o",
            "chat/completions",
            chat(json!({"stream": true, "n": 3})),
            "priority",
        ),
        (
            "gpt-4o",
            "chat/completions",
            chat(json!({"messages": long})),
            "priority",
        ),
        (
            "gpt-4o",
            "chat/completions",
            chat(json!({"messages": long})),
            "priority",
        ),
        (
            "instruct",
            "completions",
            json!({"model": "instruct", "prompt": "Why?"}),
            "",
        ),
        (
            "instruct",
            "completions",
            json!({"model": "instruct", "prompt": "Why?", "stream": true, "stream_options": {"include_usage": true}}),
            "",
        ),
        (
            "o3",
            "responses",
            json!({"model": "o3", "input": "Why do dams spill?"}),
            "flex",
        ),
        (
            "o3",
            "responses",
            json!({"model": "o3", "input": "Why do dams spill?", "stream": true}),
            "flex",
        ),
        (
            "o3",
            "responses",
            json!({"model": "o3", "input": "Why?", "stream": true, "max_output_tokens": 66}),
            "flex",
        ),
        (
            "embed",
            "embeddings",
            json!({"model": "embed", "input": ["a text", "another one"]}),
            "",
        ),
        (
            "image",
            "images/generations",
            json!({"model": "image", "prompt": "a dam", "n": 2}),
            "",
        ),
    ]
}

/// The simulator's own account, the log and the metrics, each to the token.
async fn accounts_agree(harness: &Harness, asked: &[(&str, Tokens, Tokens, &str)]) {
    let log = harness.log(asked.len()).await;
    for ((model, before, after, tier), line) in asked.iter().zip(&log) {
        let mut told = *before;
        told += Tokens::of_line(line);
        assert_eq!(told, *after, "{model}: {line}");
        assert_eq!(line["usage"]["estimated"], false, "{line}");
        assert_eq!(
            line["usage"]["tier"].as_str().unwrap_or(""),
            *tier,
            "{line}"
        );
    }
    let page = harness.metrics_of(asked.len() as u64).await;
    for ((client, deployment), tokens) in counted(&page) {
        assert_eq!(client, "tests");
        assert_eq!(tokens, harness.stats(&deployment), "{deployment}");
    }
    let kinds = harness.stats("gpt-4o");
    assert!(kinds.0.iter().all(|tokens| *tokens > 0), "{kinds:?}");
    let reasons = [
        "encoded",
        "missing",
        "untold",
        "invalid",
        "not_asked",
        "broken",
        "client_left",
    ];
    assert_eq!(reasons.map(|reason| estimated(&page, reason)), [0; 7]);
}

async fn transcribe(harness: &Harness, model: &str, format: &str) {
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let fields = [
        ("model", model),
        ("response_format", format),
        ("file", "RIFF"),
    ];
    let form: String = fields.map(|(name, value)| part(name, value)).concat() + "--b--\r\n";
    let request = harness
        .http
        .post(harness.url("/openai/v1/audio/transcriptions"))
        .header("api-key", crate::harness::KEY)
        .header("content-type", "multipart/form-data; boundary=b");
    assert_eq!(request.body(form).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_is_no_answer_and_what_is_not_counted_in_tokens_has_no_usage() {
    let harness = harness(
        &[("gpt-4o", "model: gpt-4o"), ("tts", "model: tts")],
        "",
        "",
    )
    .await;
    let chat = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "trigger_content_filter"}]});
    let path = "/openai/v1/chat/completions";
    let answer = harness.post(path).json(&chat).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let unknown = json!({"model": "unknown", "messages": []});
    let answer = harness.post(path).json(&unknown).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    ask(
        &harness,
        "/openai/v1/audio/speech",
        &json!({"model": "tts", "input": "Hello.", "voice": "alloy"}),
    )
    .await;
    for line in harness.log(3).await {
        assert!(line["usage"].is_null(), "{line}");
    }
    assert!(
        counted(&harness.metrics_of(3).await)
            .values()
            .all(|tokens| *tokens == Tokens::default())
    );
}

fn with(mut body: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}
