//! What those learn and can do who prove nothing.

use reqwest::Response;

use crate::harness::{Harness, KEY, error_of, eventually_async};

async fn model_health(harness: &Harness, model: &str, key: Option<&str>) -> Response {
    let url = harness.url(&format!("/health/models/{model}"));
    let request = harness.http.get(url);
    let request = key
        .into_iter()
        .fold(request, |it, key| it.header("api-key", key));
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_stranger_does_not_learn_which_models_there_are() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    eventually_async("its client hears how it is", async || {
        model_health(&harness, "gpt-4o", Some(KEY)).await.status() == 200
    })
    .await;
    let unknown = model_health(&harness, "none", Some(KEY)).await;
    error_of(unknown, 404, "DeploymentNotFound").await;
    for key in [None, Some("another")] {
        let known = model_health(&harness, "gpt-4o", key).await;
        let known = error_of(known, 401, "401").await;
        let unknown = model_health(&harness, "none", key).await;
        assert_eq!(error_of(unknown, 401, "401").await, known);
    }
}

#[tokio::test]
async fn where_the_operator_says_so_probes_may_ask_for_a_model() {
    let harness = Harness::open_with(&[("only", 1, 1)], "health: { models: anyone }\n").await;
    eventually_async("anyone hears how it is", async || {
        model_health(&harness, "gpt-4o", None).await.status() == 200
    })
    .await;
    assert_eq!(model_health(&harness, "none", None).await.status(), 404);
}
