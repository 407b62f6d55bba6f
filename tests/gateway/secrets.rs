//! Secrets stay where they belong: the client's key never goes further than the gateway, and what proves the gateway
//! to Azure never goes towards clients, into logs, metrics or status.

mod echoed;
mod every_refusal;

use std::{collections::BTreeMap, fmt::Write as _, fs};

use forebay::simulator::{self, Config, ErrorType, FaultKind, StreamError, TokenFault};
use reqwest::Response;

use crate::{
    harness::{
        CHAT, Gateway, Harness, chat, client, eventually, eventually_async, status, streamed,
        throttle,
    },
    http1_client::{RawConnection, request},
};

const CLIENT_KEY: &str = "MARKED-client-key-4f1c9a";
const UNKNOWN_KEY: &str = "MARKED-unknown-key-77aa01";
const INSTANCE_KEY: &str = "MARKED-instance-key-0b88d2";
const CLIENT_SECRET: &str = "MARKED-client-secret-9e3f10";
/// The token endpoint refuses this one.
const WRONG_SECRET: &str = "wrong";
const PROMPT: &str = "MARKED-prompt-51cc";

/// An issuer of clients' tokens that never answers.
const ISSUER: &str = "http://127.0.0.1:9/issuer";
const NOT_OURS: &str = "front_door: { ids: [0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f] }\n";
const FROM_NOWHERE: &str =
    "front_door: { ids: [0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f], networks: [192.0.2.0/24] }\n";

/// An instance asked with tokens of a client secret, one with its own key, one whose secret is refused. Beside the harness
/// two more gateways, which want Front Door before them.
async fn harness(variables: &[(&str, &str)]) -> (Harness, [Gateway; 2]) {
    let mut simulation = "control: 127.0.0.1:0\ntokens: { address: 127.0.0.1:0, lifetime: 1h }\nrecord: full\ninstances:\n".to_owned();
    for name in ["tokens", "keys", "refused"] {
        writeln!(simulation, "  {name}: {{ address: 127.0.0.1:0, keys: [{INSTANCE_KEY}], api_versions: [\"*\"], deployments: {{ gpt-4o: {{ model: gpt-4o }}, slow: {{ model: gpt-4o }} }} }}").unwrap();
    }
    let simulator = simulator::start(Config::parse(&simulation).unwrap())
        .await
        .unwrap();
    let authority = format!("http://{}", simulator.tokens().unwrap());
    let mut config = "identities:\n".to_owned();
    for (name, secret) in [("good", CLIENT_SECRET), ("bad", WRONG_SECRET)] {
        writeln!(config, "  {name}: {{ client_secret: {{ tenant_id: t, client_id: c, secret: {secret}, authority: \"{authority}\" }} }}").unwrap();
    }
    writeln!(config, "  key: {{ api_key: {INSTANCE_KEY} }}\ninstances:").unwrap();
    for (name, identity) in [("tokens", "good"), ("keys", "key"), ("refused", "bad")] {
        let address = simulator.address(name).unwrap();
        writeln!(
            config,
            "  {name}: {{ endpoint: \"http://{address}\", identity: {identity} }}"
        )
        .unwrap();
    }
    let hash = forebay::config::hash_key(CLIENT_KEY).unwrap().hash;
    let limited = every_refusal::limited();
    writeln!(
        config,
        "issuers: {{ idp: {{ url: \"{ISSUER}\", audiences: [forebay] }} }}\nmodels:\n  gpt-4o:\n    deployments: [{{ instance: tokens, priority: 1 }}, {{ instance: keys, priority: 2 }}]\n  \
         never: {{ deployments: [{{ instance: refused, deployment: gpt-4o }}] }}\n  \
         slow: {{ first_byte_timeout: 1m, deployments: [{{ instance: keys, deployment: slow }}] }}\n\
         clients:\n  tests: {{ keys: [\"{hash}\"], models: [\"*\"] }}\n  \
         tokens: {{ token: {{ issuer: idp, claims: {{ sub: app }} }}, models: [\"*\"] }}\n{limited}\
         server: {{ header_timeout: 2s }}\n\
         failover: {{ max_body: 1MiB, first_byte_timeout: 200ms, deadline: 2s }}\nbreaker: {{ pause: 1ms, longest_pause: 1ms, ramp: 0s }}\nreveal: true"
    )
    .unwrap();
    let more = async |front_door: &str| {
        Gateway::start_with(&format!("{front_door}{config}"), "", variables).await
    };
    let guarded = [more(NOT_OURS).await, more(FROM_NOWHERE).await];
    let harness = Harness {
        simulator,
        gateway: Gateway::start_with(&config, "", variables).await,
        http: client(),
    };
    (harness, guarded)
}

/// All that a client was told: heads and bodies.
struct ShownToClient(String);

impl ShownToClient {
    async fn note(&mut self, response: reqwest::Result<Response>) {
        let Ok(mut response) = response else { return };
        writeln!(self.0, "{} {:?}", response.status(), response.headers()).unwrap();
        // A broken answer is read as far as it goes.
        while let Ok(Some(piece)) = response.chunk().await {
            self.0.push_str(&String::from_utf8_lossy(&piece));
        }
    }

    async fn ask(&mut self, harness: &Harness, path: &str, key: (&str, &str), body: String) {
        let request = harness.http.post(harness.url(path)).header(key.0, key.1);
        self.note(
            request
                .header("content-type", "application/json")
                .body(body)
                .send()
                .await,
        )
        .await;
    }
}

/// Successes, every refusal, every way to fail, broken streams.
async fn everything(harness: &Harness, guarded: &[Gateway]) -> String {
    let mut told = ShownToClient(String::new());
    every_refusal::everything(harness, ISSUER, &mut told).await;
    for gateway in guarded {
        every_refusal::past_front_door(gateway, &mut told).await;
    }
    let bearer = format!("Bearer {CLIENT_KEY}");
    let keys = [("api-key", CLIENT_KEY), ("authorization", bearer.as_str())];
    let mut plain = chat();
    plain["messages"][0]["content"] = PROMPT.into();
    let mut stream = streamed();
    stream["messages"][0]["content"] = PROMPT.into();
    let (plain, stream) = (plain.to_string(), stream.to_string());
    let classic =
        format!("/openai/deployments/gpt-4o/chat/completions?api-version=1&api-key={CLIENT_KEY}");
    for key in keys {
        for path in [CHAT, "/v1/chat/completions", &classic] {
            told.ask(harness, path, key, plain.clone()).await;
            told.ask(harness, path, key, stream.clone()).await;
        }
        for (path, body) in [
            ("/nothing", "{}"),
            (CHAT, "MARKED-prompt-51cc"),
            (CHAT, r#"{"prompt":"MARKED-prompt-51cc"}"#),
            (CHAT, r#"{"model":"MARKED-prompt-51cc"}"#),
            (CHAT, r#"{"model":7}"#),
            (CHAT, r#"{"model":"a","model":"MARKED-prompt-51cc"}"#),
            (CHAT, &"[".repeat(1000)),
            (CHAT, &" ".repeat(2 << 20)),
        ] {
            told.ask(harness, path, key, body.to_owned()).await;
        }
        told.note(
            harness
                .http
                .get(harness.url("/v1/models"))
                .header(key.0, key.1)
                .send()
                .await,
        )
        .await;
    }
    told.ask(harness, CHAT, ("api-key", UNKNOWN_KEY), plain.clone())
        .await;
    told.ask(harness, CHAT, ("x-nothing", "1"), plain.clone())
        .await;
    // The identity's secret is refused: no token, no answer.
    told.ask(harness, CHAT, keys[0], plain.replace("gpt-4o", "never"))
        .await;

    deployments_fail(harness, &[&plain, &stream], keys[0], &mut told).await;
    told.ask(harness, CHAT, keys[0], plain.clone()).await;
    broken_requests(harness, &mut told).await;
    for fault in [TokenFault::Garbage {}, TokenFault::Status { status: 500 }] {
        harness.simulator.set_token_fault(Some(fault));
        told.ask(harness, CHAT, keys[0], plain.replace("gpt-4o", "never"))
            .await;
    }
    told.0
}

/// Every way to fail; in the end nothing listens where the instances did.
async fn deployments_fail(
    harness: &Harness,
    bodies: &[&String],
    key: (&str, &str),
    told: &mut ShownToClient,
) {
    let leaky = [("www-authenticate", "Bearer"), ("x-any", "0")];
    for fault in [
        status(401, &leaky),
        status(403, &[]),
        status(500, &[]),
        status(400, &[]),
        throttle(0.05),
        FaultKind::EarlyStatus {
            status: 503,
            headers: BTreeMap::new(),
            body: None,
        },
        FaultKind::Reset {},
        FaultKind::Close {},
        FaultKind::Hang {},
        FaultKind::ResetMidStream { after_events: 2 },
        FaultKind::CloseMidStream { after_events: 2 },
        FaultKind::StreamError(StreamError::new(ErrorType::TooManyRequests, 1)),
    ] {
        for instance in ["tokens", "keys"] {
            harness.fault(instance, fault.clone());
        }
        for body in bodies {
            told.ask(harness, CHAT, key, (*body).clone()).await;
            available(harness).await;
        }
    }
    for instance in ["tokens", "keys"] {
        harness.fault(instance, None);
        harness.switch(instance, "down").await;
    }
}

/// Waits until both may be asked again.
async fn available(harness: &Harness) {
    let is = |deployment: &serde_json::Value| deployment["available"] == true;
    eventually_async("both may be asked", async || {
        let page = harness.status().await;
        page["models"][0]["deployments"]
            .as_array()
            .unwrap()
            .iter()
            .all(is)
    })
    .await;
}

/// What no client library sends.
async fn broken_requests(harness: &Harness, told: &mut ShownToClient) {
    let key = format!("api-key: {CLIENT_KEY}\r\n");
    for (path, lines, body) in [
        (CHAT, "content-length: 500\r\n", PROMPT),
        (CHAT, "transfer-encoding: chunked\r\n", PROMPT),
        ("/%zz", "", ""),
        (CHAT, "content-length: x\r\n", PROMPT),
        (CHAT, "bad header\r\n", PROMPT),
        (CHAT, "content-length: 1\r\ncontent-length: 2\r\n", PROMPT),
    ] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(request("POST", path, &format!("{key}{lines}"), body))
            .await;
        wire.half_close().await;
        if let Some(answer) = wire.answer().await {
            writeln!(
                told.0,
                "{answer:?} {}",
                String::from_utf8_lossy(&answer.body)
            )
            .unwrap();
        }
    }
}

/// Every bearer token that an instance was sent.
fn tokens(harness: &Harness) -> Vec<String> {
    let seen = harness.simulator.requests(None);
    let headers = seen.iter().flat_map(|seen| &seen.headers);
    let values = headers.filter_map(|(_, value)| value.strip_prefix("Bearer "));
    values.map(str::to_owned).collect()
}

async fn nothing_leaks(variables: &[(&str, &str)]) {
    let (mut harness, mut guarded) = harness(variables).await;
    let told = everything(&harness, &guarded).await;
    let tokens = tokens(&harness);
    assert!(
        !tokens.is_empty() && told.contains("chatcmpl") && told.contains("gpt-4o"),
        "{told}"
    );

    let sent_out = format!("{:?}", harness.simulator.requests(None));
    for key in [CLIENT_KEY, UNKNOWN_KEY] {
        assert!(
            !sent_out.contains(key),
            "a client's key reached a deployment"
        );
    }
    let ours: Vec<&str> = tokens
        .iter()
        .map(String::as_str)
        .chain([INSTANCE_KEY, CLIENT_SECRET])
        .collect();
    for secret in &ours {
        assert!(!told.contains(secret), "a client was told {secret}");
    }

    let log = harness.gateway.folder.join("access.jsonl");
    let outcomes = [
        "served",
        "caller_error",
        "throttled",
        "identity_rejected",
        "fault_status",
        "fault_connect",
        "fault_reset",
        "fault_silence",
        "fault_broken",
    ];
    eventually("the log has every outcome", || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        outcomes.iter().all(|outcome| log.contains(outcome))
    })
    .await;
    let pages = [harness.metrics().await, harness.status().await.to_string()];
    let mut logs = String::new();
    let mut texts = Vec::from(pages);
    for gateway in std::iter::once(&mut harness.gateway).chain(&mut guarded) {
        gateway.end();
        logs.push_str(&fs::read_to_string(gateway.folder.join("access.jsonl")).unwrap());
        texts.push(gateway.stderr());
    }
    let said = |reason: &&str| logs.contains(&format!("\"refusal\":\"{reason}\""));
    let unsaid: Vec<_> = every_refusal::reasons()
        .into_iter()
        .filter(|it| !said(it))
        .collect();
    assert!(unsaid.is_empty(), "nobody was refused for {unsaid:?}");
    texts.push(logs);
    let marked = [CLIENT_KEY, UNKNOWN_KEY, PROMPT].map(str::to_owned);
    let sent = every_refusal::token_parts(ISSUER).into_iter().chain(marked);
    let all: Vec<String> = sent.chain(ours.iter().map(|it| (*it).to_owned())).collect();
    for text in &texts {
        for secret in &all {
            let line = text.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{secret} is in {line:?}");
        }
    }
}

#[tokio::test]
async fn no_secret_and_no_prompt_is_found_where_it_does_not_belong() {
    nothing_leaks(&[]).await;
}

#[tokio::test]
async fn nor_is_one_when_everything_is_traced() {
    nothing_leaks(&[("FOREBAY_LOG", "trace")]).await;
}
