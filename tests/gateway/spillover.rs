//! Azure's own spillover, by simulated instances that do as Azure does: the client is served, and operators see by whom.

use std::time::Duration;

use forebay::simulator::{self, Config, Fault, FaultKind, Simulator};
use serde_json::{Value, json};

use crate::harness::{CHAT, Gateway, Harness, INSTANCE_KEY, KEY, client, status, throttle};

/// A provisioned deployment that is full after one request and spills over, and another instance beside it.
async fn harness() -> Harness {
    harness_with("").await
}

async fn harness_with(more: &str) -> Harness {
    let simulation = format!(
        "instances:\n  east:\n    keys: [{INSTANCE_KEY}]\n    deployments:\n      \
         ptu: {{ model: gpt-4o, capacity: {{ ptu: {{ tokens_per_minute: 1 }} }}, spillover: overflow }}\n      \
         overflow: {{ model: gpt-4o, capacity: {{ standard: {{ tokens_per_minute: 100000, requests_per_minute: 6000 }} }} }}\n  west: {{ keys: [{INSTANCE_KEY}], deployments: {{ std: {{ model: gpt-4o }} }} }}\n"
    );
    let simulator = simulator::start(Config::parse(&simulation).unwrap());
    let simulator = simulator.await.unwrap();
    let gateway = Gateway::start(&format!("{}{more}", config(&simulator))).await;
    let http = client();
    Harness {
        simulator,
        gateway,
        http,
    }
}

fn config(simulator: &Simulator) -> String {
    let [east, west] = ["east", "west"].map(|name| simulator.address(name).unwrap());
    let hash = forebay::config::hash_key(KEY).unwrap().hash;
    format!(
        "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\ninstances:\n  \
         east: {{ endpoint: \"http://{east}\", identity: key }}\n  west: {{ endpoint: \"http://{west}\", identity: key }}\n\
         models:\n  gpt-4o:\n    deployments:\n      \
         - {{ instance: east, deployment: ptu, type: provisioned, priority: 1 }}\n      \
         - {{ instance: east, deployment: overflow, priority: 2 }}\n      \
         - {{ instance: west, deployment: std, priority: 3 }}\n\
         clients: {{ tests: {{ keys: [\"{hash}\"], models: [\"*\"] }} }}\nreveal: true\n"
    )
}

/// Which deployment the gateway says it asked last, of a chat that was served.
async fn served_by(harness: &Harness, streamed: bool) -> String {
    let chat = json!({"model": "gpt-4o", "stream": streamed, "messages": [{"role": "user", "content": "dams"}]});
    let answer = harness.post(CHAT).json(&chat).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let headers = answer.headers().clone();
    for name in ["x-ms-spillover-from-deployment", "x-ms-spillover-error"] {
        assert!(
            !headers.contains_key(name),
            "{name} is the operator's matter"
        );
    }
    assert!(answer.text().await.unwrap().contains("You"));
    headers["x-forebay-deployment"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_azure_serves_from_another_deployment_is_logged_and_counted_as_that_ones() {
    let harness = harness().await;
    for streamed in [false, false, true] {
        assert_eq!(served_by(&harness, streamed).await, "east/ptu");
    }
    let stats = harness.simulator.stats();
    assert_eq!(stats.deployment("east", "overflow").status(200), 2);
    let log = harness.log(3).await;
    let spilled = log.iter().map(|line| &line["attempts"][0]["spilled_to"]);
    assert_eq!(
        spilled.collect::<Vec<_>>(),
        [&Value::Null, &json!("overflow"), &json!("overflow")]
    );
    let counted =
        "forebay_spillovers_total{deployment=\"ptu\",instance=\"east\",model=\"gpt-4o\"} 2";
    let metrics = harness.metrics().await;
    assert!(metrics.contains(counted), "{metrics}");
    // A spill is no throttle: the provisioned deployment is asked first all the same.
    assert_eq!(
        harness.status().await["models"][0]["deployments"][0]["state"],
        "closed"
    );
}

#[tokio::test]
async fn where_both_are_full_the_next_one_serves_and_the_others_wait_is_not_laid_on_the_first() {
    let harness = harness().await;
    assert_eq!(served_by(&harness, false).await, "east/ptu");
    let full = Fault::from(throttle(600.0));
    harness
        .simulator
        .set_fault("east", Some("overflow"), Some(full))
        .unwrap();
    assert_eq!(served_by(&harness, false).await, "west/std");
    let stats = harness.simulator.stats();
    let asked = [("east", "ptu"), ("east", "overflow"), ("west", "std")]
        .map(|(instance, deployment)| stats.deployment(instance, deployment).requests);
    assert_eq!(
        asked,
        [2, 1, 1],
        "what Azure has asked already was asked again"
    );
    let overflow = deployment(&harness, 1).await;
    assert_eq!(overflow["state"], "open", "{overflow}");
    assert!(overflow["retry_in_seconds"].as_f64() > Some(60.0));
    // The first one is back long before.
    while deployment(&harness, 0).await["state"] != "closed" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_the_headers_say_of_the_first_ones_fault_counts_as_its_own_though_the_answer_is_good()
{
    let harness = harness().await;
    let broken = Fault::from(status(503, &[]));
    harness
        .simulator
        .set_fault("east", Some("ptu"), Some(broken))
        .unwrap();
    for _ in 0..5 {
        assert_eq!(served_by(&harness, false).await, "east/ptu");
    }
    let ptu = deployment(&harness, 0).await;
    assert_eq!(
        (&ptu["state"], &ptu["cause"]),
        (&json!("open"), &json!("fault")),
        "{ptu}"
    );
    assert_eq!(deployment(&harness, 1).await["state"], "closed");
}

/// What Azure has asked already is no further deployment to ask.
#[tokio::test]
async fn what_a_spill_was_answered_is_told_where_nobody_else_is_left() {
    for (code, body) in [
        (
            404,
            Some(r#"{"error":{"code":"404","message":"Resource not found"}}"#),
        ),
        (451, None),
    ] {
        let harness = harness_with("failover: { more_statuses: [451] }\n").await;
        assert_eq!(served_by(&harness, false).await, "east/ptu");
        let full = Fault::from(throttle(600.0));
        harness
            .simulator
            .set_fault("west", None, Some(full))
            .unwrap();
        let mut fault = status(code, &[]);
        if let (FaultKind::Status { body: said, .. }, Some(body)) = (&mut fault, body) {
            *said = Some(body.to_owned());
        }
        harness
            .simulator
            .set_fault("east", Some("overflow"), Some(Fault::from(fault)))
            .unwrap();
        // The one beside them is known to be full.
        let chat = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "dams"}]});
        harness.post(CHAT).json(&chat).send().await.unwrap();
        assert_eq!(deployment(&harness, 2).await["state"], "open");
        while deployment(&harness, 0).await["state"] != "closed" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let answer = harness.post(CHAT).json(&chat).send().await.unwrap();
        assert_eq!(answer.status(), code);
        let log = harness.log(3).await.pop().unwrap();
        assert_eq!(log["attempts"][0]["spilled_to"], "overflow", "{log}");
        let stats = harness.simulator.stats();
        assert_eq!(stats.deployment("east", "overflow").requests, 2);
    }
}

/// The limits that a spilled answer tells are those of the deployment that gave it.
#[tokio::test]
async fn what_is_left_is_told_of_the_one_that_served() {
    let harness = harness().await;
    for _ in 0..2 {
        assert_eq!(served_by(&harness, false).await, "east/ptu");
    }
    let metrics = harness.metrics().await;
    let left = |deployment: &str| {
        let series = format!("forebay_deployment_remaining_tokens{{deployment=\"{deployment}\"");
        metrics.lines().any(|line| line.starts_with(&series))
    };
    assert!(left("overflow") && !left("ptu"), "{metrics}");
}

async fn deployment(harness: &Harness, index: usize) -> Value {
    harness.status().await["models"][0]["deployments"][index].clone()
}
