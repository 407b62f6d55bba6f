//! What a client may not do it can't do by another way either: not by a header that names a deployment, not by a parameter
//! of its query; and what a deployment answers gives away neither its credential nor the gateway's own host.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    harness::{CHAT, Gateway, Harness, INSTANCE_KEY, KEY, chat, error_of, served_by, status},
    http1_client::{RawConnection, post},
    scripted_upstream::ScriptedUpstream,
};

const IMAGES: &str = "x-ms-oai-image-generation-deployment";
const SPILLOVER: &str = "x-ms-spillover-deployment";
/// The key of a client of gpt-4o and gpt-image-1 alone.
const LIMITED: &str = "the-key-of-a-client-of-two-models";

/// Instances east and west; pictures are made on west alone.
async fn harness() -> Harness {
    let mut harness = Harness::open(&[("east", 1, 1), ("west", 2, 1)]).await;
    let mut config = format!("identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\ninstances:\n");
    for name in ["east", "west"] {
        let address = harness.simulator.address(name).unwrap();
        let endpoint = format!("endpoint: \"http://{address}\", identity: key");
        writeln!(config, "  {name}: {{ {endpoint} }}").unwrap();
    }
    let hash = |key| forebay::config::hash_key(key).unwrap().hash;
    let on = |name: &str, model: &str, priority: u32| {
        format!("{{ instance: {name}, deployment: {name}-{model}, priority: {priority} }}")
    };
    writeln!(
        config,
        "models:\n  gpt-4o: {{ deployments: [{}, {}] }}\n  gpt-image-1: {{ deployments: [{}] }}\n  text-embedding-3-small: {{ deployments: [{}] }}\n\
         clients:\n  tests: {{ keys: [\"{}\"], models: [\"*\"] }}\n  limited: {{ keys: [\"{}\"], models: [gpt-4o, gpt-image-1] }}",
        on("east", "gpt-4o", 1),
        on("west", "gpt-4o", 2),
        on("west", "gpt-image-1", 1),
        on("east", "text-embedding-3-small", 1),
        hash(KEY),
        hash(LIMITED),
    )
    .unwrap();
    harness.gateway = Gateway::start(&config).await;
    harness
}

fn header(harness: &Harness, instance: &str, name: &str) -> Option<String> {
    let seen = harness.seen(instance).pop().unwrap();
    let found = seen.headers.into_iter().find(|(other, _)| other == name);
    found.map(|(_, value)| value)
}

#[tokio::test]
async fn a_header_names_a_model_of_its_client_and_no_deployment_beside_them() {
    let harness = harness().await;
    for (name, model) in [
        (IMAGES, "nonsense"),
        (IMAGES, "west-gpt-image-1"),
        (IMAGES, "text-embedding-3-small"),
        (SPILLOVER, "text-embedding-3-small"),
        (SPILLOVER, "east-gpt-4o"),
        (SPILLOVER, ""),
    ] {
        let request = harness
            .http
            .post(harness.url(CHAT))
            .header("api-key", LIMITED);
        let answer = request.header(name, model).json(&chat()).send().await;
        let body = error_of(answer.unwrap(), 400, "400").await;
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(name), "{name}: {model}: {message}");
    }
    assert_eq!((harness.asked("east"), harness.asked("west")), (0, 0));
    assert_eq!(harness.chat().await.status(), 200);
    let line = harness.log(7).await.pop().unwrap();
    let page = harness.metrics().await;
    let refused = "forebay_refusals_total{client=\"limited\",reason=\"named_elsewhere\"} 6";
    assert!(page.contains(refused), "{page}");
    assert_eq!(line["attempts"].as_array().map(Vec::len), Some(1), "{line}");
}

#[tokio::test]
async fn a_tool_names_a_model_of_its_client() {
    let harness = harness().await;
    let response = |model: &str| {
        let tool = json!({"type": "image_generation", "model": model});
        json!({"model": "gpt-4o", "input": "x", "tools": [{"type": "web_search"}, tool]})
    };
    let ask = |model: &str| {
        let path = harness.url("/openai/v1/responses");
        let request = harness.http.post(path).header("api-key", LIMITED);
        request.json(&response(model)).send()
    };
    for model in ["nonsense", "west-gpt-image-1", "text-embedding-3-small", ""] {
        let body = error_of(ask(model).await.unwrap(), 400, "400").await;
        assert_eq!(body["error"]["param"], "tools", "{model}");
    }
    assert_eq!((harness.asked("east"), harness.asked("west")), (0, 0));
    assert_eq!(ask("gpt-image-1").await.unwrap().status(), 200);
    assert_eq!(ask("GPT-Image-1").await.unwrap().status(), 200);
    let refused = "forebay_refusals_total{client=\"limited\",reason=\"tool_model\"} 4";
    assert!(harness.metrics().await.contains(refused));
}

#[tokio::test]
async fn each_instance_is_told_the_name_that_its_own_deployment_has() {
    let harness = harness().await;
    let ask = |name: &'static str, model: &'static str| {
        harness.post(CHAT).header(name, model).json(&chat()).send()
    };
    // Only one instance makes pictures: it is asked, though another comes first.
    let answer = ask(IMAGES, "gpt-image-1").await.unwrap();
    assert_eq!(served_by(&answer), "west");
    assert_eq!(
        header(&harness, "west", IMAGES).as_deref(),
        Some("west-gpt-image-1")
    );
    // What would be spilled to is left out where it isn't.
    let answer = ask(SPILLOVER, "gpt-image-1").await.unwrap();
    assert_eq!(served_by(&answer), "east");
    assert_eq!(header(&harness, "east", SPILLOVER), None);
    // No instance has both.
    let request = harness
        .post("/openai/v1/embeddings")
        .header(IMAGES, "gpt-image-1");
    let embed = json!({"model": "text-embedding-3-small", "input": "x"});
    error_of(request.json(&embed).send().await.unwrap(), 400, "400").await;
}

/// Azure's answer does not say which of two names is of no deployment.
#[tokio::test]
async fn a_missing_deployment_beside_the_one_asked_sets_nothing_aside() {
    let harness = harness().await;
    let missing = status(404, &[]);
    let forebay::simulator::FaultKind::Status {
        status, headers, ..
    } = missing
    else {
        unreachable!()
    };
    let body = r#"{"error":{"code":"DeploymentNotFound","message":"no"}}"#.to_owned();
    let missing = forebay::simulator::FaultKind::Status {
        status,
        headers,
        body: Some(body),
    };
    harness.fault("east", missing);
    let request = harness.post(CHAT).header(SPILLOVER, "gpt-4o");
    let answer = request.json(&chat()).send().await.unwrap();
    assert_eq!(served_by(&answer), "west");
    harness.fault("east", None);
    assert_eq!(served_by(&harness.chat().await), "east");
}

#[tokio::test]
async fn a_query_brings_nothing_to_azure_that_is_not_azures() {
    let more = "server: { forward_query: [trace-id] }";
    let harness = Harness::open_with(&[("only", 1, 1)], more).await;
    for (query, name) in [
        ("key=SECRET", "`key`"),
        ("token=SECRET", "`token`"),
        ("api-version=1&code=SECRET", "`code`"),
        ("deployment=SECRET", "`deployment`"),
        ("SECRET", "a parameter"),
        ("api-version=1&API-Version=SECRET", "`api-version`"),
        ("api-version=1;model=SECRET", "`api-version`"),
    ] {
        let answer = harness.post(&format!("{CHAT}?{query}"));
        let body = error_of(answer.json(&chat()).send().await.unwrap(), 400, "400").await;
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(name) && !message.contains("SECRET"),
            "{message}"
        );
    }
    assert_eq!(harness.asked("only"), 0);
    let path = format!("{CHAT}?api-version=preview&Trace-Id=a%20b&include%5B%5D=x");
    let answer = harness.post(&path).json(&chat()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = harness.seen("only").pop().unwrap().path;
    assert_eq!(
        seen,
        format!("{CHAT}?api-version=preview&trace-id=a%20b&include%5B%5D=x")
    );
    let log: Vec<Value> = harness.log(8).await;
    assert!(!format!("{log:?}").contains("SECRET"));
}

#[tokio::test]
async fn a_deployments_credential_never_reaches_a_client_wherever_its_answer_repeats_it() {
    let more = "server: { answer_headers: [x-served-by] }";
    let (upstream, harness) = ScriptedUpstream::harness(more).await;
    for ok in ["200", "400", "404"] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(post(CHAT, "connection: close\r\n", chat().to_string()))
            .await;
        let mut call = upstream.call().await;
        call.send(format!(
            "HTTP/1.1 103 Early Hints\r\nlink: <{INSTANCE_KEY}>\r\nx-ms-region: r\r\n\r\n"
        ))
        .await;
        let head = format!(
            "{ok} {INSTANCE_KEY}\r\napi-key: {INSTANCE_KEY}\r\nauthorization: Bearer {INSTANCE_KEY}\r\n\
             x-ms-region: asked with {INSTANCE_KEY}\r\nx-served-by: unit 7\r\nx-ms-request-id: kept\r\ncontent-type: application/json"
        );
        call.answer(&head, b"{}").await;
        let drained = String::from_utf8(wire.drained().await).unwrap();
        assert!(
            !drained.contains(INSTANCE_KEY) && !drained.contains("x-ms-region"),
            "{drained}"
        );
        assert!(drained.contains(&format!("HTTP/1.1 {ok} ")), "{drained}");
        for kept in ["x-served-by: unit 7", "x-ms-request-id: kept"] {
            assert!(drained.to_lowercase().contains(kept), "{drained}");
        }
    }
}
