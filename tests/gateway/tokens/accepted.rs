//! Good tokens, whose they are, and that each is checked once.

use serde_json::{Value, json};

use super::*;
use crate::harness::{forebay, output_of};

/// Each with the name of its client.
fn good_tokens(issuer: &Issuer) -> Vec<(&'static str, String, &'static str)> {
    let (v1, v2, job) = (v1(issuer), v2(issuer), job(issuer));
    let signed = |algorithm: &str, key: &str, claims: &Value| {
        let header = json!({"typ": "at+jwt", "alg": algorithm, "kid": key});
        issuer.sign(&header, claims.to_string().as_bytes(), key)
    };
    let person = json!({"azp": "another", "scp": "models.use openid", "groups": ["g-0", "g-1"]});
    vec![
        ("v2.0", issuer.token(&v2), "app"),
        ("v1.0", issuer.token(&v1), "app"),
        (
            "a list of audiences",
            issuer.token(&with(v2.clone(), json!({"aud": ["x", AUDIENCE]}))),
            "app",
        ),
        (
            "the application id as audience",
            issuer.token(&with(v2.clone(), json!({"aud": APP}))),
            "app",
        ),
        (
            "a role",
            issuer.token(&with(
                v2.clone(),
                json!({"roles": ["Other", "Model.Invoke"]}),
            )),
            "invoker",
        ),
        (
            "another role",
            issuer.token(&with(v2.clone(), json!({"roles": ["Other"]}))),
            "app",
        ),
        (
            "a person with the application's role",
            issuer.token(&with(
                v2.clone(),
                json!({"roles": ["Model.Invoke"], "scp": "use", "sub": "p"}),
            )),
            "app",
        ),
        (
            "by its word the application's own",
            issuer.token(&with(
                v2.clone(),
                json!({"roles": ["Model.Invoke"], "idtyp": "app", "sub": "p"}),
            )),
            "invoker",
        ),
        (
            "a person in a group",
            issuer.token(&with(v2.clone(), person)),
            "person",
        ),
        (
            "ended within the leeway",
            issuer.token(&with(v2.clone(), json!({"exp": now() - 20}))),
            "app",
        ),
        (
            "times with a fraction",
            issuer.token(&with(v2.clone(), json!({"exp": now() as f64 + 60.5}))),
            "app",
        ),
        (
            "no iat, no nbf",
            issuer.token(&with(v2.clone(), json!({"iat": null, "nbf": null}))),
            "app",
        ),
        ("RS256", signed("RS256", "rsa-1", &job), "jobs"),
        ("PS256", signed("PS256", "rsa-1", &job), "jobs"),
        ("ES256", signed("ES256", "ec-256", &job), "jobs"),
        ("ES384", signed("ES384", "ec-384", &job), "jobs"),
        ("EdDSA", signed("EdDSA", "ed", &job), "jobs"),
        (
            "scp as a list",
            signed(
                "RS256",
                "rsa-1",
                &with(job.clone(), json!({"scope": null, "scp": ["models"]})),
            ),
            "jobs",
        ),
    ]
}

#[tokio::test]
async fn a_token_that_says_all_a_client_demands_is_that_clients() {
    let harness = TokenFixture::set().await.open().await;
    let issuer = harness.issuer();
    let cases = good_tokens(issuer);
    for (number, (name, token, client)) in cases.iter().enumerate() {
        let answer = harness.chat_as(token).await;
        let status = answer.status().as_u16();
        let log = harness.log(number + 1).await;
        assert_eq!(
            (status, &log[number]["client"]),
            (200, &json!(client)),
            "{name}: {}",
            log[number]
        );
    }
    for seen in harness.seen("only") {
        let sent = format!("{seen:?}");
        assert!(
            !sent.contains("eyJ"),
            "the client's token went to Azure: {sent}"
        );
    }
}

#[tokio::test]
async fn one_token_is_checked_once_and_counts_beside_the_same_value_in_the_other_header() {
    let harness = TokenFixture::set().await.open().await;
    let checks = "forebay_client_token_checks_total";
    let token = harness.issuer().token(&v2(harness.issuer()));
    for _ in 0..20 {
        assert_eq!(harness.chat_as(&token).await.status(), 200);
    }
    assert_eq!(harness.counted(checks).await, 1);
    let both = harness.http.post(harness.url(CHAT)).json(&chat());
    let both = both.bearer_auth(&token).header("api-key", &token);
    assert_eq!(both.send().await.unwrap().status(), 200);
    assert_eq!(harness.counted(checks).await, 1);
    // One more token, one more check; and one fetch of the keys for all of them.
    let another = harness.issuer().token(&v2(harness.issuer()));
    assert_eq!(harness.chat_as(&another).await.status(), 200);
    assert_eq!(harness.counted(checks).await, 2);
    let series = format!(
        "forebay_issuer_fetches_total{{issuer=\"entra/{TENANT}@{}\"}}",
        harness.issuer().url().replace("https://", "")
    );
    assert_eq!(harness.counted(&series).await, 1);
}

#[tokio::test]
async fn a_client_of_tokens_lists_its_models_and_a_key_goes_on_working() {
    let harness = TokenFixture::set().await.open().await;
    assert_eq!(harness.chat().await.status(), 200);
    let models = harness.http.get(harness.url("/openai/v1/models"));
    let token = harness.issuer().token(&job(harness.issuer()));
    let models = models.bearer_auth(&token).send().await.unwrap();
    let models: Value = models.json().await.unwrap();
    assert_eq!(models["data"][0]["id"], "gpt-4o");
}

#[test]
fn a_client_without_keys_is_checked_and_explained() {
    let folder = folder();
    certify(&folder);
    let run = |arguments: &[&str]| {
        let mut forebay = forebay();
        forebay.current_dir(env!("CARGO_MANIFEST_DIR"));
        let forebay = forebay.env("CA_FILE", folder.join("ca.pem"));
        output_of(forebay.args(arguments))
    };
    let config = "conf/client-tokens.yaml";
    let (code, out, err) = run(&["check", "--config", config]);
    // A machine may allow fewer open files than the config's connections could take.
    let is_sound = err.lines().all(|line| line.contains("limit of open files"));
    assert!(
        code == Some(0) && out.contains("no errors") && is_sound,
        "{out}{err}"
    );
    let path = "/openai/deployments/gpt-4o/chat/completions";
    let (code, out, err) = run(&[
        "explain",
        "--config",
        config,
        "--client",
        "evaluation",
        "--path",
        path,
    ]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        out.starts_with("client       evaluation: may use gpt-4o") && out.contains("sweden/gpt-4o"),
        "{out}"
    );
    fs::remove_dir_all(folder).unwrap();
}
