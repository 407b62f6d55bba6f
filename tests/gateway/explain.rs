//! `forebay explain`, the real command: a config, a request, and what a running gateway says of its deployments.

use std::fs;

use crate::harness::{Harness, error_of, forebay, output_of, served_by, status};

/// What the command prints on stdout and stderr, and how it ends.
fn explain(harness: &Harness, more: &[&str]) -> (String, String, Option<i32>) {
    let config = harness.gateway.folder.join("forebay.yaml");
    let mut explain = forebay();
    explain.args(["explain", "--client", "tests", "--config"]);
    let (code, out, err) = output_of(explain.arg(config).args(more));
    (out, err, code)
}

fn place(text: &str, words: &str) -> usize {
    text.find(words)
        .unwrap_or_else(|| panic!("no {words:?} in\n{text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_says_is_what_the_gateway_does() {
    let harness = Harness::open(&[("ptu", 1, 1), ("std", 2, 1)]).await;
    let body = harness.gateway.folder.join("body.json");
    fs::write(&body, r#"{"model": "gpt-4o", "messages": []}"#).unwrap();
    let request = [
        "--path",
        "/openai/v1/chat/completions",
        "--body",
        body.to_str().unwrap(),
    ];

    let (text, _, code) = explain(&harness, &request);
    assert_eq!(code, Some(0));
    assert!(
        place(&text, "1.           ptu/ptu-gpt-4o") < place(&text, "2.           std/std-gpt-4o")
    );
    assert_eq!(served_by(&harness.chat().await), "ptu");

    harness.fault("ptu", status(429, &[("retry-after", "60")]));
    assert_eq!(served_by(&harness.chat().await), "std");
    let url = format!("http://{}/status", harness.gateway.admin);
    let asked: Vec<&str> = request.into_iter().chain(["--status", &url]).collect();
    let (text, _, code) = explain(&harness, &asked);
    assert_eq!(code, Some(0));
    place(&text, "1.           std/std-gpt-4o");
    place(
        &text,
        "not now      ptu/ptu-gpt-4o: open, throttle, next retry in ",
    );

    let (text, _, _) = explain(&harness, &["--path", "/openai/deployments/none/embeddings"]);
    place(&text, "404 unknown_model");
    let none = harness
        .post("/openai/deployments/none/embeddings")
        .body("{}")
        .send()
        .await;
    error_of(none.unwrap(), 404, "DeploymentNotFound").await;
}

#[tokio::test]
async fn what_it_can_t_explain_it_says_in_one_line() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    for (more, told) in [
        (
            &["--path", "/v1/embeddings"][..],
            "pass it with --body FILE",
        ),
        (
            &["--path", "/v1/embeddings", "--body", "none.json"],
            "the body can't be read",
        ),
        (
            &["--path", "/v1/models", "--status", "none.json"],
            "none.json can't be read",
        ),
        (
            &[
                "--path",
                "/v1/models",
                "--status",
                "http://127.0.0.1:1/status",
            ],
            "can't be read",
        ),
    ] {
        let (text, error, code) = explain(&harness, more);
        assert_eq!((text.as_str(), code), ("", Some(1)), "{more:?}");
        assert!(
            error.contains(told) && error.lines().count() == 1,
            "{error}"
        );
    }
}
