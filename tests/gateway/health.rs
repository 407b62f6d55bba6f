//! What load balancers are told: `/health`, `/health/models/NAME` and the process's own readiness.

use std::time::{Duration, Instant};

use serde_json::json;

use forebay::simulator::FaultKind;

use crate::harness::{CHAT, Gateway, Harness, KEY, eventually_async, status, throttle};

/// Faults that set a deployment aside soon, and are soon tried again.
const QUICK: &str =
    "breaker: { faults: 1, pause: 300ms, ramp: 0s }\nfailover: { connect_timeout: 300ms }\n";

impl Harness {
    async fn health(&self, path: &str) -> u16 {
        let request = self.http.get(self.url(path)).header("api-key", KEY);
        let answer = request.send().await.unwrap();
        answer.status().as_u16()
    }

    async fn readiness(&self) -> u16 {
        let url = format!("http://{}/health/ready", self.gateway.admin);
        self.http.get(url).send().await.unwrap().status().as_u16()
    }

    async fn until_health(&self, path: &str, status: u16) {
        eventually_async(&format!("{path} says {status}"), async || {
            self.health(path).await == status
        })
        .await;
    }

    /// The same harness with another gateway, of a config that was changed.
    async fn again(mut self, change: impl Fn(String) -> String) -> Self {
        let config = change(self.gateway.config());
        self.gateway = Gateway::start(&config).await;
        self
    }

    async fn ask(&self, path: &str) -> u16 {
        let body = json!({"model": "text-embedding-3-small", "input": "x"});
        let answer = match path {
            CHAT => self.chat().await,
            path => self.post(path).json(&body).send().await.unwrap(),
        };
        answer.status().as_u16()
    }
}

const EMBEDDINGS: &str = "/openai/v1/embeddings";

/// Leaves the first model alone.
fn only_gpt_4o(config: String) -> String {
    let (before, rest) = config.split_once("  text-embedding-3-small:\n").unwrap();
    let (_, after) = rest.split_once("clients:").unwrap();
    format!("{before}clients:{after}")
}

fn required(config: String) -> String {
    config.replacen("  gpt-4o:\n", "  gpt-4o:\n    required: true\n", 1)
}

#[tokio::test]
async fn a_gateway_without_any_token_is_neither_healthy_nor_ready_and_becomes_both_with_its_first()
{
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let nobody = crate::harness::free_address();
    let config = |config: String| {
        let (before, rest) = config
            .split_once("managed_identity: { endpoint: \"")
            .unwrap();
        let (_, after) = rest.split_once('"').unwrap();
        format!("{before}managed_identity: {{ endpoint: \"http://{nobody}\"{after}")
    };
    let harness = harness.again(config).await;
    eventually_async("its requests are refused", async || {
        harness.ask(CHAT).await == 503
    })
    .await;
    assert_eq!(
        (harness.health("/health").await, harness.readiness().await),
        (503, 503)
    );
    let live = format!("http://{}/health/live", harness.gateway.admin);
    assert_eq!(harness.http.get(live).send().await.unwrap().status(), 200);

    // One instance that is asked with a key is enough.
    let harness = harness
        .again(|config| config.replace("identity: vm", "identity: legacy"))
        .await;
    assert_eq!(
        (harness.health("/health").await, harness.readiness().await),
        (200, 200)
    );
}

#[tokio::test]
async fn while_no_model_can_be_served_health_says_503_at_once_and_comes_back_after_rise() {
    let more = format!("{QUICK}health: {{ fall: 1h, rise: 600ms }}\n");
    let harness = Harness::open_with(&[("a", 1, 1), ("b", 2, 1)], &more).await;
    let harness = harness.again(only_gpt_4o).await;
    harness.until_health("/health", 200).await;
    for instance in ["a", "b"] {
        harness.fault(instance, status(401, &[]));
    }
    assert_eq!(harness.ask(CHAT).await, 503);
    assert_eq!(
        (harness.health("/health").await, harness.readiness().await),
        (503, 503)
    );
    for instance in ["a", "b"] {
        harness.fault(instance, None);
    }
    eventually_async("it serves again", async || harness.ask(CHAT).await == 200).await;
    let back = Instant::now();
    harness.until_health("/health", 200).await;
    // Half a second may pass between two looks at it.
    assert!(back.elapsed() > Duration::from_millis(50));
    assert_eq!(harness.readiness().await, 200);
    let said = harness.gateway.stderr();
    for event in ["health_down", "health_up"] {
        assert!(said.contains(&format!("\"event\":\"{event}\"")), "{said}");
    }
}

#[tokio::test]
async fn a_required_model_takes_health_with_it_after_fall_and_another_does_not() {
    let more = format!("{QUICK}health: {{ fall: 1s, rise: 0s }}\n");
    let harness = Harness::open_with(&[("a", 1, 1)], &more).await;
    let harness = harness.again(required).await;
    harness.until_health("/health", 200).await;
    let set = |deployment: &str, fault| {
        let fault: Option<FaultKind> = fault;
        let fault = fault.map(Into::into);
        let set = harness.simulator.set_fault("a", Some(deployment), fault);
        set.unwrap();
    };
    set("a-text-embedding-3-small", Some(FaultKind::Reset {}));
    // Twice: it could be the request's own doing.
    assert_eq!(harness.ask(EMBEDDINGS).await, 503);
    assert_eq!(harness.ask(EMBEDDINGS).await, 503);
    let path = "/health/models/text-embedding-3-small";
    assert_eq!(harness.health(path).await, 503);
    assert_eq!(harness.health("/health").await, 200);

    set("a-gpt-4o", Some(FaultKind::Reset {}));
    let down = Instant::now();
    assert_eq!(harness.ask(CHAT).await, 503);
    // Trials that fail are no break in it.
    eventually_async("health falls", async || {
        let _ = harness.ask(CHAT).await;
        harness.health("/health").await == 503
    })
    .await;
    assert!(down.elapsed() >= Duration::from_secs(1));
    assert!(
        harness
            .gateway
            .stderr()
            .contains("no deployment is available for required models: gpt-4o")
    );
    set("a-gpt-4o", None);
    eventually_async("it serves again", async || harness.ask(CHAT).await == 200).await;
    harness.until_health("/health", 200).await;
}

#[tokio::test]
async fn throttling_alone_is_healthy_unless_the_operator_says_otherwise() {
    for (word, expected) in [("healthy", 200), ("unhealthy", 503)] {
        let more = format!("health: {{ fall: 100ms, rise: 0s, throttled: {word} }}\n");
        let harness = Harness::open_with(&[("a", 1, 1)], &more).await;
        let harness = harness.again(|config| required(only_gpt_4o(config))).await;
        harness.until_health("/health", 200).await;
        harness.fault("a", throttle(60.0));
        assert_eq!(harness.ask(CHAT).await, 429);
        harness.until_health("/health/models/gpt-4o", 503).await;
        match expected {
            503 => harness.until_health("/health", 503).await,
            _ => {
                // Longer than fall, and than the gateway's own looks are apart.
                tokio::time::sleep(Duration::from_millis(1200)).await;
                assert_eq!(harness.health("/health").await, 200);
            }
        }
    }
}
