//! Every byte of a body: but for the name of a model it arrives as it was sent.

use sha2::{Digest, Sha256};

use super::{header, last};
use crate::harness::{CHAT, Harness, KEY};

pub(super) fn sha256(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_v1_body_arrives_as_it_was_sent_but_for_the_models_name() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let messages =
        r#""messages":[{"role":"user","content":"a\u00e9\/\ud83d\ude00 é \"model\":\"gpt-4o\""}]"#;
    let bodies = [
        format!("{{\"model\":\"gpt-4o\",{messages}}}"),
        format!("{{{messages},\"model\":\"gpt-4o\"}}"),
        format!("\r\n\t {{ {messages}\n,\t\"model\"  :\r\n \"gpt-4o\" \n}} \r\n\r\n"),
        format!(
            "{{\"zeta\":1.0e+2,\"alpha\":123456789012345678901234567890,\"n\":1.10000000000000000001,{messages},\"model\":\"gpt-4o\",\"x\":{{\"model\":\"gpt-4o\"}}}}"
        ),
        format!("{{\"seed\":1,\"seed\":2,{messages},\"mod\\u0065l\":\"gpt-4o\"}}"),
        format!("{{\"model\":\"\\u0067pt-4o\",{messages}}}"),
        format!(
            "{{{messages},\"model\":\"gpt-4o\",\"pad\":\"{}\"}}",
            "é".repeat(200_000)
        ),
    ];
    for path in [CHAT, "/v1/chat/completions"] {
        for body in &bodies {
            let at = if body.contains("\"\\u0067pt-4o\"") {
                body.find("\"\\u0067pt-4o\"").unwrap()
            } else {
                model_at(body)
            };
            let len = body[at + 1..].find('"').unwrap() + 2;
            let expected = format!("{}\"only-gpt-4o\"{}", &body[..at], &body[at + len..]);
            let _ = harness.post(path).body(body.clone()).send().await.unwrap();
            let seen = last(&harness, "only");
            assert_eq!(seen.path, CHAT);
            assert_eq!(
                seen.body_sha256.as_deref(),
                Some(sha256(expected.as_bytes()).as_str()),
                "{expected:.300}"
            );
            assert_eq!(header(&seen, "content-length"), expected.len().to_string());
        }
    }
}

/// Where the value of the outermost `model` starts: in these bodies the first one that no escape stands before.
fn model_at(body: &str) -> usize {
    let key = ["\"model\"", "\"mod\\u0065l\""]
        .iter()
        .filter_map(|key| body.find(key).map(|at| at + key.len()))
        .min()
        .unwrap();
    key + body[key..].find('"').unwrap()
}

#[tokio::test]
async fn a_classic_body_arrives_untouched_whatever_it_says_of_the_model() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21&include=a%20b";
    for body in [
        r#"{"model": null, "messages":[{"role":"user","content":"hi"}]}"#,
        r#"{ "messages" : [{"role":"user","content":"hi"}] }"#,
        r#"{"model":"another","messages":[{"role":"user","content":"hi"}]}"#,
        r#"{"model":7,"model":"b","messages":[{"role":"user","content":"hi"}]}"#,
        "not even JSON",
        "",
    ] {
        let _ = harness.post(path).body(body).send().await.unwrap();
        let seen = last(&harness, "only");
        assert_eq!(seen.path, path.replace("/gpt-4o/", "/only-gpt-4o/"));
        assert_eq!(
            (seen.body_length, seen.body_sha256),
            (body.len(), Some(sha256(body.as_bytes()))),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_multipart_form_names_its_model_on_both_paths() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let form = "--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\u{1}PNG\r\n\r\n--b\r\n\
        Content-Disposition: form-data; name=\"model\"\r\n\r\ngpt-image-1\r\n--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\ngpt-image-1\r\n--b--\r\n";
    let renamed = form.replacen("gpt-image-1", "only-gpt-image-1", 1);
    for (path, out, body) in [
        (
            "/openai/v1/images/edits",
            "/openai/v1/images/edits",
            renamed.as_str(),
        ),
        (
            "/v1/images/edits",
            "/openai/v1/images/edits",
            renamed.as_str(),
        ),
        // The official Node client's way: the path goes out as the one that names a deployment.
        (
            "/openai/images/edits?api-version=2025-04-01-preview",
            "/openai/deployments/only-gpt-image-1/images/edits?api-version=2025-04-01-preview",
            form,
        ),
    ] {
        let request = harness.http.post(harness.url(path)).header("api-key", KEY);
        let answer = request
            .header("content-type", "multipart/form-data; boundary=b")
            .body(form)
            .send()
            .await
            .unwrap();
        let seen = last(&harness, "only");
        assert_eq!((answer.status().as_u16(), seen.path.as_str()), (200, out));
        assert_eq!(seen.body_sha256, Some(sha256(body.as_bytes())), "{path}");
        assert_eq!(header(&seen, "content-length"), body.len().to_string());
        assert_eq!(
            header(&seen, "content-type"),
            "multipart/form-data; boundary=b"
        );
    }
}
