//! What a test stands on: a simulator in this process, and the gateway as a process of its own.

mod configs;
mod gateway;
mod process;
mod requests;

use std::{
    fs,
    time::{Duration, Instant},
};

use forebay::simulator::{self, Config, Fault, FaultKind, SeenRequest, Simulator};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response};
use serde_json::Value;

use crate::metrics_page;

use configs::{gateway_config, simulation};

pub(crate) use gateway::Gateway;
pub(crate) use process::{Process, exit_and_output, folder, forebay, free_address, output_of};
pub(crate) use requests::{CHAT, chat, chat_of, error_of, served_by, status, streamed, throttle};

pub(crate) const KEY: &str = "a-key-of-the-tests";
/// The api-key that every other instance is asked with.
pub(crate) const INSTANCE_KEY: &str = "an-instance-key";
/// How long a condition may take to become true before the test has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Harness {
    pub(crate) simulator: Simulator,
    pub(crate) gateway: Gateway,
    pub(crate) http: Client,
}

impl Harness {
    /// Instances of `(name, priority, weight)`; each serves gpt-4o as `NAME-gpt-4o`, and embeddings likewise.
    pub(crate) async fn open(instances: &[(&str, u32, u32)]) -> Self {
        Self::open_with(instances, "").await
    }

    /// The same, with more lines for the gateway's config.
    pub(crate) async fn open_with(instances: &[(&str, u32, u32)], more: &str) -> Self {
        let simulator = simulator::start(Config::parse(&simulation(instances)).unwrap())
            .await
            .unwrap();
        let config = gateway_config(&simulator, instances, more);
        let gateway = Gateway::start(&config).await;
        let harness = Self {
            simulator,
            gateway,
            http: client(),
        };
        // A request would wait for the first token, and a question for health would not.
        eventually_async("every model can be served", async || {
            harness.is_ready().await
        })
        .await;
        harness
    }

    async fn is_ready(&self) -> bool {
        let url = format!("http://{}/health/ready", self.gateway.admin);
        let answer = self.http.get(url).send().await.unwrap();
        answer.status().is_success()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.address)
    }

    /// A request with the client's key.
    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        let request = self.http.post(self.url(path)).header("api-key", KEY);
        request.header("content-type", "application/json")
    }

    pub(crate) async fn chat(&self) -> Response {
        self.post(CHAT).json(&chat()).send().await.unwrap()
    }

    pub(crate) fn fault(&self, instance: &str, fault: impl Into<Option<FaultKind>>) {
        let fault = fault.into().map(Fault::from);
        self.simulator.set_fault(instance, None, fault).unwrap();
    }

    /// Closes an instance's port, or opens it again.
    pub(crate) async fn switch(&self, instance: &str, to: &str) {
        let url = format!(
            "http://{}/instances/{instance}/{to}",
            self.simulator.control()
        );
        assert!(
            self.http
                .request(Method::POST, url)
                .send()
                .await
                .unwrap()
                .status()
                .is_success()
        );
    }

    /// How many requests an instance has been asked.
    pub(crate) fn asked(&self, instance: &str) -> u64 {
        let stats = self.simulator.stats();
        stats.instances[instance]
            .deployments
            .values()
            .map(|page| page.requests)
            .sum()
    }

    pub(crate) fn seen(&self, instance: &str) -> Vec<SeenRequest> {
        self.simulator.requests(Some(instance))
    }

    pub(crate) async fn metrics(&self) -> String {
        metrics_page::page(&self.http, self.gateway.admin).await
    }

    pub(crate) async fn status(&self) -> Value {
        let url = format!("http://{}/status", self.gateway.admin);
        self.http
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    /// The access log once it has `lines` lines.
    pub(crate) async fn log(&self, lines: usize) -> Vec<Value> {
        self.lines_of("access.jsonl", lines).await
    }

    /// The usage records, likewise.
    pub(crate) async fn usage_records(&self, lines: usize) -> Vec<Value> {
        self.lines_of("usage.jsonl", lines).await
    }

    /// What a log's file holds once it has `lines` lines.
    pub(crate) async fn lines_of(&self, file: &str, lines: usize) -> Vec<Value> {
        let file = self.gateway.folder.join(file);
        eventually("the log is long enough", || {
            fs::read_to_string(&file).is_ok_and(|text| text.lines().count() >= lines)
        })
        .await;
        let text = fs::read_to_string(&file).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Waits for a condition, never for a length of time.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < give_up, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The same for a condition that has to be asked for.
pub(crate) async fn eventually_async(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < give_up, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client over HTTP/1.1.
pub(crate) fn client() -> Client {
    client_builder().build().unwrap()
}

pub(crate) fn client_builder() -> ClientBuilder {
    // The second time it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // An answer that comes later than this comes too late for any test.
    Client::builder().no_proxy().timeout(2 * PATIENCE)
}
