//! What one reader could take for one request and another for another: it is answered here, and passed on to nobody.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    harness::{CHAT, Gateway, Harness, INSTANCE_KEY, KEY, error_of},
    http1_client::{RawConnection, post},
    scripted_upstream::ScriptedUpstream,
};

const CLASSIC: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
const MODEL: &str = "Content-Disposition: form-data; name=\"model\"";

fn part(head: &str, value: &str) -> String {
    format!("--b\r\n{head}\r\n\r\n{value}\r\n")
}

/// Forms in which some readers find the model `secret`.
fn forms() -> Vec<(&'static str, String, &'static str)> {
    let plain = "multipart/form-data; boundary=b";
    let (allowed, secret) = (part(MODEL, "gpt-image-1"), part(MODEL, "secret"));
    let text = part("Content-Disposition: form-data; name=\"x\"", "y");
    let named = |head: &str| format!("{allowed}{}--b--\r\n", part(head, "secret"));
    let other_boundary = format!("--a\r\n{MODEL}\r\n\r\ngpt-image-1\r\n--a--\r\n{secret}--b--\r\n");
    let form = "body_not_multipart";
    vec![
        (plain, format!("{allowed}{secret}--b--\r\n"), "model_twice"),
        (
            plain,
            named("Content-Disposition: form-data; Name=\"model\""),
            form,
        ),
        (
            plain,
            named("Content-Disposition: form-data; name = \"model\""),
            form,
        ),
        (
            plain,
            named("Content-Disposition: form-data; name*=UTF-8''model"),
            form,
        ),
        (
            plain,
            named("Content-Disposition: form-data; name=\"x\"; name=\"model\""),
            form,
        ),
        (
            plain,
            named("Content-Disposition: form-data;\r\n name=\"model\""),
            form,
        ),
        (
            plain,
            named("Content-Disposition : form-data; name=\"model\""),
            form,
        ),
        (
            plain,
            named(&format!(
                "Content-Disposition: form-data; name=\"x\"\r\n{MODEL}"
            )),
            form,
        ),
        (
            plain,
            named("Content-Disposition: form-data; name=\"Model\""),
            "member_misspelled",
        ),
        (
            plain,
            format!("{allowed}--b--junk\r\n{secret}--b--\r\n"),
            form,
        ),
        (plain, format!("{allowed}--b--\r\n{secret}--b--\r\n"), form),
        (
            plain,
            format!(
                "{allowed}{}--b--\r\n",
                text.replace("y", &format!("y\n--b\n{MODEL}\n\nsecret"))
            ),
            form,
        ),
        (
            plain,
            format!(
                "{allowed}{}--b--\r\n",
                text.replace("y", &format!("y\r--b\r{MODEL}\r\rsecret"))
            ),
            form,
        ),
        (
            "multipart/form-data; boundary=a; boundary=b",
            other_boundary.clone(),
            form,
        ),
        (
            "multipart/form-data; x=\"; boundary=a;\"; boundary=b",
            other_boundary,
            form,
        ),
        (
            "multipart/mixed; boundary=b",
            format!("{allowed}--b--\r\n"),
            "unsupported_content_type",
        ),
    ]
}

#[tokio::test]
async fn a_form_that_two_readers_read_as_two_goes_to_nobody() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let mut reasons = Vec::new();
    for (content_type, body, reason) in forms() {
        let request = harness.http.post(harness.url("/openai/v1/images/edits"));
        let request = request
            .header("api-key", KEY)
            .header("content-type", content_type);
        let status = if reason.starts_with("unsupported") {
            415
        } else {
            400
        };
        let answer = request.body(body).send().await.unwrap();
        error_of(answer, status, &status.to_string()).await;
        reasons.push(reason);
    }
    let log = harness.log(reasons.len()).await;
    let told: Vec<_> = log
        .iter()
        .map(|line| line["refusal"].as_str().unwrap())
        .collect();
    assert_eq!(told, reasons);
    assert!(harness.seen("only").is_empty());
}

#[tokio::test]
async fn a_model_in_other_letters_goes_to_nobody() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    for body in [
        r#"{"model":"gpt-4o","Model":"secret","messages":[]}"#,
        r#"{"MODEL":"secret","messages":[],"model":"gpt-4o"}"#,
        r#"{"model":"gpt-4o","mode\u004c":"secret"}"#,
    ] {
        for path in [CHAT, "/v1/chat/completions", "/openai/v1/responses"] {
            let answer = harness.post(path).body(body).send().await.unwrap();
            error_of(answer, 400, "400").await;
        }
    }
    assert!(harness.seen("only").is_empty());
    harness.log(9).await;
    let page = harness.metrics().await;
    let told = "forebay_refusals_total{client=\"tests\",reason=\"member_misspelled\"} 9";
    assert!(page.contains(told), "{page}");
}

/// Passed on under that header, the same bytes would be something else to the deployment.
#[tokio::test]
async fn a_compressed_body_is_refused_in_words_that_say_so() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]});
    let body = body.to_string();
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for (path, coding) in [(CHAT, "gzip"), (CLASSIC, "zstd"), (CHAT, "identity, gzip")] {
        let lines = format!("content-encoding: {coding}\r\n");
        wire.send(post(path, &lines, &body)).await;
        let answer = wire.answer().await.unwrap();
        let error = answer.json();
        assert_eq!(
            (answer.status, answer.keeps_open()),
            (415, true),
            "{coding}"
        );
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains("Content-Encoding"), "{message}");
    }
    assert!(harness.seen("only").is_empty());
    wire.send(post(CHAT, "content-encoding: identity\r\n", &body))
        .await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
    let headers = harness.seen("only").pop().unwrap().headers;
    assert!(headers.iter().all(|(name, _)| name != "content-encoding"));
}

#[tokio::test]
async fn an_empty_object_is_still_json_when_several_members_were_added() {
    let (upstream, mut harness) = ScriptedUpstream::harness("").await;
    drop(upstream);
    let address = harness.simulator.address("well").unwrap();
    let hash = forebay::config::hash_key(KEY).unwrap().hash;
    let config = format!(
        "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\n\
         instances: {{ well: {{ endpoint: \"http://{address}/v1\", identity: key, kind: openai }} }}\n\
         models: {{ gpt-4o: {{ deployments: [{{ instance: well, deployment: d }}] }} }}\n\
         clients: {{ tests: {{ keys: [\"{hash}\"], models: [\"*\"], limits: {{ max_output_tokens: 9 }} }} }}\n"
    );
    harness.gateway = Gateway::start(&config).await;
    let _ = harness.post(CLASSIC).body("{}").send().await.unwrap();
    let seen = harness.seen("well").pop().unwrap();
    let expected = [
        r#"{"model":"d","max_completion_tokens":9}"#,
        r#"{"model":"d","max_tokens":9}"#,
    ];
    let is_one = |body: &&str| {
        let digest = Sha256::digest(body.as_bytes());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        seen.body_sha256.as_deref() == Some(&digest)
    };
    assert_eq!(
        expected.iter().filter(|body| is_one(body)).count(),
        1,
        "{seen:?}"
    );
}
