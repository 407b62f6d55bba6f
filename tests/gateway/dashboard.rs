//! What `/status` says to the dashboard, and the page itself. A browser looks at it in `tests/browser`.

use reqwest::Method;
use serde_json::Value;

use crate::harness::{CHAT, Harness, chat, eventually_async, status, streamed, throttle};

async fn history(harness: &Harness) -> Value {
    let url = format!("http://{}/status?history", harness.gateway.admin);
    let answer = harness.http.get(url).send().await.unwrap();
    answer.json().await.unwrap()
}

/// A model's deployment, by its instance.
fn deployment<'a>(page: &'a Value, instance: &str) -> &'a Value {
    let deployments = page["models"][0]["deployments"].as_array().unwrap();
    let found = deployments.iter().find(|it| it["instance"] == instance);
    found.unwrap()
}

async fn ask(harness: &Harness, body: &Value, times: usize) {
    for _ in 0..times {
        let answer = harness.post(CHAT).json(body).send().await.unwrap();
        answer.bytes().await.unwrap();
    }
}

#[tokio::test]
async fn status_says_who_serves_how_much_and_how_fast() {
    let harness = Harness::open(&[("a", 1, 3), ("b", 1, 1), ("c", 2, 1)]).await;
    harness.fault("a", throttle(600.0));
    let utilization = status(200, &[("azure-openai-deployment-utilization", "97.5%")]);
    harness.fault("c", utilization);
    ask(&harness, &streamed(), 30).await;
    harness.log(30).await;
    let mut page = Value::Null;
    eventually_async("the rates are there", async || {
        page = harness.status().await;
        page["traffic"]["requests_per_second"].as_f64() > Some(0.0)
            && page["traffic"]["answers_last_minute"]["success"] == 30
    })
    .await;
    let (a, b, c) = (
        deployment(&page, "a"),
        deployment(&page, "b"),
        deployment(&page, "c"),
    );
    assert_eq!(
        (&a["share"], &b["share"]),
        (&0.0.into(), &1.0.into()),
        "{page}"
    );
    let weights = [a, b, c].map(|it| it["share_by_weight"].as_f64().unwrap());
    assert_eq!(weights, [0.75, 0.25, 1.0]);
    assert_eq!(
        (&a["state"], &a["cause"], &b["state"]),
        (&"open".into(), &"throttle".into(), &"closed".into())
    );
    let all = &page["traffic"];
    assert_eq!(b["requests_per_second"], all["requests_per_second"]);
    assert_eq!(
        b["requests_per_second"],
        page["models"][0]["requests_per_second"]
    );
    assert_eq!(b["attempts_last_minute"], serde_json::json!({"served": 30}));
    assert_eq!(a["attempts_last_minute"]["throttled"], 1, "{page}");
    assert_eq!(c["attempts_last_minute"], serde_json::json!({}));
    assert_eq!(all["answers_last_minute"]["success"], 30);
    let times = |it: &Value| {
        let of = |name: &str| {
            it[name]
                .as_f64()
                .unwrap_or_else(|| panic!("{name}: {page}"))
        };
        (of("p50_seconds"), of("p95_seconds"))
    };
    for it in [
        &b["time_to_first_token"],
        &all["time_to_first_token"],
        &all["overhead"],
    ] {
        let (p50, p95) = times(it);
        assert!(0.0 < p50 && p50 <= p95 && p95 < 60.0, "{page}");
    }
    assert!(c["time_to_first_token"].is_null() && c["utilization"].is_null());
    assert!(all["history"].is_null());
    // The curve goes on by itself.
    eventually_async("a history grows", async || {
        let all = history(&harness).await["traffic"].take();
        let curve = |name: &str| all["history"][name].as_array().map_or(0, Vec::len);
        let peak = all["history"]["requests_per_second"].as_array().unwrap();
        curve("tokens_per_second") == curve("requests_per_second")
            && curve("requests_per_second") > 2
            && peak.iter().any(|rate| rate.as_f64() > Some(0.0))
    })
    .await;
}

#[tokio::test]
async fn status_repeats_what_deployments_said_of_themselves() {
    let harness = Harness::open(&[("a", 1, 1), ("b", 2, 1)]).await;
    let said = [
        ("azure-openai-deployment-utilization", "97.5%"),
        ("x-ratelimit-remaining-tokens", "1200"),
        ("x-ratelimit-remaining-requests", "7"),
    ];
    harness.fault("a", status(429, &said));
    ask(&harness, &chat(), 1).await;
    let page = harness.status().await;
    let (a, b) = (deployment(&page, "a"), deployment(&page, "b"));
    assert_eq!(
        (
            &a["utilization"],
            &a["remaining_tokens"],
            &a["remaining_requests"]
        ),
        (&0.975.into(), &1200.0.into(), &7.0.into()),
        "{page}"
    );
    assert!(b["utilization"].is_null(), "{page}");
}

#[tokio::test]
async fn status_names_the_moves_and_what_to_mend() {
    let harness = Harness::open(&[("a", 1, 1), ("b", 2, 1)]).await;
    eventually_async("all is well", async || {
        let page = harness.status().await;
        let none = Value::Array(Vec::new());
        page["alarms"] == none && page["failovers"] == none
    })
    .await;

    harness.fault("a", status(401, &[]));
    harness.fault("b", status(500, &[]));
    ask(&harness, &chat(), 3).await;
    harness.log(3).await;
    let mut page = Value::Null;
    eventually_async("the moves are told", async || {
        page = harness.status().await;
        page["failovers"].as_array().unwrap().len() == 2
    })
    .await;
    let (end, moved) = (&page["failovers"][0], &page["failovers"][1]);
    assert_eq!(
        (
            &moved["model"],
            &moved["from"]["instance"],
            &moved["to"]["instance"],
            &moved["cause"]
        ),
        (
            &"gpt-4o".into(),
            &"a".into(),
            &"b".into(),
            &"identity_rejected".into()
        ),
        "{page}"
    );
    assert_eq!(
        (
            &end["from"]["deployment"],
            &end["to"],
            &end["cause"],
            &end["times"]
        ),
        (
            &"b-gpt-4o".into(),
            &Value::Null,
            &"fault_status".into(),
            &3.into()
        ),
        "{page}"
    );
    let alarms = page["alarms"].as_array().unwrap();
    assert_eq!(
        (alarms.len(), &alarms[0]["severity"], &alarms[0]["what"]),
        (1, &"alarm".into(), &"credential_refused".into()),
        "{page}"
    );
    let text = alarms[0]["text"].as_str().unwrap();
    assert!(
        text.contains("a/a-gpt-4o") && text.contains("credential of vm"),
        "{text}"
    );
}

#[tokio::test]
async fn the_page_is_sent_with_its_guard_and_only_once() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let url = format!("http://{}/", harness.gateway.admin);
    let page = harness.http.get(&url).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let headers = page.headers().clone();
    let header = |name: &str| headers[name].to_str().unwrap();
    assert!(header("content-type").starts_with("text/html"));
    assert!(
        header("content-security-policy").starts_with("default-src 'none'; script-src 'sha256-")
    );
    let guard = [
        "x-content-type-options",
        "x-frame-options",
        "referrer-policy",
        "cache-control",
    ];
    assert_eq!(
        guard.map(header),
        ["nosniff", "DENY", "no-referrer", "no-cache"]
    );
    assert_eq!(headers.get_all("cache-control").iter().count(), 1);
    let text = page.text().await.unwrap();
    assert!(text.starts_with("<!doctype html>"));

    let head = harness
        .http
        .request(Method::HEAD, &url)
        .send()
        .await
        .unwrap();
    assert_eq!(head.headers()["content-length"], text.len().to_string());
    let again = harness
        .http
        .get(&url)
        .header("if-none-match", header("etag"));
    let again = again.send().await.unwrap();
    assert_eq!(again.status(), 304);
    assert_eq!(again.headers()["etag"], header("etag"));
    assert!(again.text().await.unwrap().is_empty());
    let other = harness
        .http
        .get(&url)
        .header("if-none-match", "\"another\"");
    assert_eq!(other.send().await.unwrap().status(), 200);
    assert_eq!(harness.http.post(&url).send().await.unwrap().status(), 405);
    let data = harness
        .http
        .get(format!("{url}status"))
        .send()
        .await
        .unwrap();
    assert_eq!(data.headers()["cache-control"], "no-store");
    assert_eq!(data.headers()["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn status_says_how_clients_stand_against_their_limits() {
    let hash = |key: &str| forebay::config::hash_key(key).unwrap().hash;
    let mut more = String::new();
    for i in 0..30 {
        let key = hash(&format!("a-key-of-client-{i}"));
        let limits = "limits: { concurrency: 9, requests_per_minute: 40 }";
        more += &format!("  c{i}: {{ keys: [\"{key}\"], models: [\"*\"], {limits} }}\n");
    }
    let harness = Harness::open_with(&[("only", 1, 1)], &more).await;
    for _ in 0..10 {
        let request = harness
            .http
            .post(harness.url(CHAT))
            .bearer_auth("a-key-of-client-7");
        let answer = request.json(&chat()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let mut page = Value::Null;
    eventually_async("the last one has left", async || {
        page = harness.status().await;
        page["clients"][0]["limits"][1]["used"] == 0
    })
    .await;
    let clients = page["clients"].as_array().unwrap();
    assert_eq!((clients.len(), &page["clients_left_off"]), (20, &10.into()));
    let first = serde_json::json!({"client": "c7", "limits": [
        {"limit": "requests_per_minute", "model": null, "most": 40, "used": 10, "remaining": 30, "renews_in_seconds": null},
        {"limit": "concurrency", "model": null, "most": 9, "used": 0, "remaining": 9, "renews_in_seconds": null},
    ]});
    assert_eq!(clients[0], first);
    let url = format!("http://{}/status?clients=all", harness.gateway.admin);
    let page: Value = harness
        .http
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let all = page["clients"].as_array().unwrap().len();
    assert_eq!((all, &page["clients_left_off"]), (30, &0.into()));
}
