//! Each query of the dashboard and each rule, asked of a Prometheus that scraped a gateway with traffic of all kinds.

use std::{collections::BTreeMap, fs, path::PathBuf};

use forebay::simulator::{self, Config, FaultKind, OddUsage, Simulator};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{queries, rules, server::Prometheus};
use crate::{
    certificate_authority::CertificateAuthority,
    harness::{
        CHAT, Gateway, Harness, INSTANCE_KEY, KEY, client, client_builder, eventually_async,
        folder, free_address, status,
    },
};

const ADMIN_TOKEN: &str = "a-token-of-the-operators";
const BATCH_KEY: &str = "a-key-of-the-batch-jobs";
/// A port that no test is ever given.
const NO_COLLECTOR: &str = "http://127.0.0.1:1";

/// A provisioned instance and two standard ones, two models, two clients, a listener with TLS, prices, a collector that is
/// not there, and an admin listener that wants its token.
pub(super) async fn harness() -> (Harness, CertificateFolder) {
    let mut simulation =
        "control: 127.0.0.1:0\ntokens: { address: 127.0.0.1:0, lifetime: 1h }\nseed: 7\ninstances:\n".to_owned();
    for name in ["ptu", "one", "two"] {
        simulation += &format!(
            "  {name}: {{ address: \"127.0.0.1:0\", keys: [{INSTANCE_KEY}], deployments: {{ gpt-4o: {{ model: gpt-4o }}, \
             small: {{ model: gpt-4o }} }} }}\n"
        );
    }
    let simulator = simulator::start(Config::parse(&simulation).unwrap())
        .await
        .unwrap();
    let papers = folder();
    let authority = CertificateAuthority::new(&papers, "ours");
    authority.certify(&papers, "gateway", "localhost");
    let at = papers.display();
    let secure = format!(
        " }}, {{ address: \"{}\", tls: {{ certificate: {at}/gateway.crt, key: {at}/gateway.key }}",
        free_address()
    );
    let hash = forebay::config::hash_key(ADMIN_TOKEN).unwrap().hash;
    let guard = format!(", token: \"{hash}\"");
    let config = config(&simulator);
    let asker = ("http", client_builder().build().unwrap());
    let gateway = Gateway::start_with_admin(&config, &secure, &guard, asker, &[]).await;
    let harness = Harness {
        simulator,
        gateway,
        http: client(),
    };
    (harness, CertificateFolder(papers))
}

/// The folder of the listener's certificate, whose files are looked at again and again.
pub(super) struct CertificateFolder(PathBuf);

impl Drop for CertificateFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(simulator: &Simulator) -> String {
    let [ptu, one, two] = ["ptu", "one", "two"].map(|name| simulator.address(name).unwrap());
    let tokens = simulator.tokens().unwrap();
    let [key, batch] = [KEY, BATCH_KEY].map(|key| forebay::config::hash_key(key).unwrap().hash);
    format!(
        "identities:\n  vm: {{ managed_identity: {{ endpoint: \"http://{tokens}\" }} }}\n  key: {{ api_key: {INSTANCE_KEY} }}\n\
         instances:\n  ptu: {{ endpoint: \"http://{ptu}\", identity: vm }}\n  one: {{ endpoint: \"http://{one}\", identity: key }}\n  \
         two: {{ endpoint: \"http://{two}\", identity: key }}\n\
         models:\n  gpt-4o:\n    deployments:\n      - {{ instance: ptu, type: provisioned, priority: 1 }}\n      \
         - {{ instance: one, priority: 2 }}\n      - {{ instance: two, priority: 2 }}\n  \
         small:\n    deployments:\n      - {{ instance: one }}\n      - {{ instance: two, priority: 2 }}\n\
         clients:\n  tests: {{ keys: [\"{key}\"], models: [\"*\"] }}\n  batch: {{ keys: [\"{batch}\"], models: [small], limits: {{ requests_per_minute: 1000, tokens_per_day: 1000000 }} }}\n\
         prices: {{ currency: EUR, models: {{ gpt-4o: {{ input: 2.5, output: 10 }}, small: {{ input: 1, output: 2 }} }} }}\n\
         otlp: {{ endpoint: \"{NO_COLLECTOR}\", metrics: {{ interval: 100ms }} }}\n\
         breaker: {{ pause: 1s, longest_pause: 2s }}\n"
    )
}

pub(super) async fn ask(harness: &Harness, key: &str, model: &str, stream: bool) -> StatusCode {
    let chat = json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "Why do dams spill?"}]});
    let request = harness
        .http
        .post(harness.url(CHAT))
        .header("api-key", key)
        .json(&chat);
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let _ = answer.bytes().await;
    status
}

/// Requests of all kinds: served, throttled, moving on, refused, streamed, failing, and one whose usage is estimated.
async fn traffic(harness: &Harness) {
    for stream in [false, true] {
        for (key, model) in [(KEY, "gpt-4o"), (KEY, "small"), (BATCH_KEY, "small")] {
            assert_eq!(ask(harness, key, model, stream).await, 200, "{model}");
        }
    }
    let form = OddUsage::None;
    harness.fault("ptu", FaultKind::OddUsage { form });
    assert_eq!(ask(harness, KEY, "gpt-4o", false).await, 200);
    // Of the provisioned instance once it is full: others serve.
    let full = [
        ("retry-after-ms", "1"),
        ("azure-openai-deployment-utilization", "93.5%"),
        ("x-ratelimit-remaining-tokens", "7"),
        ("x-ratelimit-remaining-requests", "1"),
    ];
    harness.fault("ptu", status(429, &full));
    for stream in [false, true] {
        assert_eq!(ask(harness, KEY, "gpt-4o", stream).await, 200);
    }
    harness.fault("ptu", None);
    harness.fault("one", status(500, &[]));
    assert_eq!(ask(harness, KEY, "small", false).await, 200);
    harness.fault("two", status(502, &[]));
    assert_eq!(ask(harness, KEY, "small", false).await, 503);
    for name in ["one", "two"] {
        harness.fault(name, None);
    }
    assert_eq!(ask(harness, BATCH_KEY, "gpt-4o", false).await, 404);
    assert_eq!(ask(harness, "nobody's", "gpt-4o", false).await, 401);
}

/// What the traffic gives no reason to show, by the panels' titles, and why.
const EMPTY: &[(&str, &str)] = &[
    ("Costs by model B", "each model has a price"),
    (
        "Set aside A",
        "no credential is refused, no deployment is missing",
    ),
    (
        "Rejected client tokens A",
        "clients show keys; tokens.rs has clients with tokens",
    ),
    ("Identities, issuers, certificates B", "likewise: no issuer"),
    ("Log lines dropped B", "each log can be written"),
];

#[tokio::test]
async fn every_query_and_every_rule_says_something_of_a_real_run() {
    let (harness, _papers) = harness().await;
    let prometheus = Prometheus::start(harness.gateway.admin, ADMIN_TOKEN).await;
    // A counter rises where it was seen before: what is done once and then again has a rate.
    for _ in 0..3 {
        traffic(&harness).await;
        prometheus.scrapes().await;
    }

    every_query_says_something(&prometheus).await;
    every_rule_says_something(&prometheus).await;
    what_was_counted_is_there(&prometheus).await;
    labels_tell_whose_it_is(&prometheus, &harness.gateway.admin.to_string()).await;
}

async fn every_query_says_something(prometheus: &Prometheus) {
    let reasons: BTreeMap<_, _> = EMPTY.iter().copied().collect();
    let mut wrong = Vec::new();
    let all = queries();
    for name in reasons.keys() {
        assert!(all.iter().any(|query| query.panel == *name), "{name}");
    }
    for query in all {
        let variables = [
            ("$__rate_interval", "1m"),
            ("$model", ".*"),
            ("$instance", ".*"),
            ("$client", ".*"),
        ];
        let expr = variables
            .iter()
            .fold(query.expr, |expr, (name, value)| expr.replace(name, value));
        assert!(!expr.contains('$'), "{expr}");
        let series = prometheus.ask(&expr).await;
        let says = series.iter().any(|(_, value)| value.is_finite());
        match (says, reasons.get(query.panel.as_str())) {
            (true, None) | (false, Some(_)) => {}
            (false, None) => wrong.push(format!("{} says nothing: {expr}", query.panel)),
            (true, Some(_)) => wrong.push(format!("{} is no exception: {series:?}", query.panel)),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn every_rule_says_something(prometheus: &Prometheus) {
    let ran = prometheus.rules().await;
    assert_eq!(
        ran.len(),
        rules("recording.yaml").len() + rules("alerts.yaml").len()
    );
    for rule in &ran {
        let name = &rule["name"];
        assert_eq!(
            (&rule["health"], rule.get("lastError")),
            (&"ok".into(), None),
            "{rule}"
        );
        let expr = rule["query"].as_str().unwrap();
        let series = prometheus.ask(expr).await;
        let name = name.as_str().unwrap();
        if rule["type"] == "recording" {
            let says = series.iter().any(|(_, value)| value.is_finite());
            assert!(says, "{name}: {expr}");
            assert!(!prometheus.ask(name).await.is_empty(), "{name}");
        }
    }
}

/// What Prometheus has is what the gateway counted.
async fn what_was_counted_is_there(prometheus: &Prometheus) {
    let requests = r#"sum by (client, model) (forebay_requests_total{code="200"})"#;
    let counted: BTreeMap<String, f64> = prometheus
        .ask(requests)
        .await
        .into_iter()
        .map(|(labels, value)| {
            (
                format!("{} {}", word(&labels, "client"), word(&labels, "model")),
                value,
            )
        })
        .collect();
    let served = [
        ("batch small", 6.0),
        ("tests gpt-4o", 15.0),
        ("tests small", 9.0),
    ];
    let served = served.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(counted, BTreeMap::from(served));
    let alert = prometheus.fires("ForebayUsageUnread").await;
    let of = ["model", "instance", "reason"].map(|name| word(&alert["labels"], name));
    assert_eq!(of, ["gpt-4o", "ptu", "missing"]);
    let failures = "sum by (signal) (forebay_otlp_failures_total) > 0";
    eventually_async(
        "no signal reaches a collector that is not there",
        async || prometheus.ask(failures).await.len() == 2,
    )
    .await;
}

async fn labels_tell_whose_it_is(prometheus: &Prometheus, gateway: &str) {
    let up = prometheus.ask("up").await;
    assert_eq!(word(&up[0].0, "gateway"), gateway);
    let infos = prometheus.ask("forebay_deployment_info").await;
    let of = |labels: &Value| ["gateway", "instance", "capacity"].map(|name| word(labels, name));
    assert!(
        infos
            .iter()
            .any(|(labels, _)| of(labels) == [gateway, "ptu", "provisioned"])
    );
    assert!(
        infos
            .iter()
            .all(|(labels, _)| labels.get("exported_instance").is_none())
    );
}

fn word(labels: &Value, name: &str) -> String {
    labels[name].as_str().unwrap_or_default().to_owned()
}

pub(super) const TOKEN: &str = ADMIN_TOKEN;
