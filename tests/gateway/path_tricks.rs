//! Tricks in paths, queries and names: what goes out is the operation's own path on the deployment's own name, or
//! nothing at all.

use forebay::simulator::{self, Config};

use crate::{
    harness::{CHAT, Gateway, Harness, INSTANCE_KEY, KEY, chat, client},
    http1_client::{RawConnection, good_chat, post},
};

/// What the body has to be for the path to be all that is wrong.
fn body() -> String {
    chat().to_string()
}

const CLASSIC: &str = "/openai/deployments/gpt-4o/chat/completions";

#[rustfmt::skip] // One row, one trick: target, status, reason.
const TRICKS: &[(&str, u16, &str)] = &[
    ("/openai/v1/../v1/chat/completions", 404, "unknown_path"),
    ("/openai/v1/./chat/completions", 404, "unknown_path"),
    ("/openai/v1/chat/completions/..", 404, "unknown_path"),
    ("/openai/v1/chat/completions/.", 404, "unknown_path"),
    ("/..%2fopenai/v1/chat/completions", 404, "unknown_path"),
    ("/%2e%2e/openai/v1/chat/completions", 404, "unknown_path"),
    ("/openai/v1/%2E%2E/v1/chat/completions", 404, "unknown_path"),
    ("/openai/v1/chat%2fcompletions", 404, "unknown_path"),
    ("/openai/v1%2Fchat/completions", 404, "unknown_path"),
    ("/openai%2fv1%2fchat%2fcompletions", 404, "unknown_path"),
    ("/openai/v1/chat%5ccompletions", 404, "unknown_path"),
    ("/openai/v1/chat%252fcompletions", 404, "unknown_path"),
    ("/openai/v1/c%68at/completions", 404, "unknown_path"),
    ("/%6fpenai/v1/chat/completions", 404, "unknown_path"),
    ("//openai/v1/chat/completions", 404, "unknown_path"),
    ("//evil/openai/v1/chat/completions", 404, "unknown_path"),
    ("/openai//v1/chat/completions", 404, "unknown_path"),
    ("/openai/v1/chat//completions", 404, "unknown_path"),
    ("/openai/v1/chat/completions/", 404, "unknown_path"),
    ("/openai/v1/chat/completions;x=y", 404, "unknown_path"),
    ("/openai;x/v1/chat/completions", 404, "unknown_path"),
    ("/OpenAI/v1/chat/completions", 404, "unknown_path"),
    ("/openai/v1/chat/completions%3fx", 404, "unknown_path"),
    ("/openai/v1/chat/completions%23", 404, "unknown_path"),
    ("/openai/v1/chat/completions%20", 404, "unknown_path"),
    ("/openai/v1/files", 404, "unknown_path"),
    ("/openai/deployments/gpt-4o/../../v1/files", 404, "unknown_path"),
    ("/openai/deployments/gpt-4o/chat/completions/../../x", 404, "unknown_path"),
    ("/openai/deployments/gpt-4o/extensions/chat/completions", 404, "unknown_path"),
    ("/openai/deployments/a/b/chat/completions", 404, "unknown_path"),
    ("/openai/deployments//chat/completions", 404, "unknown_path"),
    ("/openai/deployments/%ff/chat/completions", 404, "unknown_path"),
    ("/openai/deployments/%c0%ae/chat/completions", 404, "unknown_path"),
    ("/openai/deployments/./chat/completions", 404, "unknown_model"),
    ("/openai/deployments/../chat/completions", 404, "unknown_model"),
    ("/openai/deployments/%2e%2e/chat/completions", 404, "unknown_model"),
    ("/openai/deployments/..%2f..%2fv1/chat/completions", 404, "unknown_model"),
    ("/openai/deployments/gpt-4o%2f..%2fgpt-4o/chat/completions", 404, "unknown_model"),
    ("/openai/deployments/gpt-4o;x/chat/completions", 404, "unknown_model"),
    ("/openai/deployments/gpt-4o%3bx/chat/completions", 404, "unknown_model"),
    ("/openai/deployments/gpt-4o%3fx/chat/completions", 404, "unknown_model"),
    ("/openai/deployments/gpt-4o%23/chat/completions", 404, "unknown_model"),
    ("/openai/deployments/gpt-4o%20/chat/completions", 404, "unknown_model"),
    ("/openai/deployments/+gpt-4o/chat/completions", 404, "unknown_model"),
    ("/openai/deployments/gpt%252d4o/chat/completions", 404, "unknown_model"),
    ("/openai/deployments/gpt-4o%5c/chat/completions", 404, "unknown_model"),
    ("/openai/deployments/only-gpt-4o/chat/completions", 404, "unknown_model"),
    ("/openai/deployments/gpt-4o%00/chat/completions", 400, "malformed_request"),
    ("/openai/deployments/gpt-4o%0d%0ahost:evil/chat/completions", 400, "malformed_request"),
    ("/openai/deployments/gpt-4o%7f/chat/completions", 400, "malformed_request"),
    ("/openai/deployments/gpt-4o%/chat/completions", 400, "malformed_request"),
    ("/openai/v1/chat/completions?api-version=1%0d%0ax-evil:1", 400, "malformed_request"),
    ("/openai/v1/chat/completions?api-version=1%00", 400, "malformed_request"),
    ("/openai/v1/chat/completions?x=%u0041", 400, "malformed_request"),
    ("/openai/v1/chat/completions?x=<y>", 400, "malformed_request"),
    ("/openai/v1/chat/completions?x=1#?api-version=1", 400, "malformed_request"),
    ("/openai/v1/chat/completions?x=\\..\\", 400, "malformed_request"),
];

#[tokio::test]
async fn no_trick_in_a_path_reaches_a_deployment() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    for (i, (target, status, reason)) in TRICKS.iter().enumerate() {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(post(target, "", body())).await;
        let answer = wire
            .answer()
            .await
            .unwrap_or_else(|| panic!("no answer to {target}"));
        assert_eq!(answer.status, *status, "{target}");
        assert!(answer.json()["error"]["message"].is_string(), "{target}");
        assert_eq!(harness.asked("only"), 0, "{target}");
        // Where the request was whole, the next one on its connection is served.
        assert_eq!(answer.keeps_open(), *status == 404, "{target}");
        let line = harness.log(i + 1).await.remove(i);
        assert_eq!(line["refusal"], *reason, "{target}");
        let path = target.split(['?', '#']).next().unwrap();
        assert_eq!(line["path"], path, "{target}");
    }
    assert!(TRICKS.len() >= 50);
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for status in [404, 200] {
        let request = if status == 404 {
            post(TRICKS[0].0, "", body())
        } else {
            good_chat()
        };
        wire.send(request).await;
        assert_eq!(wire.answer().await.unwrap().status, status);
    }
    assert_eq!(harness.asked("only"), 1);
}

/// A name in a body is a name, whatever it holds: only configured ones are there.
#[tokio::test]
async fn no_trick_in_a_models_name_reaches_a_deployment() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    for model in [
        r"gpt-4o\r\nhost: evil",
        r"gpt-4o\u0000",
        r"gpt-4o\n",
        "../gpt-4o",
        "gpt-4o/../gpt-4o",
        "gpt-4o/chat/completions?x=",
        "gpt-4o#",
        "gpt-4o%00",
        "gpt-4o ",
        " gpt-4o",
        "*",
        "",
        r"gpt-4o\ud800",
        r"\u202egpt-4o",
        "ｇｐｔ-4o",
    ] {
        let body = format!("{{\"model\":\"{model}\",\"messages\":[]}}");
        for path in [CHAT, "/v1/chat/completions", "/openai/responses"] {
            let answer = harness.post(path).body(body.clone()).send().await.unwrap();
            assert!(
                [400, 404].contains(&answer.status().as_u16()),
                "{model}: {answer:?}"
            );
        }
    }
    assert_eq!(harness.asked("only"), 0);
    for path in [
        "/openai/v1/models/..",
        "/openai/v1/models/%2e%2e",
        "/v1/models/a%2fb",
        "/health/models/%2e%2e%2f",
    ] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        let key = format!("api-key: {KEY}\r\n");
        wire.send(crate::http1_client::request("GET", path, &key, ""))
            .await;
        assert_eq!(wire.answer().await.unwrap().status, 404, "{path}");
    }
}

/// What a client adds to its query goes on as it is, but for credentials; they are in no log either.
#[tokio::test]
async fn a_query_goes_on_without_credentials_and_with_nothing_in_it_that_ends_it() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    for (query, out) in [
        ("api-version=2024-10-21", "?api-version=2024-10-21"),
        (
            "api-version=2024-10-21&include=a%20b%2f",
            "?api-version=2024-10-21&include=a%20b%2f",
        ),
        ("include[]=a&include[]=b", "?include[]=a&include[]=b"),
        ("api-key=SECRET&include=1", "?include=1"),
        ("include=1&API-Key=SECRET", "?include=1"),
        ("api%2dkey=SECRET", ""),
        ("%61pi_key=SECRET&", ""),
        (
            "subscription-key=SECRET&access_token=SECRET&include",
            "?include",
        ),
        ("include=1&&include[]=2&", "?include=1&include[]=2"),
        ("", ""),
        ("include=//evil/..", "?include=//evil/.."),
        ("include=1?api-key=y", "?include=1?api-key=y"),
    ] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(post(&format!("{CLASSIC}?{query}"), "", body()))
            .await;
        // The simulator refuses this path without a version, as Azure does.
        let expected = if out.contains("api-version") {
            200
        } else {
            404
        };
        assert_eq!(wire.answer().await.unwrap().status, expected, "{query}");
        let seen = harness.seen("only").pop().unwrap();
        let expected = CLASSIC.replace("/gpt-4o/", "/only-gpt-4o/");
        assert_eq!(seen.path, format!("{expected}{out}"), "{query}");
    }
    let log = std::fs::read_to_string(harness.gateway.folder.join("access.jsonl")).unwrap();
    assert!(!log.contains("SECRET") && !harness.gateway.stderr().contains("SECRET"));
}

/// A model's name may be any text: a client escapes it in its path, and it is that name and no other.
#[tokio::test]
async fn a_model_whose_name_must_be_escaped_is_found_by_its_name() {
    let simulation = format!(
        "control: 127.0.0.1:0\nrecord: full\ninstances:\n  only: {{ address: 127.0.0.1:0, keys: [{INSTANCE_KEY}], api_versions: [\"*\"], deployments: {{ d: {{ model: gpt-4o }} }} }}\n"
    );
    let simulator = simulator::start(Config::parse(&simulation).unwrap())
        .await
        .unwrap();
    let address = simulator.address("only").unwrap();
    let key = forebay::config::hash_key(KEY).unwrap().hash;
    let config = format!(
        "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\n\
         instances: {{ only: {{ endpoint: \"http://{address}\", identity: key }} }}\n\
         models: {{ \"dep/4.1~x\": {{ deployments: [{{ instance: only, deployment: d }}] }} }}\n\
         clients: {{ tests: {{ keys: [\"{key}\"], models: [\"*\"] }} }}\n"
    );
    let gateway = Gateway::start(&config).await;
    let harness = Harness {
        simulator,
        gateway,
        http: client(),
    };
    for (segment, status) in [
        ("dep%2F4.1~x", 200),
        ("dep%2f4%2E1%7ex", 200),
        ("%64ep%2F4.1~x", 200),
        ("dep/4.1~x", 404),
        ("dep%252F4.1~x", 404),
        ("dep%2F4.1~x%20", 404),
        ("dep%5C4.1~x", 404),
    ] {
        let path = format!("/openai/deployments/{segment}/chat/completions?api-version=1");
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(post(&path, "", body())).await;
        assert_eq!(wire.answer().await.unwrap().status, status, "{segment}");
    }
    let seen = harness.seen("only");
    assert_eq!(seen.len(), 3);
    let path = "/openai/deployments/d/chat/completions?api-version=1";
    assert!(seen.iter().all(|seen| seen.path == path), "{seen:?}");
}
