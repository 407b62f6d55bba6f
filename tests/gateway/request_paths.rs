//! The shapes of path that clients use, each to the deployment that serves it: what goes out, and what comes back.

use forebay::simulator::{self, Config, SeenRequest};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Gateway, Harness, INSTANCE_KEY, KEY, chat, client, error_of, status};

const DATED: &str = "api-version=2025-04-01-preview";

fn last(harness: &Harness) -> SeenRequest {
    harness.seen("only").pop().unwrap()
}

fn embed() -> Value {
    json!({"model": "text-embedding-3-small", "input": ["a dam"]})
}

fn respond() -> Value {
    json!({"model": "gpt-4o", "input": "Why do dams spill?"})
}

fn paint() -> Value {
    json!({"model": "gpt-image-1", "prompt": "a dam"})
}

#[tokio::test]
async fn each_shape_goes_out_as_one_that_azure_has() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let deployments = "/openai/deployments";
    for (path, body, out) in [
        // A client whose base URL ends in /openai: Azure has no such path, v1 is what it means.
        (
            "/openai/chat/completions",
            chat(),
            "/openai/v1/chat/completions",
        ),
        ("/openai/embeddings", embed(), "/openai/v1/embeddings"),
        ("/openai/responses", respond(), "/openai/v1/responses"),
        (
            "/openai/responses?api-version=v1",
            respond(),
            "/openai/v1/responses?api-version=v1",
        ),
        (
            &format!("/openai/chat/completions?{DATED}"),
            chat(),
            &format!("{deployments}/only-gpt-4o/chat/completions?{DATED}"),
        ),
        (
            &format!("/openai/images/generations?{DATED}"),
            paint(),
            &format!("{deployments}/only-gpt-image-1/images/generations?{DATED}"),
        ),
        (
            &format!("/openai/responses?{DATED}"),
            respond(),
            &format!("/openai/responses?{DATED}"),
        ),
        // Vercel's with deployments in its URLs.
        (
            "/openai/deployments/gpt-4o/responses?api-version=v1",
            respond(),
            "/openai/v1/responses?api-version=v1",
        ),
        (
            &format!("/openai/deployments/gpt-4o/responses?{DATED}"),
            json!({"input": "Why?"}),
            &format!("/openai/responses?{DATED}"),
        ),
        // This instance has no model inference path, and v1 knows no such date.
        (
            "/models/chat/completions?api-version=2024-05-01-preview",
            chat(),
            "/openai/v1/chat/completions",
        ),
        (
            "/models/embeddings?api-version=2024-05-01-preview",
            embed(),
            "/openai/v1/embeddings",
        ),
        (
            "/openai/v1/responses/compact",
            respond(),
            "/openai/v1/responses/compact",
        ),
        (
            "/v1/responses/input_tokens",
            respond(),
            "/openai/v1/responses/input_tokens",
        ),
        (
            &format!("/openai/responses/input_tokens?{DATED}"),
            respond(),
            &format!("/openai/responses/input_tokens?{DATED}"),
        ),
    ] {
        let answer = harness.post(path).json(&body).send().await.unwrap();
        let (status, answer) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{path}: {answer}");
        let seen = last(&harness);
        assert_eq!(seen.path, out, "{path}");
        if !out.starts_with(deployments) {
            assert!(seen.model.unwrap().starts_with("only-"), "{path}");
        }
    }
}

#[tokio::test]
async fn foundrys_own_hosts_are_asked_on_their_model_inference_path() {
    let yaml = format!(
        "tokens: {{ lifetime: 1h }}\ninstances:\n  only: {{ keys: [{INSTANCE_KEY}], kind: foundry, deployments: {{ chat: {{ model: mistral-large }} }} }}\n"
    );
    let simulator = simulator::start(Config::parse(&yaml).unwrap()).await;
    let simulator = simulator.unwrap();
    let address = simulator.address("only").unwrap();
    let hash = forebay::config::hash_key(KEY).unwrap().hash;
    let gateway = Gateway::start(&format!(
        "identities: {{ legacy: {{ api_key: {INSTANCE_KEY} }} }}\n\
         instances:\n  only: {{ endpoint: \"http://contoso.services.ai.azure.com:{}\", connect_to: \"{address}\", insecure_http: true, identity: legacy }}\n\
         models: {{ mistral: {{ deployments: [{{ instance: only, deployment: chat }}] }} }}\n\
         clients: {{ tests: {{ keys: [\"{hash}\"], models: [\"*\"], limits: {{ max_output_tokens: 50 }} }} }}\n",
        address.port()
    ))
    .await;
    let http = client();
    for (path, out) in [
        (
            "/models/chat/completions?api-version=2024-05-01-preview",
            "/models/chat/completions?api-version=2024-05-01-preview",
        ),
        ("/openai/v1/chat/completions", "/openai/v1/chat/completions"),
    ] {
        let url = format!("http://{}{path}", gateway.address);
        // azure-ai-inference shows its key twice.
        let ask = http.post(url).header("api-key", KEY).bearer_auth(KEY);
        let mut body = chat();
        (body["model"], body["stream"]) = ("Mistral".into(), true.into());
        let answer = ask.json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.bytes().await.unwrap();
        let seen = simulator.requests(Some("only")).pop().unwrap();
        assert_eq!(
            (seen.path.as_str(), seen.model.as_deref()),
            (out, Some("chat"))
        );
    }
}

#[tokio::test]
async fn a_models_name_may_be_written_in_any_case() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let mut loud = chat();
    loud["model"] = "GPT-4o".into();
    for path in [
        "/openai/v1/chat/completions",
        "/openai/deployments/Gpt-4O/chat/completions?api-version=2024-10-21",
    ] {
        let answer = harness.post(path).json(&loud).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(last(&harness).deployment.as_deref(), Some("only-gpt-4o"));
    }
    let log = harness.log(2).await;
    assert!(log.iter().all(|line| line["model"] == "gpt-4o"), "{log:?}");
    let get = |path| harness.http.get(harness.url(path)).header("api-key", KEY);
    let described = get("/openai/v1/models/GPT-4O").send().await.unwrap();
    let described: Value = described.json().await.unwrap();
    assert_eq!(
        described["id"], "gpt-4o",
        "it is called as it is written in the config"
    );
    let health = get("/health/models/GPT-4O").send().await.unwrap();
    assert_eq!(health.status(), 200);
    let metrics = harness.metrics().await;
    assert!(!metrics.contains("GPT-4") && !metrics.contains("Gpt-4"));
}

#[tokio::test]
async fn a_known_path_says_which_methods_it_takes() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    for (method, path, allow) in [
        ("GET", "/openai/v1/chat/completions", "POST"),
        ("OPTIONS", "/models/embeddings", "POST"),
        ("PUT", "/openai/v1/responses/compact", "POST"),
        ("POST", "/v1/models", "GET"),
        ("POST", "/openai/v1/realtime", "GET"),
        ("DELETE", "/health", "GET, HEAD"),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let ask = harness.http.request(method, harness.url(path));
        let answer = ask.header("api-key", KEY).send().await.unwrap();
        assert_eq!(answer.headers()["allow"], allow, "{path}");
        error_of(answer, 405, "MethodNotAllowed").await;
    }
    let nowhere = harness
        .http
        .put(harness.url("/nowhere"))
        .send()
        .await
        .unwrap();
    assert!(!nowhere.headers().contains_key("allow"));
    error_of(nowhere, 404, "404").await;
}

#[tokio::test]
async fn a_response_that_leaves_its_model_to_a_stored_prompt_is_told_why_that_fails() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let mut body = json!({"prompt": {"id": "pmpt_1"}, "input": "Why?"});
    let ask = harness.post("/openai/v1/responses").json(&body);
    let error = error_of(ask.send().await.unwrap(), 400, "400").await;
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("stored prompt"), "{message}");
    assert_eq!(harness.log(1).await[0]["refusal"], "model_in_prompt");
    body["model"] = "gpt-4o".into();
    let ask = harness.post("/openai/v1/responses").json(&body);
    assert_eq!(ask.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_compacted_conversation_is_counted_and_failed_over_like_a_response() {
    let harness = Harness::open(&[("first", 1, 1), ("second", 2, 1)]).await;
    harness.fault("first", status(503, &[]));
    let ask = harness
        .post("/openai/v1/responses/compact")
        .json(&respond());
    let answer: Value = ask.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["object"], "response.compaction", "{answer}");
    let line = &harness.log(1).await[0];
    assert_eq!(line["operation"], "responses/compact", "{line}");
    let record = &harness.usage_records(1).await[0];
    let usage = &answer["usage"];
    assert_eq!(record["input_tokens"], usage["input_tokens"], "{record}");
    assert_eq!(record["output_tokens"], usage["output_tokens"], "{record}");
    assert_eq!(harness.asked("second"), 1);
}

#[tokio::test]
async fn counting_input_tokens_is_a_request_that_uses_none() {
    let harness = Harness::open_with(&[("only", 1, 1)], "").await;
    let config = harness.gateway.config().replace(
        "models: [\"*\"],",
        "models: [\"*\"], limits: { requests_per_minute: 2, tokens_per_minute: 40 },",
    );
    let gateway = Gateway::start(&config).await;
    let ask = || {
        let url = format!(
            "http://{}/openai/v1/responses/input_tokens",
            gateway.address
        );
        let mut body = respond();
        body["input"] = "Why do dams spill? ".repeat(100).into();
        let ask = harness.http.post(url).header("api-key", KEY);
        ask.json(&body).send()
    };
    for _ in 0..2 {
        let answer = ask().await.unwrap();
        assert_eq!(answer.status(), 200, "it is longer than the limit allows");
        assert_eq!(answer.headers()["x-ratelimit-remaining-tokens"], "40");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["object"], "response.input_tokens", "{answer}");
        assert!(answer["input_tokens"].as_u64().unwrap() > 40);
    }
    let refused = error_of(ask().await.unwrap(), 429, "requests_per_minute_exceeded").await;
    assert!(refused["error"]["message"].is_string());
}
