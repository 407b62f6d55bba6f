//! Token endpoints that fail: their instances drop out with an alarm, others serve everything, and they come back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use forebay::simulator::TokenFault;
use serde_json::json;

use super::{IdentityFixture, Setup};
use crate::harness::{INSTANCE_KEY, eventually_async, forebay, output_of, served_by};

const KEY: &str = "api_key: an-instance-key";
/// No request should wait long for a first token that doesn't come.
const BRIEFLY: &str = "failover: { connect_timeout: 300ms }";
const ALARM: [&str; 2] = ["\"level\":\"ERROR\"", "its instances get no requests"];
const BACK: [&str; 2] = [
    "\"level\":\"INFO\"",
    "got a token for the identity; its instances can be used",
];

/// `entra` is asked first, with tokens; `key` is there for what it can't serve.
async fn fixture(tokens: &str, proof: &str, fault: Option<TokenFault>) -> IdentityFixture {
    assert!(KEY.contains(INSTANCE_KEY));
    let setup = Setup {
        tokens,
        proofs: &[("entra", proof, ""), ("key", KEY, "")],
        more: BRIEFLY,
        fault,
        ..Setup::default()
    };
    setup.open().await
}

impl IdentityFixture {
    /// Until the deployment is left alone; every request meanwhile is served.
    async fn until_out(&self) {
        eventually_async("the deployment is out", async || {
            assert_eq!(self.ask("gpt-4o").await.status(), 200);
            self.deployment("entra").await["available"] == false
        })
        .await;
        assert_eq!(served_by(&self.ask("gpt-4o").await), "key");
    }

    /// Until the deployment serves as if nothing had been; every request meanwhile is served.
    async fn until_in(&self) {
        eventually_async("the deployment serves", async || {
            let answer = self.ask("gpt-4o").await;
            assert_eq!(answer.status(), 200);
            served_by(&answer) == "entra" && self.deployment("entra").await["state"] == "closed"
        })
        .await;
    }

    /// What operators and health checks see of an identity without a token.
    async fn is_out(&self) {
        let out = self.deployment("entra").await;
        assert_eq!(
            (&out["state"], &out["cause"]),
            (&"open".into(), &"credential".into())
        );
        assert!(out["retry_in_seconds"].as_f64().unwrap() > 0.0);
        let metrics = self.metrics().await;
        for (gauge, value) in [("available", 0), ("set_aside", 1)] {
            assert!(
                gauge_is(&metrics, gauge, value),
                "{gauge} {value} in {metrics}"
            );
        }
        assert_eq!(
            (self.health("entra").await, self.health("gpt-4o").await),
            (503, 200)
        );
        let refused = self.ask("entra").await;
        assert_eq!(refused.status(), 503);
        let wait = refused.headers()["retry-after"].to_str().unwrap();
        assert!((1..=60).contains(&wait.parse::<u64>().unwrap()), "{wait}");
        let explained = self.explained();
        let not_now = "not now      entra/gpt-4o: open, credential, next retry in ";
        assert!(explained.contains(not_now), "{explained}");
        let alarms = self.said(&ALARM);
        assert_eq!(alarms.len(), 1, "{alarms:?}");
        for word in [
            "\"identity\":\"entra\"",
            "cognitiveservices.azure.com/.default",
            "\"instances\":\"entra\"",
        ] {
            assert!(alarms[0].contains(word), "{word} in {}", alarms[0]);
        }
    }

    /// What `forebay explain` says of a request now.
    fn explained(&self) -> String {
        let status = format!("http://{}/status", self.gateway.admin);
        let path = "/openai/deployments/gpt-4o/chat/completions";
        let mut command = forebay();
        let command = command.args(["explain", "--client", "tests", "--path", path]);
        let command = command.args(["--body", "/dev/null", "--status", &status, "--config"]);
        let (_, out, err) = output_of(command.arg(self.gateway.folder.join("forebay.yaml")));
        out + &err
    }

    async fn is_back(&self, times: usize) {
        assert_eq!(self.deployment("entra").await["cause"], json!(null));
        let metrics = self.metrics().await;
        for (gauge, value) in [("available", 1), ("set_aside", 0)] {
            assert!(
                gauge_is(&metrics, gauge, value),
                "{gauge} {value} in {metrics}"
            );
        }
        assert_eq!(self.health("entra").await, 200);
        assert_eq!(served_by(&self.ask("entra").await), "entra");
        assert_eq!(served_by(&self.ask("gpt-4o").await), "entra");
        let back = self.said(&BACK);
        assert_eq!(back.len(), times, "{back:?}");
        assert_eq!(self.identity("entra").await["last_error"], json!(null));
    }
}

/// Of the deployment of `entra` in `gpt-4o`.
fn gauge_is(metrics: &str, gauge: &str, value: u64) -> bool {
    let cause = match gauge {
        "set_aside" => "cause=\"credential\",",
        _ => "",
    };
    let line = format!(
        "forebay_deployment_{gauge}{{{cause}deployment=\"gpt-4o\",instance=\"entra\",model=\"gpt-4o\"}} {value}"
    );
    metrics.lines().any(|it| it == line)
}

/// A machine whose metadata service answers so from the start.
async fn imds_answers(fault: TokenFault, told: &str) {
    let proof = "managed_identity: { endpoint: \"http://{tokens}\" }";
    let fixture = fixture("", proof, Some(fault.clone())).await;
    assert_eq!(fixture.health("entra").await, 503);
    fixture.until_out().await;
    fixture.is_out().await;
    let error = fixture.identity("entra").await["last_error"].to_string();
    assert!(error.contains(told), "{fault:?}: {error}");
    let metrics = fixture.metrics().await;
    let failures = "forebay_identity_failures_total{identity=\"entra\"} ";
    let failed = metrics.lines().find_map(|line| line.strip_prefix(failures));
    assert!(failed.unwrap().parse::<u64>().unwrap() >= 1);
    fixture.simulator.set_token_fault(None);
    fixture.until_in().await;
    fixture.is_back(1).await;
    fixture
        .keeps_to_itself(&["nobody knows when", "not a token", "eyJ"])
        .await;
}

#[tokio::test]
async fn imds_that_is_being_updated_is_asked_until_it_answers() {
    imds_answers(TokenFault::Status { status: 410 }, "answered 410").await;
}

#[tokio::test]
async fn imds_that_is_asked_too_often_is_asked_again_when_it_says() {
    imds_answers(TokenFault::Throttle { seconds: 3 }, "answered 429").await;
}

#[tokio::test]
async fn imds_that_fails_is_asked_again() {
    imds_answers(TokenFault::Status { status: 500 }, "answered 500").await;
}

#[tokio::test]
async fn imds_that_answers_garbage_is_asked_again() {
    imds_answers(TokenFault::Garbage {}, "no usable token").await;
}

#[tokio::test]
async fn imds_that_gives_an_empty_token_has_given_none() {
    imds_answers(TokenFault::Empty {}, "no usable token").await;
}

#[tokio::test]
async fn imds_that_tells_no_time_has_given_no_token() {
    let value = "09/14/2030 00:00:00 +00:00".to_owned();
    imds_answers(TokenFault::ExpiresOn { value }, "no usable token").await;
    let value = "1586984735".to_owned();
    imds_answers(
        TokenFault::ExpiresOn { value },
        "check this machine's clock",
    )
    .await;
}

#[tokio::test]
async fn imds_that_never_answers_is_given_up_and_asked_again() {
    imds_answers(TokenFault::Hang {}, "no answer within 10 s").await;
}

#[tokio::test]
async fn a_request_before_the_first_token_waits_for_it_as_for_a_connection_and_goes_on() {
    let proof = "managed_identity: { endpoint: \"http://{tokens}\" }";
    let fixture = fixture("", proof, Some(TokenFault::Hang {})).await;
    assert_eq!(fixture.deployment("entra").await["available"], true);
    assert_eq!(served_by(&fixture.ask("gpt-4o").await), "key");
    let line = fixture.log(1).await.remove(0);
    let attempts = line["attempts"].as_array().unwrap();
    let outcomes: Vec<_> = attempts.iter().map(|it| &it["outcome"]).collect();
    assert_eq!(outcomes, ["fault_credential", "served"]);
    let waited = attempts[0]["ms"].as_f64().unwrap();
    assert!(waited >= 290.0, "{line}");
}

#[tokio::test]
async fn a_machine_without_such_an_identity_is_not_asked_in_a_hurry() {
    let proof = "managed_identity: { endpoint: \"http://{tokens}\" }";
    let fixture = fixture("", proof, Some(TokenFault::Status { status: 400 })).await;
    fixture.until_out().await;
    fixture.is_out().await;
    let out = fixture.deployment("entra").await;
    assert!(out["retry_in_seconds"].as_f64().unwrap() > 10.0, "{out}");
    assert_eq!(fixture.simulator.stats().tokens.asked, 1);
}

#[tokio::test]
async fn nobody_waits_for_a_first_token_that_will_not_be_asked_for_soon() {
    let proof = "managed_identity: { endpoint: \"http://{tokens}\" }";
    let fault = TokenFault::Throttle { seconds: 200 };
    let fixture = fixture("", proof, Some(fault)).await;
    fixture.until_out().await;
    let out = fixture.deployment("entra").await;
    assert!(out["retry_in_seconds"].as_f64().unwrap() > 100.0, "{out}");
    assert_eq!(fixture.simulator.stats().tokens.asked, 1);
    let refused = fixture.ask("entra").await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (503, &"120".parse().unwrap())
    );
}

const SHORT: &str = "lifetime: 4s";
const APP: &str =
    "client_secret: { tenant_id: t, client_id: c, secret: s, authority: \"http://{tokens}\" }";

/// Requests without a pause, one after another on each of four connections, until told to stop.
async fn busy(fixture: &IdentityFixture, stop: &AtomicBool, served: &AtomicU64) {
    let one = async || {
        while !stop.load(Relaxed) {
            assert_eq!(fixture.ask("gpt-4o").await.status(), 200);
            served.fetch_add(1, Relaxed);
        }
    };
    tokio::join!(one(), one(), one(), one());
}

#[tokio::test]
async fn where_entra_is_down_for_longer_than_a_token_lives_the_others_serve_until_it_is_back() {
    let fixture = fixture(SHORT, APP, None).await;
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let outage = async {
        fixture.until_in().await;
        fixture
            .simulator
            .set_token_fault(Some(TokenFault::Status { status: 503 }));
        eventually_async("a renewal fails", async || {
            fixture.identity("entra").await["failures"] != 0
        })
        .await;
        if fixture.identity("entra").await["ready"] == true {
            assert_eq!(fixture.said(&ALARM).len(), 0, "the old token still holds");
        }
        fixture.until_out().await;
        fixture.is_out().await;
        let before = fixture.asked("key");
        eventually_async("the other serves", async || {
            fixture.asked("key") > before + 20
        })
        .await;
        fixture.simulator.set_token_fault(None);
        fixture.until_in().await;
        fixture.is_back(2).await;
        stop.store(true, Relaxed);
    };
    tokio::join!(busy(&fixture, &stop, &served), outage);
    assert!(served.load(Relaxed) > 40);
}

#[tokio::test]
async fn a_token_revoked_under_load_costs_one_token_request_and_no_failed_one() {
    let fixture = fixture("", APP, None).await;
    fixture.until_in().await;
    let by_key = fixture.asked("key");
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let revocation = async {
        eventually_async("there is load", async || served.load(Relaxed) > 20).await;
        fixture.simulator.revoke_tokens();
        let before = served.load(Relaxed);
        eventually_async("it goes on", async || served.load(Relaxed) > before + 100).await;
        stop.store(true, Relaxed);
    };
    tokio::join!(busy(&fixture, &stop, &served), revocation);
    let stats = fixture.simulator.stats().tokens;
    assert_eq!((stats.asked, stats.issued, stats.used), (2, 2, 2));
    assert_eq!(
        fixture.asked("key"),
        by_key,
        "the same deployment was asked again"
    );
    assert_eq!(fixture.deployment("entra").await["state"], "closed");
}
