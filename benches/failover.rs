//! How long a request is on its way from a deployment that failed to the next one.
//!
//! `cargo bench --bench failover` starts a simulator in this process and the gateway as one of its own, on loopback, and
//! sends chats one after another (`REQUESTS` of each kind, 2,000 unless given). The times are the simulator's: from the
//! moment the first deployment has decided how it fails until the next one has read the request's head, so that writing,
//! the loopback twice and reading are in them. Where nothing listens nobody sees the failure: there it is from the moment
//! before the client sends.

use std::{
    env,
    error::Error,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use forebay::simulator::{self, Config, FaultKind, SeenRequest, Simulator};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const KEY: &str = "a-key-of-the-bench";
const BODY: &str =
    r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Why do dams spill?"}]}"#;
/// Unmeasured, so that connections are there.
const WARM_UP: usize = 50;
const PATIENCE: Duration = Duration::from_secs(10);

/// How the first deployment fails.
enum Way {
    Answers(FaultKind),
    Gone,
    /// It doesn't: from the client to the first deployment, for comparison.
    Well,
}

fn main() -> Result<()> {
    let requests = env::var("REQUESTS").ok().and_then(|text| text.parse().ok());
    let requests = requests.unwrap_or(2_000);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let simulator = runtime.block_on(simulator::start(Config::parse(&simulation())?))?;
    let gateway = Gateway::start(&simulator)?;
    println!(
        "{:34} {:>9} {:>9} {:>9} {:>9}",
        "microseconds, of each", "p50", "p90", "p99", "most"
    );
    for (name, way) in [
        ("well (client to deployment)", Way::Well),
        ("429", Way::Answers(status(429)?)),
        ("503", Way::Answers(status(503)?)),
        ("reset", Way::Answers(FaultKind::Reset {})),
        ("refused (client to next deployment)", Way::Gone),
    ] {
        runtime.block_on(prepare(&simulator, &way))?;
        let times = measure(&simulator, &gateway, &way, requests)?;
        report(name, times);
        runtime.block_on(simulator.up("first"))?;
    }
    Ok(())
}

/// A wait of zero, so that the first deployment is asked each time.
fn status(status: u16) -> Result<FaultKind> {
    let fault = format!(r#"{{"kind":"status","status":{status},"headers":{{"retry-after":"0"}}}}"#);
    Ok(simulator::Fault::parse(fault.as_bytes())?.kind)
}

async fn prepare(simulator: &Simulator, way: &Way) -> Result<()> {
    let fault = match way {
        Way::Answers(fault) => Some(fault.clone().into()),
        Way::Gone | Way::Well => None,
    };
    simulator.set_fault("first", None, fault)?;
    if let Way::Gone = way {
        simulator.down("first").await?;
    }
    Ok(())
}

/// One request after another; each one's way in microseconds.
fn measure(
    simulator: &Simulator,
    gateway: &Gateway,
    way: &Way,
    requests: usize,
) -> Result<Vec<u64>> {
    let mut client = Client::connect(gateway.address)?;
    let mut times = Vec::with_capacity(requests);
    for number in 0..WARM_UP + requests {
        simulator.clear_requests();
        let sent = simulator.clock();
        client.ask()?;
        let time = way_of(simulator, way, sent).ok_or("a request took another way")?;
        if number >= WARM_UP {
            times.push(time);
        }
    }
    Ok(times)
}

fn way_of(simulator: &Simulator, way: &Way, sent: Duration) -> Option<u64> {
    let first =
        |instance| -> Option<SeenRequest> { simulator.requests(Some(instance)).into_iter().next() };
    let sent = u64::try_from(sent.as_micros()).ok()?;
    match way {
        Way::Well => first("first")?.arrived_us.checked_sub(sent),
        Way::Gone => first("next")?.arrived_us.checked_sub(sent),
        Way::Answers(_) => {
            let failed = first("first")?;
            let failed = failed.arrived_us + failed.took_us?;
            first("next")?.arrived_us.checked_sub(failed)
        }
    }
}

fn report(name: &str, mut times: Vec<u64>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    println!(
        "{name:34} {:>9} {:>9} {:>9} {:>9}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}

/// A connection that stays open.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn ask(&mut self) -> Result<()> {
        let length = BODY.len();
        let request = format!(
            "POST /openai/v1/chat/completions HTTP/1.1\r\nhost: g\r\napi-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{BODY}"
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let (mut line, mut length) = (String::new(), 0);
        self.0.read_line(&mut line)?;
        if !line.contains(" 200 ") {
            return Err(format!("not served: {line}").into());
        }
        while line != "\r\n" {
            line.clear();
            self.0.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        self.0.read_exact(&mut vec![0; length])?;
        Ok(())
    }
}

fn simulation() -> String {
    let instance = "keys: [k], deployments: { gpt-4o: { model: gpt-4o } }";
    format!("instances: {{ first: {{ {instance} }}, next: {{ {instance} }} }}")
}

/// The gateway's process; ended when dropped.
struct Gateway {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Gateway {
    fn start(simulator: &Simulator) -> Result<Self> {
        let folder = env::temp_dir().join(format!("forebay-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let endpoint = |name| simulator.address(name).ok_or("an instance of the bench");
        let file = folder.join("forebay.yaml");
        fs::write(
            &file,
            config(address, endpoint("first")?, endpoint("next")?)?,
        )?;
        let child = Command::new(env!("CARGO_BIN_EXE_forebay"))
            .args(["serve", "--config"])
            .arg(&file)
            .current_dir(&folder)
            .stderr(Stdio::null())
            .spawn()?;
        let gateway = Self {
            child,
            address,
            folder,
        };
        let give_up = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > give_up {
                return Err("the gateway does not start".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(gateway)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// No fault sets the first deployment aside, and none is too many.
fn config(address: SocketAddr, first: SocketAddr, next: SocketAddr) -> Result<String> {
    let hash = forebay::config::hash_key(KEY)?.hash;
    Ok(format!(
        "listeners: [{{ address: \"{address}\" }}]\nlog: {{ access: access.jsonl }}\n\
         identities: {{ key: {{ api_key: k }} }}\ninstances:\n  first: {{ endpoint: \"http://{first}\", identity: key }}\n  \
         next: {{ endpoint: \"http://{next}\", identity: key }}\n\
         models: {{ gpt-4o: {{ deployments: [{{ instance: first, priority: 1 }}, {{ instance: next, priority: 2 }}] }} }}\n\
         clients: {{ bench: {{ keys: [\"{hash}\"], models: [\"*\"] }} }}\n\
         failover: {{ retry_budget: {{ floor: 1000000 }} }}\nbreaker: {{ faults: 1000, window: 1ms }}\n"
    ))
}
