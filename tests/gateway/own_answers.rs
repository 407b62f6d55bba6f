//! What the gateway says by itself: models, health, and who served.

use reqwest::{Method, Response};
use serde_json::Value;

use crate::{
    harness::{
        CHAT, Harness, KEY, chat, error_of, eventually, eventually_async, status, streamed,
        throttle,
    },
    http1_client::{RawConnection, request},
};

const SECOND_KEY: &str = "the-key-of-another-client";

/// A harness with a second client that may use gpt-4o alone.
async fn harness_of_two() -> Harness {
    let hash = forebay::config::hash_key(SECOND_KEY).unwrap().hash;
    let second = format!("  second: {{ keys: [\"{hash}\"], models: [gpt-4o] }}");
    Harness::open_with(&[("only", 1, 1)], &second).await
}

async fn get(harness: &Harness, key: &str, path: &str) -> Response {
    let request = harness
        .http
        .get(harness.url(path))
        .header("authorization", format!("Bearer {key}"));
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_client_sees_the_models_it_may_use_and_no_others() {
    let harness = harness_of_two().await;
    let lists = [
        "/openai/v1/models",
        "/openai/models?api-version=2024-10-21",
        "/v1/models",
    ];
    for (key, expected) in [
        (
            KEY,
            &["gpt-4o", "gpt-image-1", "text-embedding-3-small"][..],
        ),
        (SECOND_KEY, &["gpt-4o"]),
    ] {
        for path in lists {
            let list: Value = get(&harness, key, path).await.json().await.unwrap();
            let models = list["data"].as_array().unwrap();
            let ids: Vec<_> = models
                .iter()
                .map(|model| model["id"].as_str().unwrap())
                .collect();
            assert_eq!(
                (&list["object"], ids.as_slice()),
                (&"list".into(), expected),
                "{path}"
            );
            assert!(models.iter().all(|model| model["object"] == "model"
                && model["created"].as_u64() > Some(1_700_000_000)));
        }
    }
    for path in [
        "/openai/v1/models/gpt-4o",
        "/openai/models/gpt-4o",
        "/v1/models/gpt-4o",
        "/v1/models/gpt%2D4o",
    ] {
        let model: Value = get(&harness, SECOND_KEY, path).await.json().await.unwrap();
        assert_eq!(
            (&model["id"], &model["object"]),
            (&"gpt-4o".into(), &"model".into())
        );
    }
    assert!(harness.seen("only").is_empty());
}

#[tokio::test]
async fn a_model_that_a_client_may_not_use_looks_like_one_that_is_not_there() {
    let harness = harness_of_two().await;
    let embed = |key: &'static str, path: &str, model: &str| {
        let request = harness.http.post(harness.url(path)).header("api-key", key);
        request
            .json(&serde_json::json!({"model": model, "input": "x"}))
            .send()
    };
    let path = "/openai/deployments/text-embedding-3-small/embeddings?api-version=1";
    for path in [path, "/openai/v1/embeddings", "/v1/embeddings"] {
        assert_eq!(
            embed(KEY, path, "text-embedding-3-small")
                .await
                .unwrap()
                .status(),
            200
        );
        let theirs = embed(SECOND_KEY, path, "text-embedding-3-small")
            .await
            .unwrap();
        let theirs = error_of(theirs, 404, "DeploymentNotFound").await;
        let nobodys = embed(SECOND_KEY, &path.replace("text", "no"), "no")
            .await
            .unwrap();
        assert_eq!(error_of(nobodys, 404, "DeploymentNotFound").await, theirs);
    }
    let theirs = get(&harness, SECOND_KEY, "/v1/models/gpt-image-1").await;
    error_of(theirs, 404, "DeploymentNotFound").await;
    assert_eq!(harness.asked("only"), 3);
}

#[tokio::test]
async fn health_needs_no_credential_a_models_its_clients_and_neither_is_cached() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    crate::harness::eventually_async("it has a token", async || {
        let health = harness
            .http
            .get(harness.url("/health/models/gpt-4o"))
            .header("api-key", KEY)
            .send();
        health.await.unwrap().status().is_success()
    })
    .await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for path in ["/health", "/health/models/gpt-4o"] {
        for method in ["GET", "HEAD"] {
            let key = format!("api-key: {KEY}\r\n");
            let lines = if path == "/health" { "" } else { &key };
            wire.send(request(method, path, lines, "")).await;
            let answer = wire.answer_to(method).await.unwrap();
            assert_eq!(
                (answer.status, answer.header("cache-control")),
                (200, Some("no-store")),
                "{method} {path}"
            );
            assert_eq!(answer.body.is_empty(), method == "HEAD");
            assert!(
                answer
                    .header("content-length")
                    .is_some_and(|length| length != "0")
            );
        }
    }
    assert!(
        harness.seen("only").is_empty(),
        "looking at health spends no capacity"
    );
}

#[tokio::test]
async fn a_models_health_is_503_while_none_of_its_deployments_can_serve() {
    let harness = Harness::open(&[("a", 1, 1), ("b", 2, 1)]).await;
    let health = |method: Method, path: &'static str| {
        let request = harness.http.request(method, harness.url(path));
        request.header("api-key", KEY).send()
    };
    harness.fault("a", status(429, &[("retry-after-ms", "60000")]));
    assert_eq!(harness.chat().await.status(), 200);
    assert_eq!(
        health(Method::GET, "/health/models/gpt-4o")
            .await
            .unwrap()
            .status(),
        200
    );
    harness.fault("b", throttle(0.5));
    assert_eq!(harness.chat().await.status(), 429);
    for method in [Method::GET, Method::HEAD] {
        let answer = health(method, "/health/models/gpt-4o").await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["cache-control"]),
            (503, &"no-store".parse().unwrap())
        );
        assert!(!answer.text().await.unwrap().contains("127.0.0.1"));
    }
    // The other model's deployments on the same instances are not concerned, nor is the gateway.
    for path in ["/health", "/health/models/text-embedding-3-small"] {
        assert_eq!(
            health(Method::GET, path).await.unwrap().status(),
            200,
            "{path}"
        );
    }
    eventually_async("its health is back", async || {
        let answer = health(Method::GET, "/health/models/gpt-4o").await;
        answer.unwrap().status() == 200
    })
    .await;
    assert_eq!(harness.chat().await.status(), 200);
}

#[tokio::test]
async fn who_served_is_told_only_where_the_operator_allows_it() {
    for (more, told) in [
        ("", None),
        ("reveal: false", None),
        ("reveal: true", Some(("b/b-gpt-4o", "2"))),
    ] {
        let harness = Harness::open_with(&[("a", 1, 1), ("b", 2, 1)], more).await;
        harness.fault("a", status(500, &[]));
        for body in [chat(), streamed()] {
            let answer = harness.post(CHAT).json(&body).send().await.unwrap();
            let header = |name: &str| {
                answer
                    .headers()
                    .get(name)
                    .map(|value| value.to_str().unwrap())
            };
            let said = header("x-forebay-deployment").zip(header("x-forebay-attempts"));
            assert_eq!(said, told, "{more}");
        }
        let refused = harness.post("/nothing").send().await.unwrap();
        assert!(!refused.headers().contains_key("x-forebay-deployment"));
    }
}

#[tokio::test]
async fn the_admin_pages_are_on_no_client_listener_and_clients_on_no_admin_page() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    eventually_async("it is ready", async || {
        let ready = format!("http://{}/health/ready", harness.gateway.admin);
        harness.http.get(ready).send().await.unwrap().status() == 200
    })
    .await;
    for path in ["/", "/metrics", "/status", "/health/live", "/health/ready"] {
        assert_eq!(get(&harness, KEY, path).await.status(), 404, "{path}");
        let admin = format!("http://{}{path}", harness.gateway.admin);
        assert_eq!(
            harness.http.get(admin).send().await.unwrap().status(),
            200,
            "{path}"
        );
    }
    let admin = format!("http://{}{CHAT}", harness.gateway.admin);
    let answer = harness
        .http
        .post(admin)
        .header("api-key", KEY)
        .json(&chat())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 405);
    let asked = || harness.asked("only");
    eventually("nothing was asked", || asked() == 0).await;
}
