//! Whose fault an attempt's end is: what one client does wrong changes nothing for another, and what the operator did wrong
//! is not told to clients as theirs.

use std::time::{Duration, Instant};

use forebay::simulator::{FaultKind, Piece, Raw};
use reqwest::Response;
use serde_json::{Value, json};

use crate::harness::{
    CHAT, Harness, KEY, chat, error_of, eventually_async, served_by, status, streamed,
};

const OTHER: &str = "the-key-of-another-client";
const THREE: [(&str, u32, u32); 3] = [("a", 1, 1), ("b", 2, 1), ("c", 3, 1)];
const IMAGES: &str = "/openai/v1/images/generations";

/// A harness with a second client.
async fn harness_with(instances: &[(&str, u32, u32)], more: &str) -> Harness {
    let hash = forebay::config::hash_key(OTHER).unwrap().hash;
    let other = format!("  second: {{ keys: [\"{hash}\"], models: [\"*\"] }}\n{more}");
    Harness::open_with(instances, &other).await
}

async fn ask(harness: &Harness, key: &str, path: &str, body: &Value) -> Response {
    let request = harness.http.post(harness.url(path)).header("api-key", key);
    request.json(body).send().await.unwrap()
}

fn all(harness: &Harness, instances: &[(&str, u32, u32)], fault: impl Into<Option<FaultKind>>) {
    let fault = fault.into();
    for (name, ..) in instances {
        harness.fault(name, fault.clone());
    }
}

fn says(code: u16, error: Value) -> FaultKind {
    let mut fault = status(code, &[]);
    if let FaultKind::Status { body, .. } = &mut fault {
        *body = Some(json!({ "error": error }).to_string());
    }
    fault
}

async fn states(harness: &Harness) -> Vec<String> {
    let status = harness.status().await;
    let models = status["models"].as_array().unwrap();
    let model = models.iter().find(|it| it["model"] == "gpt-4o").unwrap();
    let deployments = model["deployments"].as_array().unwrap().iter();
    let state = |it: &Value| it["state"].as_str().unwrap().to_owned();
    deployments.map(state).collect()
}

async fn alarms(harness: &Harness) -> String {
    harness.status().await["alarms"].to_string()
}

#[tokio::test]
async fn a_clients_own_broken_tool_is_told_to_it_and_charged_to_nobody() {
    let harness = harness_with(&THREE, "").await;
    let error = json!({"message": "Error retrieving tool list from MCP server: 'x'.", "type": "external_connector_error", "param": "tools", "code": "http_error"});
    all(&harness, &THREE, says(424, error));
    for _ in 0..8 {
        let answer = harness.chat().await;
        assert_eq!(answer.status(), 424);
        assert!(answer.text().await.unwrap().contains("MCP server"));
    }
    assert_eq!((harness.asked("a"), harness.asked("b")), (8, 0));
    all(&harness, &THREE, None);
    let answer = ask(&harness, OTHER, CHAT, &chat()).await;
    assert_eq!(served_by(&answer), "a");
    assert_eq!(states(&harness).await, ["closed"; 3]);
}

#[tokio::test]
async fn what_fails_everywhere_is_the_requests_own_and_closes_nothing_for_another_client() {
    let more = "failover: { retry_budget: { floor: 1000 } }";
    let harness = harness_with(&THREE, more).await;
    for code in [500, 502, 503, 504, 408] {
        all(&harness, &THREE, status(code, &[]));
        for body in [chat(), streamed()] {
            for _ in 0..6 {
                let answer = ask(&harness, KEY, CHAT, &body).await;
                assert_eq!(answer.status(), code, "what they said");
            }
        }
        all(&harness, &THREE, None);
        assert_eq!(states(&harness).await, ["closed"; 3], "{code}");
        let answer = ask(&harness, OTHER, CHAT, &chat()).await;
        assert_eq!(served_by(&answer), "a", "{code}");
    }
    let event = json!({"type": "response.failed", "response": {"error": {"code": "never_seen", "message": "…"}}});
    let error = forebay::simulator::StreamError {
        event: Some(format!("event: response.failed\ndata: {event}")),
        after_events: 1,
        ..Default::default()
    };
    all(&harness, &THREE, FaultKind::StreamError(error));
    let body = json!({"model": "gpt-4o", "input": "Why do dams spill?", "stream": true});
    for _ in 0..6 {
        let answer = ask(&harness, KEY, "/openai/v1/responses", &body).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.unwrap().contains("never_seen"));
    }
    assert_eq!(states(&harness).await, ["closed"; 3]);
}

#[tokio::test]
async fn what_is_reset_or_left_silent_everywhere_closes_nothing_for_another_client() {
    let quick = "first_byte_timeout: 50ms, unstreamed_timeout: 1m, ";
    for (fault, timeouts, code) in [
        (FaultKind::Reset {}, "", 503),
        (FaultKind::Hang {}, quick, 504),
    ] {
        let more = format!("failover: {{ {timeouts}retry_budget: {{ floor: 1000 }} }}");
        let harness = harness_with(&THREE, &more).await;
        all(&harness, &THREE, fault.clone());
        for _ in 0..12 {
            let answer = ask(&harness, KEY, CHAT, &streamed()).await;
            assert_eq!(answer.status(), code, "{fault:?}");
        }
        all(&harness, &THREE, None);
        assert_eq!(states(&harness).await, ["closed"; 3], "{fault:?}");
        let answer = ask(&harness, OTHER, CHAT, &chat()).await;
        assert_eq!(served_by(&answer), "a", "{fault:?}");
    }
}

#[tokio::test]
async fn a_pool_that_fails_for_different_clients_is_closed_soon() {
    let more = "failover: { first_byte_timeout: 50ms }";
    for fault in [status(500, &[]), FaultKind::Reset {}, FaultKind::Hang {}] {
        let harness = harness_with(&THREE, more).await;
        all(&harness, &THREE, fault.clone());
        for _ in 0..10 {
            for key in [KEY, OTHER] {
                ask(&harness, key, CHAT, &streamed()).await;
            }
        }
        assert_eq!(states(&harness).await, ["open"; 3], "{fault:?}");
        let answer = ask(&harness, KEY, CHAT, &chat()).await;
        error_of(answer, 503, "ServiceUnavailable").await;
    }
}

#[tokio::test]
async fn one_clients_streams_that_break_off_close_nothing_for_another_client() {
    let harness = harness_with(&THREE, "").await;
    let breaks = || FaultKind::CloseMidStream { after_events: 3 };
    all(&harness, &THREE, breaks());
    for _ in 0..20 {
        let answer = ask(&harness, KEY, CHAT, &streamed()).await;
        assert_eq!(served_by(&answer), "a");
        assert!(answer.bytes().await.is_err());
    }
    assert_eq!(states(&harness).await, ["closed"; 3]);
    // It is the deployment's fault where another client meets it too.
    eventually_async("it is closed off", async || {
        let answer = ask(&harness, OTHER, CHAT, &streamed()).await;
        let _ = answer.bytes().await;
        states(&harness).await[0] == "open"
    })
    .await;
}

#[tokio::test]
async fn a_pool_that_fails_for_its_only_client_is_closed_too() {
    let harness = Harness::open(&THREE).await;
    all(&harness, &THREE, status(500, &[]));
    eventually_async("all are closed off", async || {
        harness.chat().await;
        states(&harness).await == ["open"; 3]
    })
    .await;
    assert_eq!(THREE.map(|(name, ..)| harness.asked(name)), [10; 3]);
}

#[tokio::test]
async fn one_that_fails_while_its_fellows_serve_is_closed_by_a_single_client() {
    let harness = harness_with(&THREE, "").await;
    harness.fault("a", status(500, &[]));
    for _ in 0..8 {
        assert_eq!(served_by(&harness.chat().await), "b");
    }
    assert_eq!(harness.asked("a"), 5);
    assert_eq!(states(&harness).await, ["open", "closed", "closed"]);
}

#[tokio::test]
async fn a_kind_of_work_that_the_identity_may_not_do_is_set_aside_alone() {
    let harness = harness_with(&THREE, "").await;
    let error = json!({"code": "PermissionDenied", "message": "The principal `x` lacks the required data action `…/images/generations/action`"});
    all(&harness, &THREE, says(401, error));
    let image = json!({"model": "gpt-4o", "prompt": "a dam"});
    for _ in 0..3 {
        let answer = ask(&harness, KEY, IMAGES, &image).await;
        let wait: u64 = answer.headers()["retry-after-ms"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        // For as long as it is set aside, and not from one second to the next.
        assert!(wait > 1000, "{wait}");
        error_of(answer, 503, "ServiceUnavailable").await;
    }
    // Once each; a fresh token would not help.
    assert_eq!(THREE.map(|(name, ..)| harness.asked(name)), [1; 3]);
    all(&harness, &THREE, None);
    let answer = ask(&harness, OTHER, CHAT, &chat()).await;
    assert_eq!(served_by(&answer), "a");
    let metrics = harness.metrics().await;
    let gauge = "forebay_deployment_set_aside{cause=\"credential\",deployment=\"a-gpt-4o\",instance=\"a\",model=\"gpt-4o\"} 1";
    assert!(metrics.contains(gauge), "{metrics}");
    let alarms = alarms(&harness).await;
    assert!(alarms.contains("images/generations"), "{alarms}");
}

#[tokio::test]
async fn a_token_that_can_never_be_good_there_is_the_operators_matter() {
    let harness = harness_with(&THREE, "").await;
    let error = json!({"code": "Tenant provided in token does not match resource token", "message": "Token tenant 1 does not match resource tenant."});
    all(&harness, &THREE, says(400, error));
    error_of(harness.chat().await, 503, "ServiceUnavailable").await;
    let status = harness.status().await;
    let first = &status["models"][0]["deployments"][0];
    assert_eq!(first["cause"], "credential", "{status}");
}

#[tokio::test]
async fn nothing_of_a_redirect_reaches_a_client() {
    let harness = harness_with(&THREE, "").await;
    for code in [301, 302, 303, 307, 308] {
        let harness = harness_with(&THREE, "").await;
        let to = [("location", "http://elsewhere.example/openai")];
        harness.fault("a", status(code, &to));
        assert_eq!(served_by(&harness.chat().await), "b", "{code}");
        assert!(alarms(&harness).await.contains("redirects"));
    }
    all(
        &harness,
        &THREE,
        status(307, &[("location", "http://elsewhere.example")]),
    );
    let answer = harness.chat().await;
    assert!(!answer.headers().contains_key("location"));
    error_of(answer, 503, "ServiceUnavailable").await;
}

#[tokio::test]
async fn a_web_page_or_a_proxys_407_is_no_answer_for_a_client() {
    let page = status(200, &[("content-type", "text/html; charset=utf-8")]);
    for (fault, code) in [(page, "200 with a web page"), (status(407, &[]), "407")] {
        let harness = harness_with(&THREE, "").await;
        harness.fault("a", fault.clone());
        assert_eq!(served_by(&harness.chat().await), "b", "{code}");
        let told = alarms(&harness).await;
        assert!(
            told.contains("is not from the API") && told.contains(code),
            "{told}"
        );
        all(&harness, &THREE, fault);
        error_of(harness.chat().await, 503, "ServiceUnavailable").await;
    }
}

#[tokio::test]
async fn a_switch_of_protocols_that_nobody_asked_for_reaches_no_client() {
    let harness = harness_with(&THREE, "").await;
    let head =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let raw = Raw::new(head.to_owned(), [Piece::from(&b""[..])]);
    all(&harness, &THREE, FaultKind::Raw(raw));
    error_of(harness.chat().await, 503, "ServiceUnavailable").await;
}

#[tokio::test]
async fn what_is_found_nowhere_is_told_and_sets_nothing_aside() {
    let harness = harness_with(&THREE, "").await;
    for (fault, code) in [
        (status(404, &[]), "404"),
        (FaultKind::NotDeployed {}, "DeploymentNotFound"),
    ] {
        all(&harness, &THREE, fault);
        for _ in 0..8 {
            error_of(harness.chat().await, 404, code).await;
        }
        let told = alarms(&harness).await;
        assert!(
            told.contains("answers 404 to every request since"),
            "{told}"
        );
        all(&harness, &THREE, None);
        let answer = ask(&harness, OTHER, CHAT, &chat()).await;
        assert_eq!(served_by(&answer), "a", "{code}");
        assert_eq!(states(&harness).await, ["closed"; 3]);
    }
}

#[tokio::test]
async fn a_path_that_is_not_there_where_others_have_it_is_set_aside_for_that_work() {
    let harness = harness_with(&THREE, "").await;
    harness.fault("a", status(404, &[]));
    for _ in 0..4 {
        assert_eq!(served_by(&harness.chat().await), "b");
    }
    assert_eq!(harness.asked("a"), 1);
    let told = alarms(&harness).await;
    assert!(told.contains("chat/completions"), "{told}");
}

#[tokio::test]
async fn one_that_answers_nothing_but_400_is_found_by_what_its_fellows_serve() {
    let harness = harness_with(&THREE, "").await;
    harness.fault("a", status(400, &[]));
    for _ in 0..5 {
        assert_eq!(harness.chat().await.status(), 400);
    }
    assert_eq!(harness.asked("b"), 0);
    for _ in 0..5 {
        assert_eq!(served_by(&harness.chat().await), "b");
    }
    assert_eq!(harness.asked("a"), 6);
    let told = alarms(&harness).await;
    assert!(
        told.contains("answers 400 to every request since"),
        "{told}"
    );
    // Where the fellows say the same it is the request's own.
    let harness = harness_with(&THREE, "").await;
    all(&harness, &THREE, status(400, &[]));
    for _ in 0..12 {
        assert_eq!(harness.chat().await.status(), 400);
    }
    assert_eq!(states(&harness).await, ["closed"; 3]);
}

#[tokio::test]
async fn a_404_that_may_mean_what_the_client_named_ends_no_trial() {
    let more = "breaker: { pause: 500ms, longest_pause: 500ms, ramp: 0s }";
    let harness = harness_with(&[("only", 1, 1)], more).await;
    harness.fault("only", status(401, &[]));
    error_of(harness.chat().await, 503, "ServiceUnavailable").await;
    harness.fault("only", FaultKind::NotDeployed {});
    let asked = harness.asked("only");
    eventually_async("one tries it", async || {
        let request = harness.post(CHAT).json(&chat());
        let request = request.header("x-ms-oai-image-generation-deployment", "gpt-4o");
        assert_eq!(request.send().await.unwrap().status(), 503);
        harness.asked("only") > asked
    })
    .await;
    assert_eq!(states(&harness).await, ["open"]);
    harness.fault("only", None);
    assert_eq!(harness.chat().await.status(), 200, "the next one tries it");
    assert_eq!(states(&harness).await, ["closed"]);
}

/// Its answer comes whole and late: the others don't wait for its end.
#[tokio::test]
async fn a_trial_that_takes_its_time_keeps_nobody_waiting_who_has_nowhere_else_to_go() {
    let only = [("only", 1, 1)];
    let more = "breaker: { pause: 500ms, longest_pause: 500ms, ramp: 0s }";
    let harness = harness_with(&only, more).await;
    harness.fault("only", FaultKind::Reset {});
    eventually_async("it is closed off", async || {
        for key in [KEY, OTHER] {
            ask(&harness, key, CHAT, &chat()).await;
        }
        states(&harness).await == ["open"]
    })
    .await;
    harness.fault(
        "only",
        FaultKind::Silent {
            ms: 20_000,
            after_events: 0,
        },
    );
    // Until its pause is over it is not asked.
    let request = harness.http.post(harness.url(CHAT)).header("api-key", KEY);
    let request = request.json(&chat());
    let trial = tokio::spawn(async move {
        while request.try_clone().unwrap().send().await.unwrap().status() == 503 {}
    });
    eventually_async("one tries it", async || harness.asked("only") == 6).await;
    harness.fault("only", None);
    let began = Instant::now();
    eventually_async("another is served behind it", async || {
        ask(&harness, OTHER, CHAT, &chat()).await.status() == 200
    })
    .await;
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    assert!(!trial.is_finished());
    trial.abort();
}

#[tokio::test]
async fn after_a_silence_nobody_is_told_to_retry() {
    let harness = harness_with(
        &THREE,
        "failover: { first_byte_timeout: 300ms, attempts: 2 }",
    )
    .await;
    all(&harness, &THREE, FaultKind::Hang {});
    let answer = harness.chat().await;
    assert_eq!(answer.headers()["x-should-retry"], "false");
    assert!(!answer.headers().contains_key("retry-after"));
    error_of(answer, 504, "Timeout").await;
}

#[tokio::test]
async fn an_answer_that_comes_whole_has_a_time_of_its_own() {
    let more = "failover: { first_byte_timeout: 300ms, unstreamed_timeout: 1m }";
    let harness = harness_with(&THREE, more).await;
    harness.fault(
        "a",
        FaultKind::Silent {
            ms: 1500,
            after_events: 0,
        },
    );
    assert_eq!(served_by(&harness.chat().await), "a");
    harness.fault("a", FaultKind::Hang {});
    let answer = ask(&harness, KEY, CHAT, &streamed()).await;
    assert_eq!(served_by(&answer), "b");
}
