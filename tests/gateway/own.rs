//! What the gateway says by itself: models, health, and who served.

use reqwest::{Method, Response};
use serde_json::Value;

use crate::{
    house::{CHAT, House, KEY, chat, comes_true, error_of, eventually, status, streamed, throttle},
    raw::{Wire, request},
};

const SECOND_KEY: &str = "the-key-of-another-client";

/// A house with a second client that may use gpt-4o alone.
async fn house_of_two() -> House {
    let hash = forebay::config::hash_key(SECOND_KEY).unwrap().hash;
    let second = format!("  second: {{ keys: [\"{hash}\"], models: [gpt-4o] }}");
    House::open_with(&[("only", 1, 1)], &second).await
}

async fn get(house: &House, key: &str, path: &str) -> Response {
    let request = house
        .http
        .get(house.url(path))
        .header("authorization", format!("Bearer {key}"));
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_client_sees_the_models_it_may_use_and_no_others() {
    let house = house_of_two().await;
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
            let list: Value = get(&house, key, path).await.json().await.unwrap();
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
        let model: Value = get(&house, SECOND_KEY, path).await.json().await.unwrap();
        assert_eq!(
            (&model["id"], &model["object"]),
            (&"gpt-4o".into(), &"model".into())
        );
    }
    assert!(house.seen("only").is_empty());
}

#[tokio::test]
async fn a_model_that_a_client_may_not_use_looks_like_one_that_is_not_there() {
    let house = house_of_two().await;
    let embed = |key: &'static str, path: &str, model: &str| {
        let request = house.http.post(house.url(path)).header("api-key", key);
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
    let theirs = get(&house, SECOND_KEY, "/v1/models/gpt-image-1").await;
    error_of(theirs, 404, "DeploymentNotFound").await;
    assert_eq!(house.asked("only"), 3);
}

#[tokio::test]
async fn health_needs_no_credential_a_models_its_clients_and_neither_is_cached() {
    let house = House::open(&[("only", 1, 1)]).await;
    crate::house::comes_true("it has a token", async || {
        let health = house
            .http
            .get(house.url("/health/models/gpt-4o"))
            .header("api-key", KEY)
            .send();
        health.await.unwrap().status().is_success()
    })
    .await;
    let mut wire = Wire::open(house.gateway.address).await;
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
        house.seen("only").is_empty(),
        "looking at health spends no capacity"
    );
}

#[tokio::test]
async fn a_models_health_is_503_while_none_of_its_deployments_can_serve() {
    let house = House::open(&[("a", 1, 1), ("b", 2, 1)]).await;
    let health = |method: Method, path: &'static str| {
        let request = house.http.request(method, house.url(path));
        request.header("api-key", KEY).send()
    };
    house.fault("a", status(429, &[("retry-after-ms", "60000")]));
    assert_eq!(house.chat().await.status(), 200);
    assert_eq!(
        health(Method::GET, "/health/models/gpt-4o")
            .await
            .unwrap()
            .status(),
        200
    );
    house.fault("b", throttle(0.5));
    assert_eq!(house.chat().await.status(), 429);
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
    comes_true("its health is back", async || {
        let answer = health(Method::GET, "/health/models/gpt-4o").await;
        answer.unwrap().status() == 200
    })
    .await;
    assert_eq!(house.chat().await.status(), 200);
}

#[tokio::test]
async fn who_served_is_told_only_where_the_operator_allows_it() {
    for (more, told) in [
        ("", None),
        ("reveal: false", None),
        ("reveal: true", Some(("b/b-gpt-4o", "2"))),
    ] {
        let house = House::open_with(&[("a", 1, 1), ("b", 2, 1)], more).await;
        house.fault("a", status(500, &[]));
        for body in [chat(), streamed()] {
            let answer = house.post(CHAT).json(&body).send().await.unwrap();
            let header = |name: &str| {
                answer
                    .headers()
                    .get(name)
                    .map(|value| value.to_str().unwrap())
            };
            let said = header("x-forebay-deployment").zip(header("x-forebay-attempts"));
            assert_eq!(said, told, "{more}");
        }
        let refused = house.post("/nothing").send().await.unwrap();
        assert!(!refused.headers().contains_key("x-forebay-deployment"));
    }
}

#[tokio::test]
async fn the_admin_pages_are_on_no_client_listener_and_clients_on_no_admin_page() {
    let house = House::open(&[("only", 1, 1)]).await;
    comes_true("it is ready", async || {
        let ready = format!("http://{}/health/ready", house.gateway.admin);
        house.http.get(ready).send().await.unwrap().status() == 200
    })
    .await;
    for path in ["/", "/metrics", "/status", "/health/live", "/health/ready"] {
        assert_eq!(get(&house, KEY, path).await.status(), 404, "{path}");
        let admin = format!("http://{}{path}", house.gateway.admin);
        assert_eq!(
            house.http.get(admin).send().await.unwrap().status(),
            200,
            "{path}"
        );
    }
    let admin = format!("http://{}{CHAT}", house.gateway.admin);
    let answer = house
        .http
        .post(admin)
        .header("api-key", KEY)
        .json(&chat())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 405);
    let asked = || house.asked("only");
    eventually("nothing was asked", || asked() == 0).await;
}
