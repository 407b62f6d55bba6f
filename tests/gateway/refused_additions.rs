//! What the gateway writes into a request on its own account, and a deployment refuses, is its own matter: it asks once more
//! in another form or without, and remembers that by deployment and api-version.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use forebay::simulator::{self, Config};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    harness::{Gateway, Harness, INSTANCE_KEY, KEY, client},
    scripted_upstream::is_whole,
};

const NEW: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2025-04-01-preview";
const OLD: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-02-01";

/// Refuses what names this member, with this error; serves the rest.
#[derive(Clone, Copy)]
struct Refuses(&'static str, &'static str);

/// An instance that refuses members, and how many requests it was asked.
async fn harness(refuses: &'static [Refuses]) -> (Arc<AtomicUsize>, Harness) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut read = Vec::new();
                loop {
                    while !is_whole(&read) {
                        if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
                            return;
                        }
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                    let answer = answer(&String::from_utf8_lossy(&read), refuses);
                    read.clear();
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let config = format!(
        "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\n\
         instances: {{ only: {{ endpoint: \"http://{address}\", identity: key }} }}\n\
         models: {{ gpt-4o: {{ deployments: [{{ instance: only }}] }} }}\n\
         clients: {{ tests: {{ keys: [\"{}\"], models: [\"*\"], limits: {{ max_output_tokens: 500 }} }} }}\n",
        forebay::config::hash_key(KEY).unwrap().hash
    );
    let gateway = Gateway::start(&config).await;
    let simulation = "control: 127.0.0.1:0\ninstances: {}\n";
    let harness = Harness {
        simulator: simulator::start(Config::parse(simulation).unwrap())
            .await
            .unwrap(),
        gateway,
        http: client(),
    };
    (asked, harness)
}

fn answer(request: &str, refuses: &[Refuses]) -> String {
    let named = |it: &&Refuses| request.contains(&format!("\"{}\"", it.0));
    let (status, kind, body) = match refuses.iter().find(named) {
        Some(refused) => ("400 Bad Request", "application/json", refused.1),
        None if request.contains("\"stream\":true") => (
            "200 OK",
            "text/event-stream",
            "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        ),
        None => ("200 OK", "application/json", "{\"choices\":[]}"),
    };
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
}

async fn ask(harness: &Harness, path: &str, more: Value) -> u16 {
    let mut body = json!({"messages": [{"role": "user", "content": "Why?"}]});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let answer = harness.post(path).json(&body).send().await.unwrap();
    let status = answer.status().as_u16();
    answer.bytes().await.unwrap();
    status
}

fn outcomes(line: &Value) -> Vec<&str> {
    let attempts = line["attempts"].as_array().unwrap().iter();
    attempts.map(|it| it["outcome"].as_str().unwrap()).collect()
}

const NO_COMPLETION_TOKENS: Refuses = Refuses(
    "max_completion_tokens",
    r#"{"error":{"message":"Unrecognized request argument supplied: max_completion_tokens","type":"invalid_request_error","param":null,"code":null}}"#,
);
const NO_TOKENS: Refuses = Refuses(
    "max_tokens",
    r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#,
);
const NO_OPTIONS: Refuses = Refuses(
    "stream_options",
    r#"{"error":{"code":"422","message":"Validation failed.","details":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}}"#,
);

#[tokio::test]
async fn a_limit_is_said_in_the_other_member_where_a_deployment_refuses_the_first_and_that_is_remembered()
 {
    for (refuses, path, another) in [
        (&[NO_COMPLETION_TOKENS][..], NEW, OLD),
        (&[NO_TOKENS], OLD, NEW),
    ] {
        let refuses: &'static [Refuses] = refuses.to_vec().leak();
        let (asked, harness) = harness(refuses).await;
        for _ in 0..3 {
            assert_eq!(ask(&harness, path, json!({})).await, 200, "{path}");
        }
        assert_eq!(
            asked.load(Ordering::Relaxed),
            4,
            "{path}: asked once in vain"
        );
        assert_eq!(ask(&harness, another, json!({})).await, 200);
        let log = harness.log(4).await;
        assert_eq!(outcomes(&log[0]), ["limit_rejected", "served"]);
        for line in &log[1..] {
            assert_eq!(outcomes(line), ["served"], "{line}");
        }
        let page = harness.status().await;
        assert_eq!(page["models"][0]["deployments"][0]["state"], "closed");
    }
}

#[tokio::test]
async fn a_deployment_that_takes_neither_member_is_asked_without_and_what_its_client_says_is_its_own_matter()
 {
    let refuses: &'static [Refuses] = &[NO_COMPLETION_TOKENS, NO_TOKENS];
    let (asked, harness) = harness(refuses).await;
    for _ in 0..2 {
        assert_eq!(ask(&harness, NEW, json!({})).await, 200);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    assert_eq!(ask(&harness, NEW, json!({"max_tokens": 5})).await, 400);
    let log = harness.log(3).await;
    assert_eq!(
        outcomes(&log[0]),
        ["limit_rejected", "limit_rejected", "served"]
    );
    assert_eq!(outcomes(&log[1]), ["served"]);
    assert_eq!(log[2]["attempts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn usage_that_is_refused_in_an_errors_details_alone_is_asked_for_no_more_under_that_api_version()
 {
    let refuses: &'static [Refuses] = &[NO_OPTIONS];
    let (asked, harness) = harness(refuses).await;
    let stream = json!({"stream": true, "max_tokens": 9});
    for _ in 0..2 {
        assert_eq!(ask(&harness, NEW, stream.clone()).await, 200);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    let other = NEW.replace("2025-04-01-preview", "2025-03-01-preview");
    assert_eq!(ask(&harness, &other, stream).await, 200);
    let log = harness.log(3).await;
    for (line, expected) in log.iter().zip([
        &["usage_rejected", "served"][..],
        &["served"],
        &["usage_rejected", "served"],
    ]) {
        assert_eq!(outcomes(line), expected, "{line}");
    }
}
