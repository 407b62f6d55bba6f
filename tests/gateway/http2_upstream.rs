//! What HTTP/2 says to a deployment's client beside answers: "not processed" is nobody's fault, and is asked again.

use std::fs;

use forebay::simulator::{self, Config};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    harness::{CHAT, Gateway, Harness, INSTANCE_KEY, KEY, chat, chat_of, client, folder},
    http2_server::{Action, Script, Server},
};

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;
const HTTP_1_1_REQUIRED: u32 = 13;

/// A gateway whose only deployment is asked over HTTP/2, all on one thread: what it holds in a pool is shared.
async fn harness(script: Script) -> (Server, Harness) {
    let folder = folder();
    let server = Server::start(&folder, script).await;
    let config = format!(
        "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\n\
         instances: {{ only: {{ endpoint: \"https://localhost:{}\", connect_to: \"{}\", identity: key, ca: {}/ours.ca }} }}\n\
         models: {{ gpt-4o: {{ deployments: [{{ instance: only }}] }} }}\n\
         clients: {{ tests: {{ keys: [\"{}\"], models: [\"*\"], operations: [inference, stateful] }} }}\n\
         server: {{ threads: 1 }}\n",
        server.address.port(),
        server.address,
        folder.display(),
        forebay::config::hash_key(KEY).unwrap().hash
    );
    let gateway = Gateway::start(&config).await;
    fs::remove_dir_all(&folder).unwrap();
    let simulation = "control: 127.0.0.1:0\ninstances: {}\n";
    let harness = Harness {
        simulator: simulator::start(Config::parse(simulation).unwrap())
            .await
            .unwrap(),
        gateway,
        http: client(),
    };
    (server, harness)
}

fn outcomes(log: &[Value]) -> Vec<String> {
    let attempts = log
        .iter()
        .flat_map(|line| line["attempts"].as_array().unwrap());
    attempts
        .map(|it| it["outcome"].as_str().unwrap().to_owned())
        .collect()
}

fn count(outcomes: &[String], outcome: &str) -> usize {
    outcomes.iter().filter(|it| *it == outcome).count()
}

/// The status of an answer that was read to its end.
async fn whole(answer: impl Future<Output = reqwest::Response>) -> u16 {
    let answer = answer.await;
    let status = answer.status().as_u16();
    assert!(!answer.bytes().await.unwrap().is_empty());
    status
}

async fn costs_nobody_anything(harness: &Harness) {
    let page = harness.status().await;
    let deployment = &page["models"][0]["deployments"][0];
    assert_eq!(deployment["state"], "closed", "{page}");
    let metrics = harness.metrics().await;
    let billed = "forebay_failovers_maybe_billed_total{deployment=\"gpt-4o\",instance=\"only\",model=\"gpt-4o\"} 0";
    assert!(metrics.contains(billed), "{metrics}");
}

#[tokio::test]
async fn what_a_goaway_or_a_refused_stream_leaves_out_is_asked_again_and_costs_nobody_anything() {
    let scripts: [Script; 3] = [
        |connection, nth| match (connection, nth) {
            (0, 2..) => Action::Reset(REFUSED_STREAM),
            _ => Action::Answer,
        },
        |connection, nth| match (connection, nth) {
            (0, 2..) => Action::GoAwayBelow(NO_ERROR),
            _ => Action::Answer,
        },
        |connection, nth| match (connection, nth) {
            (0, 2..) => Action::GoAwayBelow(ENHANCE_YOUR_CALM),
            _ => Action::Answer,
        },
    ];
    for (number, script) in scripts.into_iter().enumerate() {
        let (server, harness) = harness(script).await;
        assert_eq!(whole(harness.chat()).await, 200);
        let answers = join_all((0..10).map(|_| whole(harness.chat()))).await;
        for answer in answers {
            assert_eq!(answer, 200, "script {number}");
        }
        let outcomes = outcomes(&harness.log(11).await);
        assert_eq!(count(&outcomes, "served"), 11, "{number}: {outcomes:?}");
        let again = count(&outcomes, "not_processed");
        assert_eq!(again + 11, outcomes.len(), "{number}: {outcomes:?}");
        assert!(again > 0, "{number}: {outcomes:?}");
        assert!(server.requests() <= outcomes.len(), "each is written down");
        costs_nobody_anything(&harness).await;
    }
}

#[tokio::test]
async fn what_acts_is_asked_again_too_if_http2_says_that_it_was_not_processed() {
    let scripts: [Script; 2] = [
        |connection, _| match connection {
            0 => Action::Reset(REFUSED_STREAM),
            _ => Action::Answer,
        },
        |connection, _| match connection {
            0 => Action::GoAwayBelow(NO_ERROR),
            _ => Action::Answer,
        },
    ];
    for script in scripts {
        let (server, harness) = harness(script).await;
        let body = json!({"model": "gpt-4o", "input": "Pay.", "conversation": "conv_1"});
        let request = harness.post("/openai/v1/responses").json(&body).send();
        assert_eq!(whole(async { request.await.unwrap() }).await, 200);
        let outcomes = outcomes(&harness.log(1).await);
        assert_eq!(outcomes, ["not_processed", "served"]);
        assert_eq!(server.requests(), 2);
    }
}

#[tokio::test]
async fn any_other_reset_is_a_fault_and_what_acts_is_not_asked_again() {
    let (server, harness) = harness(|_, _| Action::Reset(INTERNAL_ERROR)).await;
    let body = json!({"model": "gpt-4o", "input": "Pay.", "conversation": "conv_1"});
    let answer = harness
        .post("/openai/v1/responses")
        .json(&body)
        .send()
        .await;
    let answer = answer.unwrap();
    assert_eq!(
        (
            answer.status().as_u16(),
            &answer.headers()["x-should-retry"]
        ),
        (503, &"false".parse().unwrap())
    );
    assert_eq!(outcomes(&harness.log(1).await), ["fault_reset"]);
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn behind_a_goaway_no_new_stream_goes_onto_that_connection() {
    let scripts: [Script; 2] = [
        |connection, _| match connection {
            0 => Action::GoAwayBehind(NO_ERROR),
            _ => Action::Answer,
        },
        |connection, _| match connection {
            0 => Action::GoAwayBehind(ENHANCE_YOUR_CALM),
            _ => Action::Answer,
        },
    ];
    for script in scripts {
        let (server, harness) = harness(script).await;
        let request = harness.post(CHAT).json(&chat());
        // It is answered only once another connection has come.
        let first = tokio::spawn(request.send());
        crate::harness::eventually("the first has come", || server.requests() == 1).await;
        for _ in 0..3 {
            assert_eq!(whole(harness.chat()).await, 200);
        }
        let first = async { first.await.unwrap().unwrap() };
        assert_eq!(whole(first).await, 200, "{:?}", harness.log(4).await);
        assert_eq!(server.late(), 0);
        let outcomes = outcomes(&harness.log(4).await);
        assert_eq!(count(&outcomes, "served"), 4, "{outcomes:?}");
        costs_nobody_anything(&harness).await;
    }
}

#[tokio::test]
async fn a_deployment_that_wants_http_1_1_is_asked_over_that_from_then_on() {
    let (server, harness) = harness(|_, _| Action::Reset(HTTP_1_1_REQUIRED)).await;
    for _ in 0..3 {
        assert_eq!(whole(harness.chat()).await, 200);
    }
    let outcomes = outcomes(&harness.log(3).await);
    assert_eq!(outcomes, ["not_processed", "served", "served", "served"]);
    assert_eq!((server.requests(), server.over_http1()), (4, 3));
    costs_nobody_anything(&harness).await;
}

/// Its client may learn of it by a write that fails, and not by its reason.
#[tokio::test]
async fn a_stream_that_is_refused_while_its_body_is_on_its_way_is_asked_again() {
    let script: Script = |connection, _| match connection {
        0 => Action::ResetEarly(REFUSED_STREAM),
        _ => Action::Answer,
    };
    let (_server, harness) = harness(script).await;
    for number in 0..5 {
        let request = harness.post(CHAT).body(chat_of(1 << 20, number));
        let answer = async { request.send().await.unwrap() };
        assert_eq!(whole(answer).await, 200);
    }
    let outcomes = outcomes(&harness.log(5).await);
    assert_eq!(count(&outcomes, "served"), 5, "{outcomes:?}");
    assert!(count(&outcomes, "not_processed") >= 1, "{outcomes:?}");
    costs_nobody_anything(&harness).await;
}
