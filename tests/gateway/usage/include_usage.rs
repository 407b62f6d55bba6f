//! A stream is asked for its usage where its client did not, and the client sees nothing of that.

use forebay::simulator::{Fault, FaultKind};
use serde_json::{Value, json};

use super::{Tokens, estimated, harness};
use crate::{
    harness::{Harness, INSTANCE_KEY},
    http1_client::{RawConnection, post},
    streams::over_each_protocol,
};

const CHAT: &str = "/openai/v1/chat/completions";

fn chat(more: &str) -> String {
    format!(
        r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"Why do dams spill?"}}]{more}}}"#
    )
}

/// Without what differs from one answer to the next: ids, and when it was made.
fn without_ids(stream: &str) -> String {
    let lines = stream.split_inclusive('\n').map(|line| {
        let mut line = line.to_owned();
        for name in ["\"id\":\"chatcmpl", "\"created\":"] {
            if let Some(at) = line.find(name) {
                let length = line[at..].find(",\"").unwrap();
                line.replace_range(at..at + length, "");
            }
        }
        line
    });
    lines.collect()
}

#[tokio::test]
async fn a_client_that_did_not_ask_gets_byte_for_byte_what_it_would_have_got() {
    let usage = "model: gpt-4o, usage: { reasoning: 3, tier: default }";
    for instance in ["", "    kind: openai\n"] {
        let harness = harness(&[("gpt-4o", usage)], instance, "").await;
        let path = if instance.is_empty() {
            "/openai/v1"
        } else {
            "/v1"
        };
        let straight = format!(
            "http://{}{path}/chat/completions",
            harness.simulator.address("only").unwrap()
        );
        for http in over_each_protocol() {
            for more in [
                r#","stream":true"#,
                r#","stream":true,"stream_options":null"#,
                r#","stream":true,"stream_options":{}"#,
                r#","stream":true,"stream_options":{"include_usage":false}"#,
                r#","stream":true,"stream_options":{"include_usage":true}"#,
                r#","stream":true,"n":2"#,
            ] {
                let ask = async |url: String, key: &str| {
                    let request = http.post(url).bearer_auth(key).body(chat(more));
                    let request = request.header("content-type", "application/json");
                    request.send().await.unwrap().text().await.unwrap()
                };
                let direct = ask(straight.clone(), INSTANCE_KEY).await;
                let through = ask(harness.url(CHAT), crate::harness::KEY).await;
                assert_eq!(without_ids(&through), without_ids(&direct), "{more}");
                assert_eq!(
                    through.contains("usage"),
                    more.contains("include_usage\":true"),
                    "{through}"
                );
            }
        }
        let seen = harness.seen("only");
        assert_eq!(seen.len(), 24);
        // Each was counted all the same: of two alike, one came through the gateway.
        let mut told = Tokens::default();
        for line in harness.log(12).await {
            assert_eq!(line["usage"]["estimated"], false, "{line}");
            told += Tokens::of_line(&line);
            told += Tokens::of_line(&line);
        }
        assert_eq!(told, harness.stats("gpt-4o"));
    }
}

#[tokio::test]
async fn nothing_is_asked_where_the_api_or_the_operator_does_not_want_it() {
    let harness = harness(&[("gpt-4o", "model: gpt-4o")], "", "").await;
    let reject = Fault::from(FaultKind::RejectStreamOptions {});
    harness
        .simulator
        .set_fault("only", None, Some(reject))
        .unwrap();
    let stream = chat(r#","stream":true"#);
    let data = chat(r#","stream":true,"data_sources":[{"type":"azure_search"}]"#);
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for (path, body) in [
        (
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-08-01-preview",
            &stream,
        ),
        (
            "/openai/deployments/gpt-4o/chat/completions?api-version=2023-05-15",
            &stream,
        ),
        (CHAT, &data),
    ] {
        wire.send(post(path, "", body.clone())).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(answer.status, 200, "{path} {body}");
    }
    let log = harness.log(3).await;
    for line in &log {
        assert_eq!(line["attempts"].as_array().unwrap().len(), 1, "{line}");
        assert_eq!(line["usage"]["estimated"], true, "{line}");
    }
    let page = harness.metrics_of(3).await;
    assert_eq!(
        (estimated(&page, "not_asked"), estimated(&page, "missing")),
        (2, 1)
    );
}

#[tokio::test]
async fn an_instance_that_is_not_to_be_asked_is_not() {
    let harness = harness(&[("gpt-4o", "model: gpt-4o")], "", "").await;
    let config = harness
        .gateway
        .config()
        .replace("identity: key", "stream_usage: false, identity: key");
    let harness = Harness {
        gateway: crate::harness::Gateway::start(&config).await,
        ..harness
    };
    let reject = Fault::from(FaultKind::RejectStreamOptions {});
    harness
        .simulator
        .set_fault("only", None, Some(reject))
        .unwrap();
    let answer = harness
        .post(CHAT)
        .body(chat(r#","stream":true"#))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap();
    let log = harness.log(1).await;
    assert_eq!(
        log[0]["attempts"].as_array().unwrap().len(),
        1,
        "{}",
        log[0]
    );
}

#[tokio::test]
async fn a_deployment_that_refuses_to_be_asked_is_asked_again_without_and_remembered() {
    let harness = harness(&[("gpt-4o", "model: gpt-4o")], "", "").await;
    let reject = Fault::from(FaultKind::RejectStreamOptions {});
    harness
        .simulator
        .set_fault("only", None, Some(reject))
        .unwrap();
    let outcomes = |line: &Value| -> Vec<String> {
        let attempts = line["attempts"].as_array().unwrap().iter();
        attempts
            .map(|it| it["outcome"].as_str().unwrap().to_owned())
            .collect()
    };
    // A client's own option is refused to the client.
    let own = chat(r#","stream":true,"stream_options":{"include_usage":true}"#);
    let answer = harness.post(CHAT).body(own).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    for _ in 0..3 {
        let answer = harness
            .post(CHAT)
            .body(chat(r#","stream":true"#))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.unwrap().ends_with("data: [DONE]\n\n"));
    }
    let log = harness.log(4).await;
    assert_eq!(outcomes(&log[0]), ["caller_error"]);
    assert_eq!(outcomes(&log[1]), ["usage_rejected", "served"]);
    assert_eq!(
        (outcomes(&log[2]), outcomes(&log[3])),
        (vec!["served".to_owned()], vec!["served".to_owned()])
    );
    let page = harness.metrics_of(4).await;
    assert_eq!(
        estimated(&page, "not_asked") + estimated(&page, "missing"),
        3
    );
    assert!(!page.contains("forebay_failovers_total{"), "{page}");
}

#[tokio::test]
async fn a_refusal_that_only_quotes_the_option_changes_nothing_for_others() {
    let harness = harness(&[("gpt-4o", "model: gpt-4o")], "", "").await;
    let body = json!({"error": {"message": "'stream_options' is no role", "type": "invalid_request_error", "param": null}});
    let fault = FaultKind::Status {
        status: 400,
        headers: Default::default(),
        body: Some(body.to_string()),
    };
    harness
        .simulator
        .set_fault("only", None, Some(Fault::from(fault).times(2)))
        .unwrap();
    let ask = async || {
        harness
            .post(CHAT)
            .body(chat(r#","stream":true"#))
            .send()
            .await
            .unwrap()
    };
    let refused = ask().await;
    assert_eq!(refused.status(), 400);
    assert_eq!(refused.json::<Value>().await.unwrap(), body);
    ask().await.bytes().await.unwrap();
    let log = harness.log(2).await;
    assert_eq!(log[1]["usage"]["estimated"], false, "{}", log[1]);
}
