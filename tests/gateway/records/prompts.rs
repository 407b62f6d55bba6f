//! Prompts are kept of clients whose operator wants that, and of nobody else; redacted, cut, and for their owner's eyes.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use super::of_log;
use crate::{
    harness::{CHAT, Harness, KEY, chat, error_of, eventually_async, status, streamed},
    memory::{CLASSIC, named_first},
};

const KEPT_KEY: &str = "MARKED-key-of-the-kept-client";

/// A harness with a client whose prompts are kept, beside the one whose are not.
async fn harness(more: &str) -> Harness {
    let hash = forebay::config::hash_key(KEPT_KEY).unwrap().hash;
    let config = format!(
        "  kept: {{ keys: [\"{hash}\"], models: [\"*\"], log_prompts: true }}\n\
         log:\n  access: OWN_FOLDER/access.jsonl\n  usage: OWN_FOLDER/usage.jsonl\n  \
         prompts: {{ file: OWN_FOLDER/prompts.jsonl, max_bytes: 1KiB, redact: ['[a-z.]+@[a-z.]+'] }}\n{more}"
    );
    Harness::open_with(&[("a", 1, 1), ("b", 2, 1)], &config).await
}

async fn ask(harness: &Harness, key: &str, path: &str, body: impl Into<reqwest::Body>) -> u16 {
    let request = harness.http.post(harness.url(path)).header("api-key", key);
    let request = request.header("content-type", "application/json");
    let response = request.body(body).send().await.unwrap();
    let status = response.status().as_u16();
    let _ = response.bytes().await;
    status
}

fn asking(mut chat: Value, prompt: &str) -> String {
    chat["messages"][0]["content"] = "PLACE".into();
    chat.to_string().replace("PLACE", prompt)
}

#[tokio::test]
async fn prompts_are_kept_of_those_clients_alone_that_opted_in_and_nowhere_else() {
    let mut harness = harness("").await;
    sends_marked_prompts(&harness).await;
    let lines = harness.lines_of("prompts.jsonl", 4).await;
    are_redacted_and_cut(&lines);

    let records = harness.usage_records(5).await;
    let log = harness.log(6).await;
    for (line, record) in lines.iter().zip(&records[1..]) {
        assert_eq!(line["client"], "kept");
        assert_eq!(line["request_id"], record["request_id"]);
        assert!(log.iter().any(|it| it["request_id"] == line["request_id"]));
    }
    let pages = [harness.metrics().await, harness.status().await.to_string()];
    harness.gateway.end();
    are_nowhere_else(&harness, &pages);
}

/// Of a client whose prompts are kept, and of one whose are not.
async fn sends_marked_prompts(harness: &Harness) {
    let others = asking(chat(), "MARKED-theirs");
    assert_eq!(ask(harness, KEY, CHAT, others).await, 200);
    // Escapes hide nothing; what moves on to another deployment is there once.
    let mail = asking(chat(), r"MARKED-ours, write to jo\u0040x.org");
    assert_eq!(ask(harness, KEPT_KEY, CHAT, mail).await, 200);
    harness.fault("a", status(429, &[("retry-after", "60")]));
    let stream = asking(streamed(), "MARKED-ours, a stream");
    assert_eq!(ask(harness, KEPT_KEY, CHAT, stream).await, 200);
    let long = asking(chat(), &format!("MARKED-ours {}", "é".repeat(2000)));
    assert_eq!(ask(harness, KEPT_KEY, CHAT, long).await, 200);
    let form = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\ngpt-image-1\r\n\
        --b\r\ncontent-disposition: form-data; name=\"prompt\"\r\n\r\nMARKED-form\r\n--b--\r\n";
    let request = harness.post("/openai/v1/images/edits").body(form);
    let request = request.header("api-key", KEPT_KEY);
    let mut request = request.build().unwrap();
    let headers = request.headers_mut();
    headers.insert("api-key", KEPT_KEY.parse().unwrap());
    headers.insert(
        "content-type",
        "multipart/form-data; boundary=b".parse().unwrap(),
    );
    let _ = harness.http.execute(request).await.unwrap().bytes().await;
    // What is refused goes nowhere, and is kept nowhere.
    let unknown = asking(chat(), "MARKED-refused").replace("gpt-4o", "none");
    assert_eq!(ask(harness, KEPT_KEY, CHAT, unknown).await, 404);
}

fn are_redacted_and_cut(lines: &[Value]) {
    let body = |at: usize| lines[at]["body"].as_str().unwrap();
    assert!(
        body(0).contains("MARKED-ours, write to [redacted]\""),
        "{}",
        body(0)
    );
    let first: Value = serde_json::from_str(body(0)).unwrap();
    assert_eq!(first["model"], "gpt-4o");
    assert!(body(1).contains("a stream") && body(1).contains("\"stream\":true"));
    assert!(lines[2]["truncated"] == true && body(2).len() <= 1024 && body(2).ends_with('é'));
    assert_eq!(
        (&lines[3]["body"], &lines[3]["model"]),
        (&Value::Null, &"gpt-image-1".into())
    );
}

/// Only in the file that nobody else may read, and there without secrets.
fn are_nowhere_else(harness: &Harness, pages: &[String]) {
    let file = harness.gateway.folder.join("prompts.jsonl");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let prompts = fs::read_to_string(&file).unwrap();
    assert_eq!(prompts.lines().count(), 4, "{prompts}");
    for never in [KEPT_KEY, KEY, "theirs", "MARKED-form", "refused", "x.org"] {
        assert!(!prompts.contains(never), "{never} is in {prompts}");
    }
    let read = |name: &str| fs::read_to_string(harness.gateway.folder.join(name)).unwrap();
    let elsewhere = [
        read("access.jsonl"),
        read("usage.jsonl"),
        harness.gateway.stderr(),
    ];
    for text in elsewhere.iter().chain(pages) {
        assert!(
            !text.contains("MARKED") && !text.contains("x.org"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn of_a_body_that_is_passed_on_as_it_comes_its_beginning_is_kept_and_marked() {
    let harness = harness("failover: { max_body: 4MiB, body_memory: 128KiB }").await;
    for path in [CHAT, CLASSIC] {
        assert_eq!(
            ask(&harness, KEPT_KEY, path, named_first(1 << 20)).await,
            200
        );
    }
    assert_eq!(ask(&harness, KEPT_KEY, CHAT, named_first(1000)).await, 200);
    let lines = harness.lines_of("prompts.jsonl", 3).await;
    for (line, is_partial) in lines.iter().zip([true, true, false]) {
        assert_eq!(line["partial"], is_partial, "{line}");
        let bytes = line["bytes"].as_u64().unwrap();
        assert!(bytes < 128 << 10 && line["body"].is_string(), "{line}");
    }
    assert!(
        lines[0]["body"]
            .as_str()
            .unwrap()
            .starts_with("{\"model\":\"gpt-4o\",")
    );
}

#[tokio::test]
async fn a_prompt_that_cannot_be_kept_is_counted_and_its_request_served() {
    let hash = forebay::config::hash_key(KEPT_KEY).unwrap().hash;
    let config = format!(
        "  kept: {{ keys: [\"{hash}\"], models: [\"*\"], log_prompts: true }}\n\
         log: {{ access: OWN_FOLDER/access.jsonl, prompts: {{ file: /dev/full }} }}"
    );
    let harness = Harness::open_with(&[("a", 1, 1)], &config).await;
    for _ in 0..5 {
        assert_eq!(ask(&harness, KEPT_KEY, CHAT, chat().to_string()).await, 200);
    }
    eventually_async("five prompts are lost, and said to be", async || {
        of_log(&harness, "forebay_log_lines_dropped_total", "prompts").await == 5.0
            && of_log(&harness, "forebay_log_failing", "prompts").await == 1.0
    })
    .await;
}

#[tokio::test]
async fn a_wrong_key_keeps_nothing() {
    let harness = harness("").await;
    let request = harness
        .http
        .post(harness.url(CHAT))
        .header("api-key", "wrong");
    let response = request.json(&chat()).send().await.unwrap();
    error_of(response, 401, "401").await;
    harness.log(1).await;
    let file = harness.gateway.folder.join("prompts.jsonl");
    assert_eq!(fs::read_to_string(file).unwrap(), "");
}
