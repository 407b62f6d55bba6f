//! Simulator and gateway together on an embedded config: no file, no cloud, loopback only.

mod traffic;

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{
    app::{self, StartError, Watch},
    config,
    domain::{breaker::BreakerState, pool::Pool},
    simulator::{self, Simulator},
    telemetry::metrics::Metrics,
};

/// The simulated instances: a small PTU that overflows at a dozen chats a minute, and two standard ones.
const SIMULATOR: &str = include_str!("demo/simulator.yaml");
/// The gateway's config, with `${env:…}` for the addresses that are known once the simulator runs.
const GATEWAY: &str = include_str!("demo/forebay.yaml");
const INSTANCES: [(&str, &str); 3] = [
    ("swc-ptu", "SWC_PTU"),
    ("swc-std", "SWC_STD"),
    ("frc-std", "FRC_STD"),
];

/// Why the demo can't start.
#[derive(Debug, Error)]
pub enum DemoError {
    #[error("{0}; choose others with --port and --admin-port")]
    Taken(StartError),
    #[error(transparent)]
    Start(StartError),
    #[error("the built-in config of the {part} is wrong: {reason}")]
    Config { part: &'static str, reason: String },
    #[error("the simulator can't start: {0}")]
    Simulator(#[from] io::Error),
}

impl From<StartError> for DemoError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Listen { .. } => Self::Taken(error),
            other => Self::Start(other),
        }
    }
}

/// Runs until a signal ends it. Returns only if it can't start. `with_traffic`: two clients ask all the time.
pub fn run(
    port: u16,
    admin_port: u16,
    with_traffic: bool,
) -> Result<std::convert::Infallible, DemoError> {
    for port in [port, admin_port] {
        app::is_free(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    }
    let simulation =
        simulator::Config::parse(SIMULATOR).map_err(|error| wrong("simulator", &error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let simulator = runtime.block_on(simulator::start(simulation))?;
    let variables = variables(&simulator, port, admin_port);
    let loaded = config::parse(GATEWAY.as_bytes(), Path::new("demo"), &|name| {
        variables.get(name).cloned()
    });
    let plan = loaded.map_err(|problems| wrong("gateway", &problems))?.plan;
    println!("{}", welcome(port, admin_port, simulator.control()));
    if with_traffic {
        traffic::begin(port)?;
    }
    let watch: Watch = Box::new(move |pools, metrics| {
        thread::spawn(move || report(&pools, &metrics, with_traffic));
    });
    Ok(app::serve_watched(plan, Some(watch))?)
}

fn wrong(part: &'static str, reason: &dyn std::fmt::Display) -> DemoError {
    DemoError::Config {
        part,
        reason: reason.to_string(),
    }
}

fn variables(simulator: &Simulator, port: u16, admin_port: u16) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::from([
        ("PORT".to_owned(), port.to_string()),
        ("ADMIN_PORT".to_owned(), admin_port.to_string()),
    ]);
    let addresses = INSTANCES
        .iter()
        .filter_map(|(name, variable)| Some((*variable, simulator.address(name)?)));
    variables
        .extend(addresses.map(|(variable, address)| (variable.to_owned(), address.to_string())));
    variables.extend(
        simulator
            .tokens()
            .map(|address| ("TOKENS".to_owned(), address.to_string())),
    );
    variables
}

fn welcome(port: u16, admin_port: u16, control: SocketAddr) -> String {
    let chat =
        r#"'{"model":"gpt-4o","messages":[{"role":"user","content":"Why do dams spill?"}]}'"#;
    let stream = chat.replace(r#"{"model""#, r#"{"stream":true,"model""#);
    format!(
        "Forebay demo: clients on http://127.0.0.1:{port}, dashboard on http://127.0.0.1:{admin_port}/ (also /status and /metrics).\n\
         Model gpt-4o; client keys: demo, and batch with a limit of 30 requests per minute. A small PTU is tried first, then two\n\
         standard deployments. `--traffic` generates traffic of both clients. Press Ctrl-C to stop.\n\n\
         A chat; its response headers show the deployment and the remaining limits:\n  curl -si http://127.0.0.1:{port}/openai/v1/chat/completions -H 'api-key: demo' -H 'content-type: application/json' -d {chat}\n\n\
         A stream:\n  curl -siN http://127.0.0.1:{port}/openai/v1/chat/completions -H 'api-key: demo' -H 'content-type: application/json' -d {stream}\n\n\
         Throttle the PTU for 20 seconds, then chat again to see the failover:\n  curl -s -X PUT http://{control}/instances/swc-ptu/deployments/gpt-4o-ptu/fault -d '{{\"kind\":\"throttle\",\"seconds\":20}}'\n"
    )
}

/// What each client got so far, and what that cost.
fn spent(metrics: &Metrics) -> String {
    let answers: Vec<_> = metrics
        .answers()
        .into_iter()
        .map(|((client, code), count)| format!("{client} {code}: {count}"))
        .collect();
    format!("| {}   {:.4} EUR", answers.join(", "), metrics.cost())
}

/// A line a second that shows which deployment served what, and with traffic what clients got and what it cost. On a
/// terminal a quiet second is written over.
fn report(pools: &[Arc<Pool>], metrics: &Metrics, with_traffic: bool) {
    let (mut before, mut second) = (BTreeMap::new(), 0_u64);
    let mut out = io::stdout();
    let in_place = out.is_terminal();
    loop {
        thread::sleep(Duration::from_secs(1));
        second += 1;
        let (at, now) = (Instant::now(), metrics.attempts());
        let line = pools.iter().flat_map(|pool| pool.members()).map(|member| {
            let deployment = member.deployment();
            let of_it = now.iter().filter(|((instance, name, _), _)| {
                *instance == deployment.instance.name.as_str() && *name == deployment.name.as_str()
            });
            let news = of_it.filter_map(|(key, count)| {
                let new = count - before.get(key).copied().unwrap_or(0);
                (new > 0).then(|| format!("{new} {}", key.2))
            });
            let news: Vec<_> = news.collect();
            let news = if news.is_empty() {
                "-".to_owned()
            } else {
                news.join(" ")
            };
            let paused = if matches!(member.state(at), BreakerState::Open { .. }) {
                " (unavailable)"
            } else {
                ""
            };
            format!("{}{paused}: {news}", deployment.instance.name)
        });
        let mut line: Vec<_> = line.collect();
        if with_traffic {
            line.push(spent(metrics));
        }
        let quiet = now == before;
        before = now;
        let end = if quiet && in_place {
            "\x1b[K\r"
        } else {
            "\x1b[K\n"
        };
        let end = if in_place { end } else { "\n" };
        if write!(out, "{second:>5} s  {}{end}", line.join("   "))
            .and_then(|()| out.flush())
            .is_err()
        {
            return;
        }
    }
}
