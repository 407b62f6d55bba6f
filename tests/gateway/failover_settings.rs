//! What operators may add to when a request moves on, what a model may have of its own, and what clients are told.

use std::{fmt::Write as _, time::Instant};

use forebay::simulator::FaultKind;
use serde_json::json;

use crate::harness::{Gateway, Harness, KEY, error_of, eventually_async, served_by, status};

#[tokio::test]
async fn a_status_of_the_operators_list_moves_on_while_another_can_be_asked() {
    let more = "failover: { more_statuses: [409, 422] }";
    let harness = Harness::open_with(&[("first", 1, 1), ("second", 2, 1)], more).await;
    for code in [409, 422] {
        harness.fault("first", status(code, &[]));
        assert_eq!(served_by(&harness.chat().await), "second", "{code}");
    }
    let log = harness.log(2).await;
    assert_eq!(log[0]["attempts"][0]["outcome"], "unwanted");
    // It says nothing of the deployment.
    let page = harness.status().await;
    assert_eq!(page["models"][0]["deployments"][0]["state"], "closed");
    // When nobody else is left the client gets it as it is.
    harness.fault("second", status(409, &[]));
    let answer = harness.chat().await;
    assert_eq!(
        (answer.status().as_u16(), served_by(&answer)),
        (409, "second".into())
    );
    harness.fault("first", status(400, &[]));
    let answer = harness.chat().await;
    assert_eq!(
        (answer.status().as_u16(), served_by(&answer)),
        (400, "first".into())
    );
}

/// A second gateway before the same instances, whose models have timeouts of their own.
#[tokio::test]
async fn a_model_may_have_timeouts_of_its_own() {
    let mut harness = Harness::open(&[("slow", 1, 1), ("quick", 2, 1)]).await;
    let mut config = "identities: { key: { api_key: an-instance-key } }\ninstances:\n".to_owned();
    for name in ["slow", "quick"] {
        let address = harness.simulator.address(name).unwrap();
        writeln!(
            config,
            "  {name}: {{ endpoint: \"http://{address}\", identity: key }}"
        )
        .unwrap();
    }
    let hash = forebay::config::hash_key(KEY).unwrap().hash;
    writeln!(
        config,
        "models: {{ gpt-4o: {{ first_byte_timeout: 200ms, deployments: [\
         {{ instance: slow, deployment: slow-gpt-4o, priority: 1 }}, {{ instance: quick, deployment: quick-gpt-4o, priority: 2 }}] }} }}\n\
         clients: {{ tests: {{ keys: [\"{hash}\"], models: [\"*\"] }} }}\nfailover: {{ first_byte_timeout: 1h }}"
    )
    .unwrap();
    harness.gateway = Gateway::start(&config).await;
    harness.fault("slow", FaultKind::Hang {});
    assert_eq!(served_by(&harness.chat().await), "quick");
    let log = harness.log(1).await;
    assert_eq!(log[0]["attempts"][0]["outcome"], "fault_silence");
}

#[tokio::test]
async fn a_client_is_told_whether_to_retry() {
    let more = "failover: { deadline: 500ms }";
    let harness = Harness::open_with(&[("only", 1, 1)], more).await;
    harness.fault("only", status(429, &[("retry-after-ms", "1500")]));
    let throttled = harness.chat().await;
    assert_eq!(throttled.headers()["x-should-retry"], "true");
    error_of(throttled, 429, "429").await;

    let harness = Harness::open_with(&[("only", 1, 1)], more).await;
    harness.fault("only", FaultKind::Hang {});
    let late = harness.chat().await;
    assert_eq!(late.headers()["x-should-retry"], "false");
    error_of(late, 504, "Timeout").await;
}

/// Azure's own spillover: the answer came from another deployment of the instance.
#[tokio::test]
async fn an_answer_that_azure_spilled_over_says_so_in_log_and_metrics_and_not_to_the_client() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let spilled = [
        ("x-ms-spillover-from-deployment", "only-gpt-4o"),
        ("x-ms-deployment-name", "gpt-4o-spill"),
    ];
    harness.fault("only", status(200, &spilled));
    let answer = harness.chat().await;
    for (name, _) in spilled {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
    let log = harness.log(1).await;
    assert_eq!(log[0]["attempts"][0]["spilled_to"], "only-gpt-4o");
    let metrics = harness.metrics().await;
    let counted =
        "forebay_spillovers_total{deployment=\"only-gpt-4o\",instance=\"only\",model=\"gpt-4o\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

/// When everything fails, moving on only adds to the load: the budget ends that, and one that can serve ends the budget.
#[tokio::test]
async fn a_failure_of_all_does_not_multiply_the_load_and_one_that_serves_is_always_reached() {
    let more = "failover: { retry_budget: { share: 0%, floor: 1 } }\nbreaker: { faults: 1000 }";
    let harness = Harness::open_with(&[("a", 1, 1), ("b", 2, 1)], more).await;
    for name in ["a", "b"] {
        harness.fault(name, status(500, &[]));
    }
    let started = Instant::now();
    for _ in 0..60 {
        // What both said, or, where only one was asked, that it can't be had.
        let code = harness.chat().await.status().as_u16();
        assert!([500, 503].contains(&code), "{code}");
    }
    // One a second, over ten seconds at once.
    let budget = 10 * (1 + started.elapsed().as_secs() / 10) + 10;
    assert_eq!(harness.asked("a"), 60);
    let moved = harness.asked("b");
    assert!(
        (10..=budget).contains(&moved),
        "{moved} moves, {budget} allowed"
    );
    let counted = format!(
        "forebay_retry_budget_exhausted_total{{model=\"gpt-4o\"}} {}",
        60 - moved
    );
    let is_counted = || async { harness.metrics().await.contains(&counted) };
    eventually_async("the rest is counted", is_counted).await;

    harness.fault("b", None);
    let until_it_serves = || async { harness.chat().await.status() == 200 };
    eventually_async("the budget is there again", until_it_serves).await;
    for _ in 0..30 {
        assert_eq!(served_by(&harness.chat().await), "b");
    }
}

/// What adds to a conversation, or what a tool does outside, would be there twice.
#[tokio::test]
async fn what_must_not_be_done_twice_moves_on_only_from_who_cannot_have_acted() {
    let harness = Harness::open(&[("first", 1, 1), ("second", 2, 1)]).await;
    for (more, fault, code, asked) in [
        (
            json!({"tools": [{"type": "mcp", "server_label": "bank", "require_approval": "never"}]}),
            status(500, &[]),
            503,
            0,
        ),
        (
            json!({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}),
            FaultKind::Reset {},
            503,
            0,
        ),
        (
            json!({"tools": [{"type": "computer_use_preview"}]}),
            status(502, &[]),
            503,
            0,
        ),
        (
            json!({"tools": [{"type": "function", "name": "f"}, {"type": "web_search"}]}),
            status(500, &[]),
            200,
            1,
        ),
        (
            json!({"conversation": "conv_1"}),
            FaultKind::Reset {},
            503,
            0,
        ),
        (json!({"background": false}), status(500, &[]), 200, 1),
        (json!({"conversation": "conv_1"}), status(503, &[]), 200, 1),
        (
            json!({"conversation": "conv_1"}),
            status(429, &[("retry-after", "0")]),
            200,
            1,
        ),
    ] {
        let mut body = json!({"model": "gpt-4o", "input": "Why do dams spill?"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        harness.fault("first", fault.clone());
        let before = harness.asked("second");
        let answer = harness
            .post("/openai/v1/responses")
            .json(&body)
            .send()
            .await;
        let seen = (
            answer.unwrap().status().as_u16(),
            harness.asked("second") - before,
        );
        assert_eq!(seen, (code, asked), "{more} {fault:?}");
    }
}

/// It would be taken, and paid for, and nobody could fetch it: there is no path for a response by its id.
#[tokio::test]
async fn a_response_in_the_background_is_refused_in_words_and_nobody_is_asked() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    for background in [json!(true), json!("true"), json!(1)] {
        let body = json!({"model": "gpt-4o", "input": "Work hard.", "background": background});
        let answer = harness
            .post("/openai/v1/responses")
            .json(&body)
            .send()
            .await;
        let body = error_of(answer.unwrap(), 400, "OperationNotSupported").await;
        assert_eq!(body["error"]["param"], "background");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains("Remove `background`"), "{message}");
    }
    assert_eq!(harness.asked("only"), 0);
    let log = harness.log(3).await;
    assert_eq!(log[0]["refusal"], "no_background");
    let body = json!({"model": "gpt-4o", "input": "Work.", "background": false});
    let answer = harness
        .post("/openai/v1/responses")
        .json(&body)
        .send()
        .await;
    assert_eq!(answer.unwrap().status(), 200);
}
