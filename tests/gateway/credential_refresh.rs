//! A credential that a deployment refuses is ours to mend: once more with a fresh token, and only then elsewhere.

use std::fmt::Write as _;

use forebay::simulator::{self, Config};

use crate::harness::{Gateway, Harness, KEY, chat, client, eventually, served_by, status};

/// Two instances asked with tokens of one client secret.
async fn harness(more: &str) -> Harness {
    let mut simulation = "control: 127.0.0.1:0\ntokens: { address: 127.0.0.1:0, lifetime: 1h }\nrecord: full\ninstances:\n".to_owned();
    for name in ["first", "second"] {
        writeln!(simulation, "  {name}: {{ address: 127.0.0.1:0, deployments: {{ {name}-gpt-4o: {{ model: gpt-4o }} }} }}").unwrap();
    }
    let simulator = simulator::start(Config::parse(&simulation).unwrap())
        .await
        .unwrap();
    let tokens = simulator.tokens().unwrap();
    let mut config = format!(
        "identities: {{ app: {{ client_secret: {{ tenant_id: t, client_id: c, secret: s, authority: \"http://{tokens}\" }} }} }}\ninstances:\n"
    );
    for name in ["first", "second"] {
        let address = simulator.address(name).unwrap();
        writeln!(
            config,
            "  {name}: {{ endpoint: \"http://{address}\", identity: app }}"
        )
        .unwrap();
    }
    let hash = forebay::config::hash_key(KEY).unwrap().hash;
    writeln!(
        config,
        "models: {{ gpt-4o: {{ deployments: [{{ instance: first, deployment: first-gpt-4o, priority: 1 }}, \
         {{ instance: second, deployment: second-gpt-4o, priority: 2 }}] }} }}\n\
         clients: {{ tests: {{ keys: [\"{hash}\"], models: [\"*\"] }} }}\n{more}"
    )
    .unwrap();
    Harness {
        simulator,
        gateway: Gateway::start(&config).await,
        http: client(),
    }
}

#[tokio::test]
async fn a_revoked_token_is_replaced_and_the_same_deployment_asked_again() {
    let harness = harness("").await;
    assert_eq!(served_by(&harness.chat().await), "first");
    harness.simulator.revoke_tokens();
    let answer = harness.chat().await;
    assert_eq!(
        (answer.status().as_u16(), served_by(&answer)),
        (200, "first".into())
    );
    let line = harness.log(2).await.pop().unwrap();
    let attempts: Vec<_> = line["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| {
            (
                attempt["instance"].as_str().unwrap(),
                attempt["outcome"].as_str().unwrap(),
                attempt["status"].as_u64(),
            )
        })
        .collect();
    assert_eq!(
        attempts,
        [
            ("first", "identity_rejected", Some(401)),
            ("first", "served", Some(200))
        ]
    );
    assert_eq!(
        harness.status().await["models"][0]["deployments"][0]["state"],
        "closed"
    );
    let metrics = harness.metrics().await;
    assert!(
        !metrics.contains("forebay_failovers_total{"),
        "it moved nowhere: {metrics}"
    );
}

#[tokio::test]
async fn a_deployment_that_refuses_the_fresh_token_too_is_set_aside() {
    let harness = harness("").await;
    harness.fault("first", status(403, &[]));
    assert_eq!(served_by(&harness.chat().await), "second");
    assert_eq!(harness.asked("first"), 2, "once more with a fresh token");
    for _ in 0..5 {
        assert_eq!(served_by(&harness.chat().await), "second");
    }
    assert_eq!(harness.asked("first"), 2);
    let deployment = harness.status().await["models"][0]["deployments"][0].clone();
    assert_eq!(
        (deployment["state"].as_str(), deployment["cause"].as_str()),
        (Some("open"), Some("credential"))
    );
    let metrics = harness.metrics().await;
    let gauge = "forebay_deployment_set_aside{cause=\"credential\",deployment=\"first-gpt-4o\",instance=\"first\",model=\"gpt-4o\"} 1";
    assert!(metrics.contains(gauge), "{metrics}");
    assert!(
        harness.gateway.stderr().contains("\"level\":\"ERROR\""),
        "an alarm"
    );
}

/// A hundred at once make one token request, and all of them are served.
#[tokio::test]
async fn many_refused_at_once_share_one_renewal() {
    let harness = harness("").await;
    assert_eq!(harness.chat().await.status(), 200);
    let fetched = |harness: &Harness| harness.simulator.stats().tokens.issued;
    let before = fetched(&harness);
    harness.simulator.revoke_tokens();
    let requests = (0..100).map(|_| harness.post(crate::harness::CHAT).json(&chat()).send());
    for answer in futures_util::future::join_all(requests).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    eventually("one more token was issued", || {
        fetched(&harness) == before + 1
    })
    .await;
}
