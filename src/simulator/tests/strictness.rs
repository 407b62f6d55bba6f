//! Where Azure is unkind: what a caller may not count on.

use super::*;

const COGNITIVE: &str = "https://cognitiveservices.azure.com";
const FOUNDRY: &str = "https://ai.azure.com";
const CHAT: &str = "/openai/deployments/d/chat/completions?api-version=2024-10-21";

/// Instances that differ in whom they let in; `open` lets in everybody.
const RESOURCES: &str = r#"
tokens:
  address: "127.0.0.1:0"
  user_assigned:
    - { client_id: one, object_id: one-object, resource_id: /subscriptions/S/one }
    - two
instances:
  open: { keys: [sim-key], deployments: &all { d: { model: gpt-4o } } }
  tenant: { deployments: *all, tenant_id: contoso }
  roles: { deployments: *all, kind: foundry, roles: { system: user, one: openai_user, two: reader } }
  foundry: { deployments: *all, audiences: [ai.azure.com] }
  regional: { keys: [sim-key], deployments: *all, custom_subdomain: false }
  versions: { keys: [sim-key], deployments: *all, api_versions: ["2031-01-01"] }
  strict: { keys: [sim-key], deployments: *all, custom_headers: 2 }
"#;

async fn resources() -> Caller {
    started(RESOURCES).await
}

impl Caller {
    /// A machine's own token, by what is asked for beside the resource.
    async fn imds(&self, resource: &str, who: &str) -> (u16, Value) {
        let at = self.simulator.tokens().unwrap();
        let url = format!(
            "http://{at}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={resource}{who}"
        );
        read(
            self.http
                .get(url)
                .header("metadata", "true")
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    async fn token(&self, resource: &str, who: &str) -> String {
        let (status, answer) = self.imds(resource, who).await;
        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// An application's, of this tenant.
    async fn entra(&self, tenant: &str) -> String {
        let at = self.simulator.tokens().unwrap();
        let ask = self
            .http
            .post(format!("http://{at}/{tenant}/oauth2/v2.0/token"));
        let form = format!(
            "grant_type=client_credentials&client_id=app&client_secret=s&scope={COGNITIVE}/.default"
        );
        let (status, answer) = read(ask.body(form).send().await.unwrap()).await;
        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn show(&self, instance: &str, path: &str, token: &str) -> (u16, Value) {
        let mut body = hello();
        body["model"] = "d".into();
        let ask = self.post_to(instance, path, &body).bearer_auth(token);
        read(ask.send().await.unwrap()).await
    }

    async fn refused(&self, instance: &str, path: &str, token: &str) -> (u16, String) {
        let (status, answer) = self.show(instance, path, token).await;
        let code = answer["error"]["code"].as_str().unwrap_or_default();
        (status, code.to_owned())
    }
}

#[tokio::test]
async fn a_resource_takes_tokens_of_its_own_tenant_only() {
    let caller = resources().await;
    let (own, other) = (
        caller.entra("contoso").await,
        caller.entra("fabrikam").await,
    );
    for token in [&own, &other] {
        assert_eq!(caller.show("open", CHAT, token).await.0, 200);
    }
    assert_eq!(caller.show("tenant", CHAT, &own).await.0, 200);
    let (status, answer) = caller.show("tenant", CHAT, &other).await;
    let error = &answer["error"];
    assert_eq!(status, 400, "{answer}");
    assert_eq!(
        error["code"],
        "Tenant provided in token does not match resource token"
    );
    assert!(error["message"].as_str().unwrap().contains("fabrikam"));
}

#[tokio::test]
async fn a_principal_needs_a_role_for_what_it_does() {
    let caller = resources().await;
    let inference = "/models/chat/completions?api-version=2024-05-01-preview";
    let denied = (401, "PermissionDenied".to_owned());
    for (who, classic, foundrys) in [
        ("", 200, 200),
        ("&client_id=one", 200, 401),
        ("&client_id=two", 401, 401),
    ] {
        let token = caller.token(COGNITIVE, who).await;
        for (path, status) in [(CHAT, classic), (inference, foundrys)] {
            let answered = caller.refused("roles", path, &token).await;
            match status {
                200 => assert_eq!(answered.0, 200, "{who} {path}"),
                _ => assert_eq!(answered, denied, "{who} {path}"),
            }
        }
    }
    let nobody = caller.entra("contoso").await;
    assert_eq!(caller.refused("roles", CHAT, &nobody).await, denied);
}

#[tokio::test]
async fn both_audiences_are_taken_unless_a_resource_says_otherwise() {
    let caller = resources().await;
    for (instance, audience, status) in [
        ("open", COGNITIVE, 200),
        ("open", FOUNDRY, 200),
        ("open", "https://management.azure.com", 401),
        ("foundry", COGNITIVE, 401),
        ("foundry", FOUNDRY, 200),
    ] {
        let token = caller.token(audience, "").await;
        let (answered, answer) = caller.show(instance, CHAT, &token).await;
        assert_eq!(answered, status, "{instance} {audience}: {answer}");
    }
}

#[tokio::test]
async fn a_resource_without_a_name_of_its_own_takes_no_tokens() {
    let caller = resources().await;
    let token = caller.token(COGNITIVE, "").await;
    let (status, answer) = caller.show("regional", CHAT, &token).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (400, &json!("BadRequest"))
    );
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("custom subdomain"), "{message}");
    let by_key = caller
        .post_to("regional", CHAT, &hello())
        .header("api-key", "sim-key")
        .send()
        .await
        .unwrap();
    assert_eq!(by_key.status(), 200);
}

#[tokio::test]
async fn a_version_that_azure_does_not_have_is_not_found() {
    let caller = resources().await;
    let ask = async |instance: &str, path: &str| {
        let mut body = hello();
        body["model"] = "d".into();
        let ask = caller.post_to(instance, path, &body);
        let (status, answer) = read(ask.header("api-key", "sim-key").send().await.unwrap()).await;
        (status, answer["error"]["code"].as_str().map(str::to_owned))
    };
    let dated =
        |version: &str| format!("/openai/deployments/d/chat/completions?api-version={version}");
    assert_eq!(ask("open", &dated("2024-10-21")).await.0, 200);
    let not_found = (404, Some("404".to_owned()));
    for version in ["2024-10-22", "2031-01-01", "v1", "preview"] {
        assert_eq!(ask("open", &dated(version)).await, not_found, "{version}");
    }
    assert_eq!(ask("versions", &dated("2031-01-01")).await.0, 200);
    let v1 = "/openai/v1/chat/completions";
    for (query, status) in [
        ("", 200),
        ("?api-version=preview", 200),
        ("?api-version=2024-10-21", 400),
    ] {
        assert_eq!(
            ask("open", &format!("{v1}{query}")).await.0,
            status,
            "{query}"
        );
    }
}

#[tokio::test]
async fn ten_custom_headers_are_taken_and_one_more_is_not() {
    let caller = resources().await;
    let ask = async |instance: &str, custom: usize| {
        let mut ask = caller.post_to(instance, CHAT, &hello());
        ask = ask
            .header("api-key", "sim-key")
            .header("accept-language", "*");
        for number in 0..custom {
            ask = ask.header(format!("x-custom-{number}"), "1");
        }
        read(ask.send().await.unwrap()).await
    };
    assert_eq!(ask("open", 10).await.0, 200);
    let (status, answer) = ask("open", 11).await;
    assert_eq!((status, &answer["error"]["code"]), (431, &json!("431")));
    assert_eq!(ask("strict", 2).await.0, 200);
    assert_eq!(ask("strict", 3).await.0, 431);
}

#[tokio::test]
async fn a_machine_gets_the_same_token_again_and_each_identity_its_own() {
    let caller = resources().await;
    let first = caller.token(COGNITIVE, "").await;
    assert_eq!(caller.token(COGNITIVE, "").await, first);
    assert_ne!(caller.token(FOUNDRY, "").await, first);
    let one = caller.token(COGNITIVE, "&client_id=one").await;
    for who in [
        "&object_id=one-object",
        "&msi_res_id=/subscriptions/S/ONE",
        "&mi_res_id=/subscriptions/S/one",
    ] {
        assert_eq!(caller.token(COGNITIVE, who).await, one, "{who}");
    }
    for who in [
        "&client_id=three",
        "&object_id=one",
        "&msi_res_id=one",
        "&client_id=one&object_id=one-object",
    ] {
        assert_eq!(caller.imds(COGNITIVE, who).await.0, 400, "{who}");
    }
    caller.simulator.revoke_tokens_but_keep_them();
    assert_eq!(
        caller.token(COGNITIVE, "").await,
        first,
        "the endpoint doesn't know"
    );
    assert_eq!(caller.show("open", CHAT, &first).await.0, 401);
    caller.simulator.revoke_tokens();
    let fresh = caller.token(COGNITIVE, "").await;
    assert_eq!(caller.show("open", CHAT, &fresh).await.0, 200);
}

#[tokio::test]
async fn refused_requests_count_as_requests_too() {
    let yaml = r#"
instances:
  east:
    keys: [sim-key]
    deployments:
      d: { model: gpt-4o, capacity: { standard: { tokens_per_minute: 100000, requests_per_minute: 12, request_windows: ten_seconds } } }
"#;
    let caller = started(yaml).await;
    let mut filtered = hello();
    filtered["messages"][0]["content"] = "trigger_content_filter".into();
    for body in [&filtered, &json!({"messages": 7})] {
        assert_eq!(caller.answered("d", body).await.0, 400);
    }
    assert_eq!(caller.answered("d", &hello()).await.0, 429);
}

#[tokio::test]
async fn when_a_limit_resets_is_not_always_told() {
    let caller = caller().await;
    let mut told = 0;
    for _ in 0..40 {
        let response = caller.chat("roomy", &hello()).send().await.unwrap();
        let headers = response.headers();
        assert!(headers.contains_key("x-ratelimit-remaining-tokens"));
        let reset = ["x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"];
        let there = reset.map(|name| headers.contains_key(name));
        assert_eq!(there[0], there[1]);
        told += usize::from(there[0]);
    }
    assert!((5..=35).contains(&told), "{told}");
}
