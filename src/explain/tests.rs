use super::*;

const CONFIG: &str = r#"
listeners: [{ address: "127.0.0.1:8080" }]
identities: { vm: { managed_identity: {} } }
instances:
  ptu: { endpoint: "https://ptu.openai.azure.com", identity: vm }
  std: { endpoint: "https://std.openai.azure.com", identity: vm }
  own: { endpoint: "https://own.example/v1", kind: openai, identity: vm, allow_host: true }
models:
  gpt-4o:
    deployments:
      - { instance: own, deployment: served, priority: 2 }
      - { instance: std, priority: 2, weight: 3 }
      - { instance: ptu, deployment: gpt-4o-ptu, type: provisioned, priority: 1 }
  o4: { deployments: [{ instance: std }] }
clients:
  app: { keys: ["sha256:2a97516c354b68848cdbd8f54a226a0a55b21ed138e207ad6c5cbb9c00aa5aea"], models: [gpt-4o] }
  voice:
    keys: ["sha256:3a97516c354b68848cdbd8f54a226a0a55b21ed138e207ad6c5cbb9c00aa5aea"]
    models: [gpt-4o]
    operations: [inference, stateful, realtime]
    limits: { requests_per_minute: 60, tokens_per_day: 5000, models: { gpt-4o: { max_output_tokens: 256 } } }
"#;

fn plan() -> Plan {
    let origin = std::path::Path::new("forebay.yaml");
    crate::config::parse(CONFIG.as_bytes(), origin, &|_| None)
        .unwrap()
        .plan
}

fn question(path: &str, body: Option<&str>) -> Question {
    Question {
        client: "app".into(),
        path: path.into(),
        body: body.map(|body| body.as_bytes().to_vec()),
    }
}

fn explained(path: &str, body: Option<&str>, states: Option<&States>) -> String {
    explain(&plan(), &question(path, body), states).unwrap()
}

/// Where each of the words stands, in this order.
fn in_order(text: &str, words: &[&str]) {
    let mut at = 0;
    for word in words {
        match text[at..].find(word) {
            Some(found) => at += found + word.len(),
            None => panic!("{word:?} does not follow in:\n{text}"),
        }
    }
}

#[test]
fn the_limits_that_apply_are_told() {
    let question = Question {
        client: "voice".into(),
        ..question("/openai/deployments/gpt-4o/chat/completions", None)
    };
    let text = explain(&plan(), &question, None).unwrap();
    let own = "limits       requests_per_minute 60, tokens_per_day 5000;\n";
    in_order(
        &text,
        &[
            own,
            "             with this model max_output_tokens 256\n",
            "1.",
        ],
    );
    let text = explained("/openai/deployments/gpt-4o/chat/completions", None, None);
    assert!(!text.contains("limits"), "{text}");
}

#[test]
fn the_pool_is_told_in_the_order_in_which_it_would_be_tried() {
    let path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
    let text = explained(path, None, None);
    in_order(
        &text,
        &[
            "client       app: may use gpt-4o for inference",
            "chat/completions, the path names the model",
            "1.           ptu/gpt-4o-ptu",
            "provisioned, priority 1: first",
            "https://ptu.openai.azure.com/openai/deployments/gpt-4o-ptu/chat/completions?api-version=2024-10-21 as identity vm",
            "2.           std/gpt-4o",
            "weight 3 of 4: 75 %",
            "3.           own/served",
            "https://own.example/v1/chat/completions as",
            "4 attempts",
        ],
    );
}

#[test]
fn what_a_running_gateway_says_moves_a_deployment_out() {
    let states = States::parse(
        br#"{"version": "x", "models": [{"model": "gpt-4o", "deployments": [
            {"instance": "ptu", "deployment": "gpt-4o-ptu", "state": "open", "available": false, "cause": "throttle", "retry_in_seconds": 3.25},
            {"instance": "std", "deployment": "gpt-4o", "state": "closed", "available": true, "cause": null, "retry_in_seconds": null}
        ]}]}"#,
    )
    .unwrap();
    let body = r#"{"model": "gpt-4o", "input": "x"}"#;
    let text = explained("/openai/v1/responses", Some(body), Some(&states));
    in_order(
        &text,
        &[
            "the body names the model",
            "1.           std/gpt-4o",
            "now: closed",
            "2.           own/served",
            "unknown to the running gateway",
            "not now      ptu/gpt-4o-ptu: open, throttle, next retry in 3.2 s",
        ],
    );
}

#[test]
fn what_is_refused_is_told_with_its_answer() {
    let text = explained("/openai/deployments/o4/chat/completions", None, None);
    in_order(
        &text,
        &[
            "o4 is in the config, but this client may not",
            "404 unknown_model",
        ],
    );
    let text = explained("/v1/embeddings", Some(r#"{"model": "none"}"#), None);
    in_order(&text, &["none is not in the config", "404 unknown_model"]);
    in_order(
        &explained("/v1/embeddings", Some("[]"), None),
        &["400 body_not_json"],
    );
    in_order(
        &explained("/v1/embeddings", Some("{}"), None),
        &["400 model_missing"],
    );
    in_order(
        &explained(
            "/openai/v1/responses",
            Some(r#"{"prompt": {"id": "p"}}"#),
            None,
        ),
        &["400 model_in_prompt"],
    );
    in_order(&explained("/nowhere", None, None), &["404 unknown_path"]);
    in_order(
        &explained("/v1/models", None, None),
        &["the list of models"],
    );
}

#[test]
fn what_can_t_be_explained_is_an_error_with_the_mend() {
    let unknown = Question {
        client: "apps".into(),
        ..question("/v1/embeddings", None)
    };
    let error = explain(&plan(), &unknown, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the config has no client `apps`; it has: app, voice"
    );
    let error = explain(&plan(), &question("/v1/embeddings", None), None).unwrap_err();
    assert_eq!(error, ExplainError::BodyMissing);
}

#[test]
fn what_a_client_was_not_granted_is_told_before_any_deployment() {
    let stored = r#"{"model":"gpt-4o","input":"x","store":true}"#;
    let session = "/openai/v1/realtime?model=gpt-4o&api-key=K";
    let plain = explained("/openai/v1/responses", Some(stored), None);
    in_order(
        &plain,
        &[
            "state        the request keeps or uses state",
            "answer       403 operation_not_allowed: This request needs the operation `stateful`",
        ],
    );
    assert!(!plain.contains("1. "), "{plain}");
    let refused = explained(session, None, None);
    in_order(
        &refused,
        &[
            "realtime, the query names the model",
            "answer       403 operation_not_allowed",
            "`realtime`",
        ],
    );
    let voice = |path: &str, body: Option<&str>| {
        let question = Question {
            client: "voice".into(),
            ..question(path, body)
        };
        explain(&plan(), &question, None).unwrap()
    };
    in_order(
        &voice(session, None),
        &[
            "may use gpt-4o for inference, stateful, realtime",
            "1.           ptu/gpt-4o-ptu",
            "GET https://ptu.openai.azure.com/openai/v1/realtime?model=gpt-4o-ptu as identity vm",
        ],
    );
    in_order(
        &voice("/openai/v1/responses", Some(stored)),
        &["POST https://ptu"],
    );
}
