//! What a client may have done beside which models it may use: inference unless more was granted, and a no that says so.

use reqwest::Response;
use serde_json::{Value, json};

use crate::{
    harness::{CHAT, Gateway, Harness, KEY, chat, client_builder, error_of},
    http1_client::{Answer, RawConnection, request},
};

const RESPONSES: &str = "/openai/v1/responses";
/// Keys of clients with other grants than the harness's own, which has all of them.
const PLAIN: &str = "the-key-of-a-client-for-inference";
const VOICE: &str = "the-key-of-a-client-for-sessions";

async fn harness(more: &str) -> Harness {
    let hash = |key| forebay::config::hash_key(key).unwrap().hash;
    let clients = format!(
        "  plain: {{ keys: [\"{}\"], models: [gpt-4o] }}\n  voice: {{ keys: [\"{}\"], models: [gpt-4o], operations: [realtime] }}\n",
        hash(PLAIN),
        hash(VOICE)
    );
    Harness::open_with(&[("only", 1, 1)], &format!("{clients}{more}")).await
}

/// A request for a response, with these members beside model and input.
fn response(more: &Value) -> Value {
    let mut body = json!({"model": "gpt-4o", "input": "Why do dams spill?"});
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

async fn respond(harness: &Harness, key: &str, path: &str, more: &Value) -> Response {
    let request = harness.http.post(harness.url(path)).header("api-key", key);
    request.json(&response(more)).send().await.unwrap()
}

/// What keeps or uses state at the instance that answers, one of each kind.
fn stateful() -> Vec<Value> {
    vec![
        json!({"store": true}),
        json!({"previous_response_id": "resp_1"}),
        json!({"conversation": {"id": "conv_1"}}),
        json!({"prompt": {"id": "pmpt_1"}}),
        json!({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}),
        json!({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}),
        json!({"tools": [{"type": "shell", "environment": {"type": "container_reference", "container_id": "cntr_1"}}]}),
        json!({"tools": [{"type": "shell", "environment": {"type": "container_auto", "skills": [{"type": "skill_reference", "skill_id": "s"}]}}]}),
        json!({"input": [{"type": "item_reference", "id": "msg_1"}]}),
        json!({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]}),
    ]
}

#[tokio::test]
async fn a_client_without_the_grant_gets_responses_and_nothing_that_outlives_them() {
    let mut harness = harness("").await;
    for path in [
        RESPONSES,
        "/v1/responses",
        "/openai/responses?api-version=2025-03-01-preview",
    ] {
        // What every unmodified client sends says nothing of `store`.
        for more in [
            json!({}),
            json!({"store": false}),
            json!({"stream": true}),
            json!({"background": false, "previous_response_id": null}),
        ] {
            let answer = respond(&harness, PLAIN, path, &more).await;
            assert_eq!(answer.status(), 200, "{path} {more}");
            answer.bytes().await.unwrap();
        }
        harness.simulator.clear_requests();
        for more in stateful() {
            let answer = respond(&harness, PLAIN, path, &more).await;
            let body = error_of(answer, 403, "OperationNotAllowed").await;
            let message = body["error"]["message"].as_str().unwrap();
            assert!(
                message.contains("`stateful`") && message.contains("operator"),
                "{message}"
            );
        }
        assert!(harness.seen("only").is_empty(), "{path}");
    }
    for more in stateful() {
        // The same of a client that has it; the instance may have a word of its own about an id.
        let answer = respond(&harness, KEY, RESPONSES, &more).await;
        assert_ne!(answer.status(), 403, "{more}");
    }
    assert_eq!(harness.seen("only").len(), stateful().len());
    let refused = 3 * stateful().len();
    let log = harness.log(12 + refused + stateful().len()).await;
    let told = log
        .iter()
        .filter(|line| line["refusal"] == "operation_not_allowed");
    assert_eq!(told.count(), refused);
    let counted = format!(
        "forebay_refusals_total{{client=\"plain\",reason=\"operation_not_allowed\"}} {refused}"
    );
    assert!(harness.metrics().await.contains(&counted));
    assert!(harness.gateway.ended().is_none());
}

#[tokio::test]
async fn state_is_found_however_it_is_spelled_and_in_any_framing_and_the_connection_stays_usable() {
    let harness = harness("").await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for body in [
        r#"{"model":"gpt-4o","input":"x","st\u006fre":true}"#,
        r#"{"store" :	true,"model":"gpt-4o","input":"x"}"#,
        r#"{"model":"gpt-4o","input":"x","previous_response_id":"a"}"#,
    ] {
        wire.send(request(
            "POST",
            RESPONSES,
            &format!("api-key: {PLAIN}\r\n"),
            body,
        ))
        .await;
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, answer.keeps_open()), (403, true), "{body}");
        let chunks = format!("api-key: {PLAIN}\r\ntransfer-encoding: chunked\r\n");
        let (start, end) = body.split_at(body.len() / 2);
        let chunked = format!(
            "{:x}\r\n{start}\r\n{:x}\r\n{end}\r\n0\r\n\r\n",
            start.len(),
            end.len()
        );
        wire.send(request("POST", RESPONSES, &chunks, chunked))
            .await;
        assert_eq!(wire.answer().await.unwrap().status, 403, "{body}");
    }
    // Two readers could differ on these, so nobody gets them.
    for body in [
        r#"{"model":"gpt-4o","input":"x","conversation":null,"conversation":"c"}"#,
        r#"{"model":"gpt-4o","input":"x","store":false,"store":true}"#,
    ] {
        wire.send(request(
            "POST",
            RESPONSES,
            &format!("api-key: {PLAIN}\r\n"),
            body,
        ))
        .await;
        let status = wire.answer().await.unwrap().status;
        assert!(matches!(status, 400 | 403), "{status} {body}");
    }
    let h2 = client_builder().http2_prior_knowledge().build().unwrap();
    let asked = h2.post(harness.url(RESPONSES)).header("api-key", PLAIN);
    let answer = asked.json(&response(&json!({"store": true}))).send().await;
    assert_eq!(answer.unwrap().status(), 403);
    assert!(harness.seen("only").is_empty());
}

/// A chat is asked for by its own two paths, the classic one with a body that goes on as it is.
#[tokio::test]
async fn a_chat_keeps_nothing_and_brings_no_data_without_the_grant() {
    let small = "failover: { body_memory: 16KiB, max_body: 6MiB }";
    for (more, filler) in [("", 1), (small, 100_000)] {
        let harness = harness(more).await;
        let filler = "wasser ".repeat(filler);
        let classic = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
        for path in [CHAT, classic] {
            let stored = [
                r#","store":true"#,
                r#","st\u006fre":true"#,
                r#","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]"#,
                r#","messages":[{"role":"user","content":"x"},{"role":"assistant","audio":{"id":"audio_1"}}]"#,
            ];
            let data = [
                r#","data_sources":[{"type":"azure_search","parameters":{"embedding_dependency":{"type":"deployment_name","deployment_name":"secret"}}}]"#,
            ];
            let stored = stored.into_iter().map(|more| (more, "stateful"));
            let all = stored.chain(data.into_iter().map(|more| (more, "data_sources")));
            for (more, needs) in all {
                let body = format!(r#"{{"model":"gpt-4o","user":"{filler}"{more}}}"#);
                let asked = harness
                    .http
                    .post(harness.url(path))
                    .header("api-key", PLAIN);
                let asked = asked.header("content-type", "application/json");
                let answer = asked.body(body).send().await.unwrap();
                let error = error_of(answer, 403, "OperationNotAllowed").await;
                let message = error["error"]["message"].as_str().unwrap();
                assert!(message.contains(needs), "{path} {more}: {message}");
            }
            for more in [
                r#","store":false"#,
                r#","store":null,"data_sources":null"#,
                "",
            ] {
                let body = format!(
                    r#"{{"model":"gpt-4o","user":"{filler}","messages":[{{"role":"user","content":"file_id"}}]{more}}}"#
                );
                let asked = harness
                    .http
                    .post(harness.url(path))
                    .header("api-key", PLAIN);
                let asked = asked.header("content-type", "application/json");
                assert_eq!(
                    asked.body(body).send().await.unwrap().status(),
                    200,
                    "{more}"
                );
            }
        }
        let seen = harness.seen("only").into_iter();
        let served = seen.filter(|seen| seen.body_length > filler.len());
        assert_eq!(served.count(), 6);
    }
}

/// A body without room is on its way before all of it is known: state behind that is found before the instance has it all.
#[tokio::test]
async fn state_at_the_end_of_a_body_without_room_is_refused_before_the_instance_has_all_of_it() {
    let harness = harness("failover: { body_memory: 16KiB, max_body: 6MiB }").await;
    let filler = "wasser ".repeat(100_000);
    let body = format!(r#"{{"model":"gpt-4o","input":"{filler}","store":true}}"#);
    for (key, status) in [(PLAIN, 403), (KEY, 200)] {
        let asked = harness
            .http
            .post(harness.url(RESPONSES))
            .header("api-key", key);
        let answer = asked
            .header("content-type", "application/json")
            .body(body.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status);
    }
    let seen = harness.seen("only").into_iter();
    let served = seen.filter(|seen| seen.body_length > filler.len());
    assert_eq!(served.count(), 1);
}

#[tokio::test]
async fn a_client_for_sessions_is_refused_inference_before_its_body_has_come() {
    let harness = harness("").await;
    let waits = "content-length: 1000\r\n";
    for path in [
        CHAT,
        RESPONSES,
        "/openai/deployments/gpt-4o/embeddings?api-version=1",
        "/v1/images/edits",
    ] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(request(
            "POST",
            path,
            &format!("api-key: {VOICE}\r\n{waits}"),
            "",
        ))
        .await;
        let answer = wire.answer().await.unwrap();
        let error = answer.json();
        assert_eq!(
            (answer.status, &error["error"]["code"]),
            (403, &"OperationNotAllowed".into()),
            "{path}"
        );
        assert!(
            error["error"]["message"]
                .as_str()
                .unwrap()
                .contains("`inference`")
        );
    }
    assert!(harness.seen("only").is_empty());
}

#[tokio::test]
async fn whoever_is_nobody_gets_inference_alone() {
    let mut harness = harness("").await;
    let address = harness.simulator.address("only").unwrap();
    let config = format!(
        "identities: {{ key: {{ api_key: x }} }}\ninstances: {{ only: {{ endpoint: \"http://{address}\", identity: key }} }}\n\
         models: {{ gpt-4o: {{ deployments: [{{ instance: only, deployment: only-gpt-4o }}] }} }}\nanonymous: true\n"
    );
    harness.gateway =
        Gateway::start(&config.replace("api_key: x", "api_key: an-instance-key")).await;
    let chatted = harness
        .http
        .post(harness.url(CHAT))
        .json(&chat())
        .send()
        .await;
    assert_eq!(chatted.unwrap().status(), 200);
    let stored = harness
        .http
        .post(harness.url(RESPONSES))
        .json(&response(&json!({"store": true})));
    error_of(stored.send().await.unwrap(), 403, "OperationNotAllowed").await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(crate::realtime::handshake(
        "/openai/v1/realtime?model=gpt-4o",
        "",
    ))
    .await;
    assert_eq!(wire.answer().await.unwrap().status, 403);
}

/// An answer without what each one has of its own.
fn alike(answer: &Answer) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let own = |name: &str| name == "x-request-id" || name == "date";
    let headers = answer.headers.iter().filter(|(name, _)| !own(name));
    (
        answer.status,
        headers.cloned().collect(),
        answer.body.clone(),
    )
}

/// Nobody can tell which models there are by asking for them: not by the answer, and not by what is read before it.
#[tokio::test]
async fn a_model_that_is_not_the_clients_and_one_that_is_nobodys_are_answered_alike_to_the_byte() {
    let harness = harness("").await;
    let mut answers = Vec::new();
    for model in ["gpt-image-1", "gpt-imago-1"] {
        let lines = format!("api-key: {PLAIN}\r\n");
        let unsent = format!("{lines}content-length: 1000\r\n");
        let body = json!({"model": model, "prompt": "a dam"}).to_string();
        let in_path = format!("/openai/deployments/{model}/images/generations?api-version=1");
        let mut of_model = Vec::new();
        for asked in [
            request("POST", "/openai/v1/images/generations", &lines, &body),
            request("POST", &in_path, &lines, &body),
            // The path says it all: not a byte of the body is waited for.
            request("POST", &in_path, &unsent, ""),
            request("GET", &format!("/openai/v1/models/{model}"), &lines, ""),
            request("GET", &format!("/v1/models/{model}"), &lines, ""),
            request(
                "GET",
                &format!("/openai/models/{model}?api-version=1"),
                &lines,
                "",
            ),
        ] {
            let mut wire = RawConnection::open(harness.gateway.address).await;
            wire.send(asked).await;
            of_model.push(alike(&wire.answer().await.unwrap()));
        }
        let mut wire = RawConnection::open(harness.gateway.address).await;
        let session = format!("/openai/v1/realtime?model={model}");
        wire.send(crate::realtime::handshake(
            &session,
            &format!("api-key: {VOICE}\r\n"),
        ))
        .await;
        of_model.push(alike(&wire.answer().await.unwrap()));
        answers.push(of_model);
    }
    assert_eq!(answers[0], answers[1]);
    assert!(
        answers[0].iter().all(|(status, _, _)| *status == 404),
        "{answers:?}"
    );
    assert!(harness.seen("only").is_empty());
    // Nor does the log's reason tell whose it is, to whoever sees metrics by client.
    let log = harness.log(14).await;
    assert!(
        log.iter()
            .all(|line| line["refusal"] == "unknown_model" && line["model"].is_null())
    );
}
