//! What a test stands on: a simulator in this process, and the gateway as a process of its own.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    ops::Range,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use forebay::simulator::{self, Config, Fault, FaultKind, SeenRequest, Simulator};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::metrics_page;

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

/// The gateway's process; ended when dropped.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) folder: PathBuf,
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

pub(crate) const CHAT: &str = "/openai/v1/chat/completions";

pub(crate) fn chat() -> Value {
    json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Why do dams spill?"}]})
}

/// A chat whose body is about so large, and a number that makes it its own.
pub(crate) fn chat_of(size: usize, number: usize) -> Vec<u8> {
    let filler = "wasser ".repeat(size / 7);
    let chat = json!({
        "model": "gpt-4o",
        "messages": [{"role": "system", "content": filler}, {"role": "user", "content": format!("number {number}")}],
    });
    chat.to_string().into_bytes()
}

pub(crate) fn streamed() -> Value {
    let mut chat = chat();
    chat["stream"] = true.into();
    chat
}

pub(crate) fn throttle(seconds: f64) -> FaultKind {
    FaultKind::Throttle { seconds }
}

/// An answer of this status and these headers.
pub(crate) fn status(status: u16, headers: &[(&str, &str)]) -> FaultKind {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    FaultKind::Status {
        status,
        headers: headers.collect::<BTreeMap<_, _>>(),
        body: None,
    }
}

/// Which instance served an answer, by the simulator's own header.
pub(crate) fn served_by(response: &Response) -> String {
    let header = response.headers()["x-simulator-deployment"]
        .to_str()
        .unwrap();
    header.split('/').next().unwrap().to_owned()
}

pub(crate) async fn error_of(response: Response, status: u16, code: &str) -> Value {
    assert_eq!(response.status(), StatusCode::from_u16(status).unwrap());
    assert!(response.headers().contains_key("x-request-id"));
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], code, "{body}");
    assert!(
        body["error"]["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty())
    );
    body
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

fn simulation(instances: &[(&str, u32, u32)]) -> String {
    let mut yaml = "control: 127.0.0.1:0\ntokens: { address: 127.0.0.1:0, lifetime: 1h, kept_for: 0 }\nseed: 7\nrecord: full\ninstances:\n".to_owned();
    for (name, _, _) in instances {
        writeln!(
            yaml,
            "  {name}:\n    address: 127.0.0.1:0\n    keys: [{INSTANCE_KEY}]\n    api_versions: [\"*\"]\n    deployments:"
        )
        .unwrap();
        for model in ["gpt-4o", "text-embedding-3-small", "gpt-image-1"] {
            writeln!(
                yaml,
                "      {name}-{model}: {{ model: {model}, version: \"1\" }}"
            )
            .unwrap();
        }
    }
    yaml
}

/// Every other instance is asked with an api-key, the rest with tokens.
fn gateway_config(simulator: &Simulator, instances: &[(&str, u32, u32)], more: &str) -> String {
    let (tokens, key) = (
        simulator.tokens().unwrap(),
        forebay::config::hash_key(KEY).unwrap().hash,
    );
    let mut yaml = format!(
        "identities:\n  vm: {{ managed_identity: {{ endpoint: \"http://{tokens}\" }} }}\n  legacy: {{ api_key: {INSTANCE_KEY} }}\ninstances:\n"
    );
    for (i, (name, _, _)) in instances.iter().enumerate() {
        let (address, identity) = (simulator.address(name).unwrap(), ["vm", "legacy"][i % 2]);
        writeln!(
            yaml,
            "  {name}: {{ endpoint: \"http://{address}\", identity: {identity} }}"
        )
        .unwrap();
    }
    yaml.push_str("models:\n");
    for model in ["gpt-4o", "text-embedding-3-small", "gpt-image-1"] {
        writeln!(yaml, "  {model}:\n    deployments:").unwrap();
        for (name, priority, weight) in instances {
            let entry = format!(
                "instance: {name}, deployment: {name}-{model}, priority: {priority}, weight: {weight}"
            );
            writeln!(yaml, "      - {{ {entry} }}").unwrap();
        }
    }
    writeln!(
        yaml,
        "clients:\n  tests: {{ keys: [\"{key}\"], models: [\"*\"], operations: [inference, stateful, realtime, data_sources] }}\n{more}"
    )
    .unwrap();
    yaml
}

/// Stands for the gateway's own folder in a config.
pub(crate) const FOLDER: &str = "OWN_FOLDER";
const LOGS: &str = "log: { access: OWN_FOLDER/access.jsonl, usage: OWN_FOLDER/usage.jsonl }\n";

impl Gateway {
    /// Starts the binary on free ports and waits until it is ready.
    pub(crate) async fn start(config: &str) -> Self {
        Self::start_with(config, "", &[]).await
    }

    /// The same with more for its listener, and with variables in its environment.
    pub(crate) async fn start_with(
        config: &str,
        listener: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        Self::start_with_admin(config, listener, "", ("http", client()), variables).await
    }

    /// The same with more for its admin listener, and how that is asked whether it is ready.
    pub(crate) async fn start_with_admin(
        config: &str,
        listener: &str,
        guard: &str,
        (scheme, http): (&str, Client),
        variables: &[(&str, &str)],
    ) -> Self {
        let (address, admin) = (free_address(), free_address());
        let folder = folder();
        let place = folder.display().to_string();
        let config = config.replace(FOLDER, &place);
        let listeners = format!(
            "listeners: [{{ address: \"{address}\"{listener} }}]\nadmin: {{ address: \"{admin}\"{guard} }}\n"
        );
        let log = match config.contains("\nlog:") {
            true => "# The test says where logs go.\n".to_owned(),
            false => LOGS.replace(FOLDER, &place),
        };
        let file = folder.join("forebay.yaml");
        fs::write(&file, format!("{listeners}{log}{config}")).unwrap();
        let child = forebay()
            .args(["serve", "--config"])
            .arg(&file)
            .envs(variables.iter().copied())
            .stderr(File::create(folder.join("stderr")).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut gateway = Self {
            child,
            address,
            admin,
            folder,
        };
        gateway.wait_until_ready(scheme, &http).await;
        gateway
    }

    /// What it was started with, but for its listeners and its log.
    pub(crate) fn config(&self) -> String {
        let text = fs::read_to_string(self.folder.join("forebay.yaml")).unwrap();
        text.lines()
            .skip(3)
            .map(|line| format!("{line}\n"))
            .collect()
    }

    async fn wait_until_ready(&mut self, scheme: &str, http: &Client) {
        let url = format!("{scheme}://localhost:{}/health/ready", self.admin.port());
        let give_up = Instant::now() + PATIENCE;
        loop {
            // Its listeners answer from then on; whether a model can be served is some tests' own matter.
            if let Ok(answer) = http.get(&url).send().await
                && answer.text().await.is_ok_and(|text| text != "starting\n")
            {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < give_up,
                "{ended:?}: {}",
                self.stderr()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, by its name as in `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        let kill = kill.arg(format!("-{name}")).arg(self.pid().to_string());
        assert!(kill.status().unwrap().success());
    }

    /// Ends it at once, and waits until all it says is said.
    pub(crate) fn end(&mut self) {
        let give_up = Instant::now() + PATIENCE;
        while self.ended().is_none() {
            // The first begins a drain, and one behind that ends it.
            self.signal("INT");
            assert!(Instant::now() < give_up, "an interrupt did not end it");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the gateway said:\n{}", self.stderr());
        }
        let _ = fs::remove_dir_all(&self.folder);
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

/// The binary under test; another build of it where `FOREBAY_RELEASE` names one.
pub(crate) fn forebay() -> Command {
    let another = std::env::var_os("FOREBAY_RELEASE");
    Command::new(another.unwrap_or_else(|| env!("CARGO_BIN_EXE_forebay").into()))
}

/// An address that nothing listens on, and that is given to nobody else here. It lies below the ports that systems give
/// to outgoing connections, so that none of those takes it before the gateway does.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    const PORTS: Range<usize> = 10_000..32_000;
    loop {
        let start = std::process::id() as usize * 97;
        let number = start + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + number % PORTS.len();
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A new folder of this test's own.
pub(crate) fn folder() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!(
        "forebay-test-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}
