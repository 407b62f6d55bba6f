//! Credentials, limits, and Azure's own words for no.

use super::*;

#[tokio::test]
async fn what_azure_refuses_is_refused_in_its_words() {
    let caller = caller().await;
    let error = async |request: reqwest::RequestBuilder| {
        let (status, body) = read(request.send().await.unwrap()).await;
        (
            status,
            body["error"]["code"].as_str().unwrap_or("-").to_owned(),
        )
    };
    let path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
    assert_eq!(
        error(caller.post(path, &hello())).await,
        (401, "401".into())
    );
    assert_eq!(
        error(caller.post(path, &hello()).header("api-key", "wrong")).await,
        (401, "401".into())
    );
    assert_eq!(
        error(caller.post(path, &hello()).bearer_auth("sim-key")).await,
        (401, "401".into())
    );
    assert_eq!(
        error(caller.chat("absent", &hello())).await,
        (404, "DeploymentNotFound".into())
    );
    assert_eq!(
        error(
            caller
                .post("/openai/deployments/gpt-4o/chat/completions", &hello())
                .header("api-key", "sim-key")
        )
        .await,
        (404, "404".into())
    );
    assert_eq!(
        error(caller.chat("gpt-4o", &json!({}))).await,
        (400, "missing_required_parameter".into())
    );
    assert_eq!(
        error(caller.chat(
            "gpt-4o",
            &json!({ "messages": [{ "role": "user", "content": "trigger_content_filter" }] })
        ))
        .await,
        (400, "content_filter".into())
    );
    assert_eq!(
        error(caller.chat("gpt-4o", &hello()).body("no json")).await,
        (400, "-".into())
    );
}

#[tokio::test]
async fn a_spent_standard_deployment_says_when_to_come_back() {
    let caller = caller().await;
    assert_eq!(caller.answered("small", &hello()).await.0, 200);
    assert_eq!(caller.answered("small", &hello()).await.0, 200);
    let response = caller.chat("small", &hello()).send().await.unwrap();
    let number = |name: &str| {
        response.headers()[name]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(response.status(), 429);
    assert!(
        (1..=60_000).contains(&number("retry-after-ms"))
            && (1..=60).contains(&number("retry-after"))
    );
    assert_eq!(number("x-ratelimit-limit-tokens"), 60);
    assert!(
        read(response).await.1["error"]["message"]
            .as_str()
            .unwrap()
            .contains("exceeded token rate limit")
    );
}

#[tokio::test]
async fn a_provisioned_deployment_tells_its_utilization_and_nothing_of_rates() {
    let caller = caller().await;
    let mut body = hello();
    body["max_tokens"] = json!(500);
    let response = caller.chat("ptu", &body).send().await.unwrap();
    assert!(
        response.headers()["azure-openai-deployment-utilization"]
            .to_str()
            .unwrap()
            .ends_with('%')
    );
    assert!(
        response
            .headers()
            .keys()
            .all(|name| !name.as_str().starts_with("x-ratelimit"))
    );
    drop(response.bytes().await);
    // Corrected to what was really used, so the next one gets in.
    assert_eq!(caller.answered("ptu", &hello()).await.0, 200);
}

#[tokio::test]
async fn tokens_open_the_door_until_they_are_revoked() {
    let caller = caller().await;
    let tokens = caller.simulator.tokens().unwrap();
    let imds = |resource: &str| {
        format!(
            "http://{tokens}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={resource}"
        )
    };
    let get = async |resource: &str| {
        read(
            caller
                .http
                .get(imds(resource))
                .header("metadata", "true")
                .send()
                .await
                .unwrap(),
        )
        .await
        .1
    };
    let token = get("https://cognitiveservices.azure.com").await;
    assert!(token["expires_in"].is_string());
    let call = async |token: &Value| {
        let path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
        caller
            .post(path, &hello())
            .bearer_auth(token["access_token"].as_str().unwrap())
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(call(&token).await, 200);
    assert_eq!(call(&get("https://management.azure.com").await).await, 401);
    caller.simulator.revoke_tokens();
    assert_eq!(call(&token).await, 401);
    assert_eq!(
        caller.http.get(imds("x")).send().await.unwrap().status(),
        400
    );
    assert_eq!(caller.simulator.stats().tokens.issued, 2);
}

#[tokio::test]
async fn entra_gives_tokens_for_a_secret_and_refuses_a_wrong_one() {
    let caller = caller().await;
    let url = format!(
        "http://{}/tenant/oauth2/v2.0/token",
        caller.simulator.tokens().unwrap()
    );
    let post = async |secret: &str| {
        let form = format!(
            "grant_type=client_credentials&client_id=c&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default&client_secret={secret}"
        );
        read(caller.http.post(&url).body(form).send().await.unwrap()).await
    };
    let (status, token) = post("right").await;
    assert!(status == 200 && token["expires_in"].is_u64() && token["access_token"].is_string());
    let (status, error) = post("wrong").await;
    assert_eq!(
        (status, &error["error"], &error["error_codes"][0]),
        (401, &json!("invalid_client"), &json!(7_000_215))
    );
}
