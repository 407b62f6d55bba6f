//! The path that a deployment is asked on: of its own kind, with its own name, whatever that holds.

use forebay::simulator::{self, Config};

use super::{bodies::sha256, header, last};
use crate::{
    harness::{CHAT, Gateway, Harness, INSTANCE_KEY, KEY, chat, client, error_of, served_by},
    http1_client::{RawConnection, post, request},
};

/// A gateway of one model with one deployment, of this instance's kind and this name.
async fn harness_of(instance: &str, endpoint_path: &str, deployment: &str) -> Harness {
    let simulation = format!(
        "control: 127.0.0.1:0\nrecord: full\ninstances:\n  only: {{ address: 127.0.0.1:0, keys: [{INSTANCE_KEY}], {instance} deployments: {{ d: {{ model: gpt-4o }} }} }}\n"
    );
    let simulator = simulator::start(Config::parse(&simulation).unwrap())
        .await
        .unwrap();
    let (address, key) = (
        simulator.address("only").unwrap(),
        forebay::config::hash_key(KEY).unwrap().hash,
    );
    let config = format!(
        "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\n\
         instances: {{ only: {{ endpoint: \"http://{address}{endpoint_path}\", identity: key, {instance} }} }}\n\
         models: {{ gpt-4o: {{ deployments: [{{ instance: only, deployment: \"{deployment}\" }}] }} }}\n\
         clients: {{ tests: {{ keys: [\"{key}\"], models: [\"*\"] }} }}\n"
    );
    Harness {
        simulator,
        gateway: Gateway::start(&config).await,
        http: client(),
    }
}

#[tokio::test]
async fn a_plain_openai_server_is_asked_on_its_own_paths_with_the_model_in_the_body() {
    let harness = harness_of("kind: openai,", "/v1", "d").await;
    let messages = r#""messages":[{"role":"user","content":"hi"}]"#;
    for (path, body, expected) in [
        (
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21&include=1",
            format!("{{{messages}}}"),
            format!("{{\"model\":\"d\",{messages}}}"),
        ),
        (
            "/openai/deployments/gpt-4o/chat/completions?include=1&api-version=1",
            format!("{{\"model\": null ,{messages}}}"),
            format!("{{\"model\": \"d\" ,{messages}}}"),
        ),
        (
            "/openai/deployments/gpt-4o/chat/completions?include=1",
            format!("{{\"model\":\"other\",{messages}}}"),
            format!("{{\"model\":\"d\",{messages}}}"),
        ),
        (
            "/openai/v1/chat/completions?include=1",
            format!("{{{messages},\"model\":\"gpt-4o\"}}"),
            format!("{{{messages},\"model\":\"d\"}}"),
        ),
        (
            "/v1/chat/completions?include=1",
            format!("{{{messages},\"model\":\"gpt-4o\"}}"),
            format!("{{{messages},\"model\":\"d\"}}"),
        ),
    ] {
        let answer = harness.post(path).body(body).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), served_by(&answer)),
            (200, "only".to_owned()),
            "{path}"
        );
        let seen = last(&harness, "only");
        assert_eq!(seen.path, "/v1/chat/completions?include=1");
        assert_eq!(
            seen.body_sha256,
            Some(sha256(expected.as_bytes())),
            "{path}"
        );
        assert_eq!(
            header(&seen, "authorization"),
            format!("Bearer {INSTANCE_KEY}")
        );
    }
}

/// A server that goes by the body could read another model in it than the path, which is what was allowed.
#[tokio::test]
async fn no_second_model_reaches_a_server_that_goes_by_the_body() {
    let harness = harness_of("kind: openai,", "/v1", "d").await;
    for body in [
        r#"{"model":"gpt-4o","messages":[],"model":"other"}"#,
        r#"{"model":42,"messages":[]}"#,
        r#"{"model":"other","messages":[]"#,
    ] {
        let path = "/openai/deployments/gpt-4o/chat/completions?api-version=1";
        let answer = harness.post(path).body(body).send().await.unwrap();
        error_of(answer, 400, "400").await;
    }
    assert_eq!(harness.asked("only"), 0);
}

#[tokio::test]
async fn a_deployments_name_is_one_segment_of_the_path_whatever_it_holds() {
    for (name, segment) in [
        ("a/b?c#d%2e", "a%2Fb%3Fc%23d%252e"),
        ("v1.0_x~y-z", "v1.0_x~y-z"),
    ] {
        let harness = harness_of("", "", name).await;
        let path = "/openai/deployments/gpt-4o/chat/completions?api-version=1";
        let _ = harness.post(path).json(&chat()).send().await.unwrap();
        assert_eq!(last(&harness, "only").path, path.replace("gpt-4o", segment));
        // The simulator has no such deployment, so that one is set aside by now.
        let harness = harness_of("", "", name).await;
        let _ = harness.chat().await;
        assert_eq!(last(&harness, "only").path, CHAT);
    }
}

#[tokio::test]
async fn a_path_with_a_host_in_it_goes_out_as_any_other() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(post(
        &format!("http://gateway{CHAT}?include=1"),
        "",
        chat().to_string(),
    ))
    .await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
    let seen = last(&harness, "only");
    assert_eq!(seen.path, format!("{CHAT}?include=1"));
    assert_eq!(
        header(&seen, "host"),
        harness.simulator.address("only").unwrap().to_string()
    );
    // Another host than `Host` says, no path at all, a tunnel.
    let evil = ["http://evil.example", "http://127.0.0.1:1"].map(|host| format!("{host}{CHAT}"));
    for odd in evil
        .iter()
        .map(String::as_str)
        .chain(["*", "evil.example:443"])
    {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(request(
            "POST",
            odd,
            &format!("api-key: {KEY}\r\n"),
            chat().to_string(),
        ))
        .await;
        let answer = wire.answer().await;
        assert!(
            answer.is_none_or(|answer| (400..500).contains(&answer.status)),
            "{odd}"
        );
    }
    assert_eq!(harness.asked("only"), 1);
}
