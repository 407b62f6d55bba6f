//! The simulator from outside: real sockets, real clients, faults as a caller meets them.

mod faults;
mod odd_answers;
mod refusals;
mod spillover;
mod strictness;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

const CONFIG: &str = r#"
tokens: { address: "127.0.0.1:0" }
seed: 7
instances:
  east:
    keys: [sim-key]
    region: East US
    deployments:
      gpt-4o: { model: gpt-4o, version: "2024-11-20" }
      small: { model: gpt-4o, capacity: { standard: { tokens_per_minute: 60, requests_per_minute: 6000 } } }
      ptu: { model: gpt-4o, capacity: { ptu: { tokens_per_minute: 100, tells_utilization: true } } }
      spilling: { model: gpt-4o, capacity: { ptu: { tokens_per_minute: 1 } }, spillover: small }
      roomy: { model: gpt-4o, capacity: { standard: { tokens_per_minute: 1000000, requests_per_minute: 60000 } } }
      short: { model: gpt-4o, capacity: { ptu: { tokens_per_minute: 100000 } }, context_length: 3, spillover: gpt-4o }
      slow: { model: gpt-4o, latency: { first_token: { median: 1h } } }
      embed: { model: text-embedding-3-small }
  older:
    keys: [sim-key]
    spillover_headers: before_2026_06
    deployments:
      small: { model: gpt-4o, capacity: { standard: { tokens_per_minute: 30, requests_per_minute: 6000 } } }
      spilling: { model: gpt-4o, capacity: { ptu: { tokens_per_minute: 1 } }, spillover: small }
  plain: { kind: openai, keys: [sim-key], deployments: { gpt-4o: { model: gpt-4o } } }
"#;

struct Caller {
    simulator: Simulator,
    http: reqwest::Client,
}

async fn caller() -> Caller {
    started(CONFIG).await
}

async fn started(yaml: &str) -> Caller {
    // Whoever comes first installs it; a second time changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let simulator = start(Config::parse(yaml).unwrap()).await.unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    Caller { simulator, http }
}

fn hello() -> Value {
    json!({ "messages": [{ "role": "user", "content": "hello there" }] })
}

fn streamed() -> Value {
    json!({ "stream": true, "messages": [{ "role": "user", "content": "hello there" }] })
}

impl Caller {
    fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.post_to("east", path, body)
    }

    fn post_to(&self, instance: &str, path: &str, body: &Value) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.simulator.address(instance).unwrap());
        self.http
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    fn chat(&self, deployment: &str, body: &Value) -> reqwest::RequestBuilder {
        self.post(
            &format!("/openai/deployments/{deployment}/chat/completions?api-version=2024-10-21"),
            body,
        )
        .header("api-key", "sim-key")
    }

    async fn answered(&self, deployment: &str, body: &Value) -> (u16, Value) {
        read(self.chat(deployment, body).send().await.unwrap()).await
    }

    fn fault(&self, json: Value) {
        let fault = Fault::parse(json.to_string().as_bytes()).unwrap();
        self.simulator
            .set_fault("east", Some("gpt-4o"), Some(fault))
            .unwrap();
    }

    fn stats(&self, deployment: &str) -> RequestStats {
        self.simulator.stats().deployment("east", deployment)
    }

    /// Waits for a condition, not for a length of time.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never: {what}");
    }
}

async fn read(response: reqwest::Response) -> (u16, Value) {
    (
        response.status().as_u16(),
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default(),
    )
}

fn events(stream: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(stream);
    let data = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

#[tokio::test]
async fn a_chat_is_answered_in_azures_shape_and_counted() {
    let caller = caller().await;
    let response = caller
        .chat("gpt-4o", &hello())
        .header("x-ms-client-request-id", "mine")
        .send()
        .await
        .unwrap();
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        (header("x-ms-region"), header("x-ms-client-request-id")),
        ("East US".into(), "mine".into())
    );
    assert_eq!(header("x-simulator-deployment"), "east/gpt-4o");
    let (status, body) = read(response).await;
    assert_eq!(
        (status, body["choices"][0]["message"]["content"].as_str()),
        (200, Some("You said: hello there"))
    );
    assert_eq!(body["model"], "gpt-4o-2024-11-20");
    let stats = caller.stats("gpt-4o");
    assert_eq!(
        (
            stats.requests,
            stats.status(200),
            stats.concurrent,
            stats.cancelled
        ),
        (1, 1, 0, 0)
    );
    assert_eq!(
        json!([stats.spent.prompt_tokens, stats.spent.completion_tokens]),
        json!([
            body["usage"]["prompt_tokens"],
            body["usage"]["completion_tokens"]
        ])
    );
}

#[tokio::test]
async fn a_stream_has_the_filter_first_and_usage_only_when_asked_for() {
    let caller = caller().await;
    let mut body = streamed();
    body["stream_options"] = json!({ "include_usage": true });
    let stream = caller
        .chat("gpt-4o", &body)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert!(stream.ends_with(b"data: [DONE]\n\n"));
    let all = events(&stream);
    assert!(
        all[0]["prompt_filter_results"].is_array()
            && all[0]["id"] == ""
            && all[0]["choices"] == json!([])
    );
    assert_eq!(all[1]["choices"][0]["delta"]["role"], "assistant");
    assert!(
        all[..all.len() - 1]
            .iter()
            .all(|event| event.get("usage") == Some(&Value::Null))
    );
    assert_eq!(all[all.len() - 1]["usage"]["completion_tokens"], 4);
    let said: String = all
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(said, "You said: hello there");
    let plain = caller
        .chat("gpt-4o", &streamed())
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert!(
        events(&plain)
            .iter()
            .all(|event| event.get("usage").is_none())
    );
    assert_eq!(caller.stats("gpt-4o").spent.completion_tokens, 8);
}

#[tokio::test]
async fn weather_is_answered_with_a_call_of_the_function() {
    let caller = caller().await;
    let tool = json!({ "type": "function", "function": { "name": "look", "parameters": { "type": "object", "properties": { "city": { "type": "string" } } } } });
    let ask = |stream: bool| json!({ "stream": stream, "tools": [tool], "messages": [{ "role": "user", "content": "weather?" }] });
    let (_, body) = caller.answered("gpt-4o", &ask(false)).await;
    assert_eq!(body["choices"][0]["finish_reason"], "tool_calls");
    let whole = body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(whole, r#"{"city":"Paris"}"#);
    let stream = caller
        .chat("gpt-4o", &ask(true))
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let deltas: Vec<Value> = events(&stream)
        .iter()
        .map(|event| event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].clone())
        .collect();
    let together: String = deltas.iter().filter_map(Value::as_str).collect();
    assert_eq!(together, whole);
}

#[tokio::test]
async fn a_response_streams_named_events_in_order() {
    let caller = caller().await;
    let body = json!({ "model": "gpt-4o", "input": "hello there", "stream": true });
    let stream = caller
        .post("/openai/v1/responses", &body)
        .bearer_auth("sim-key")
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let all = events(&stream);
    let kinds: Vec<&str> = all
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(
        kinds[..4],
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added"
        ]
    );
    assert_eq!(kinds.last(), Some(&"response.completed"));
    assert!(
        all.iter()
            .enumerate()
            .all(|(at, event)| event["sequence_number"] == json!(at))
    );
    assert_eq!(all[all.len() - 1]["response"]["usage"]["output_tokens"], 4);
    assert_eq!(caller.stats("gpt-4o").spent.completion_tokens, 4);
}

#[tokio::test]
async fn embeddings_come_as_numbers_and_in_base64() {
    let caller = caller().await;
    let ask = |format: &str| json!({ "model": "embed", "input": ["a", "b"], "dimensions": 8, "encoding_format": format });
    let post = async |format: &str| {
        read(
            caller
                .post("/openai/v1/embeddings", &ask(format))
                .header("api-key", "sim-key")
                .send()
                .await
                .unwrap(),
        )
        .await
        .1
    };
    let (numbers, base64) = (post("float").await, post("base64").await);
    assert_eq!(numbers["data"][1]["embedding"].as_array().unwrap().len(), 8);
    assert_eq!(base64["data"][0]["embedding"].as_str().unwrap().len(), 44);
}

#[tokio::test]
async fn a_large_body_arrives_whole_over_both_protocols() {
    let caller = caller().await;
    let body = json!({ "messages": [{ "role": "user", "content": "x".repeat(4 << 20) }] });
    let http2 = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    for http in [caller.http.clone(), http2] {
        let mut request = caller.chat("gpt-4o", &body).build().unwrap();
        *request.version_mut() = http::Version::default();
        let response = http.execute(request).await.unwrap();
        let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(body.to_string()));
        assert_eq!(response.headers()["x-simulator-body-sha256"], hash.as_str());
    }
    let seen = caller.simulator.requests(Some("east"));
    assert_eq!(
        seen.iter()
            .map(|seen| seen.http_version.as_str())
            .collect::<Vec<_>>(),
        ["HTTP/1.1", "HTTP/2.0"]
    );
}

#[tokio::test]
async fn the_control_endpoint_switches_faults_and_says_what_is_allowed() {
    let caller = caller().await;
    let base = format!("http://{}", caller.simulator.control());
    let fault = format!("{base}/instances/east/deployments/*/fault");
    let status = async |request: reqwest::RequestBuilder| read(request.send().await.unwrap()).await;
    assert_eq!(
        status(
            caller
                .http
                .put(&fault)
                .body(r#"{"kind":"throttle","seconds":5}"#)
        )
        .await
        .0,
        204
    );
    assert_eq!(caller.answered("gpt-4o", &hello()).await.0, 429);
    assert_eq!(status(caller.http.delete(&fault)).await.0, 204);
    assert_eq!(caller.answered("gpt-4o", &hello()).await.0, 200);
    let (code, error) = status(
        caller
            .http
            .put(format!("{base}/instances/west/deployments/*/fault"))
            .body(r#"{"kind":"reset"}"#),
    )
    .await;
    assert_eq!(
        (code, error["error"].as_str().unwrap()),
        (
            400,
            "no instance \"west\"; known instances: east, older, plain"
        )
    );
    assert_eq!(
        status(caller.http.get(format!("{base}/nothing"))).await.0,
        400
    );
    let (_, stats) = status(caller.http.get(format!("{base}/books"))).await;
    assert_eq!(
        stats["instances"]["east"]["deployments"]["gpt-4o"]["by_status"],
        json!({ "200": 1, "429": 1 })
    );
    let (_, seen) = status(caller.http.get(format!("{base}/requests?instance=east"))).await;
    assert_eq!(
        (
            seen.as_array().unwrap().len(),
            &seen[1]["ending"],
            &seen[0]["body_length"]
        ),
        (2, &json!("200"), &json!(hello().to_string().len()))
    );
}

#[tokio::test]
async fn a_plain_openai_server_has_no_filter_results() {
    let caller = caller().await;
    let url = format!(
        "http://{}/v1/chat/completions",
        caller.simulator.address("plain").unwrap()
    );
    let mut body = hello();
    body["model"] = json!("gpt-4o");
    let response = caller
        .http
        .post(url)
        .bearer_auth("sim-key")
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    assert!(response.headers().get("x-ms-region").is_none());
    let (status, answer) = read(response).await;
    assert!(status == 200 && answer.get("prompt_filter_results").is_none());
}
