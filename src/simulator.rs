//! Simulated Azure OpenAI instances: they answer, stall, throttle and break on demand.
//!
//! Tests, the demo and the benchmarks use this one. In process: [`start`] gives a [`Simulator`] whose methods switch
//! faults and read the statistics. From the command line: [`simulate`]. Over HTTP: the control endpoint.
//!
//! Reading order: `config` (what is simulated), `simulation` (all of it, by name), `server` and `connection` (ports, connections,
//! and how those end), `instance` and `handler` (a request's way), `route`, `request_body` (what it wants), `answer` and the rooms
//! of the operations (`chat`, …: the answers' shapes; `choices` is chats' and completions'), `realtime` (sessions), `body` and
//! `deviation` (how an answer goes out or breaks off), `raw_answer` (what no honest server sends), `limits`, `faults`,
//! `latency`, `tokens` (decisions), `recorder` and `request_trace` (what is counted), `control`, `token_endpoint` with `imds` and
//! `applications`, `issuer` (clients' tokens). A new fault starts in `faults/kind` and is carried out in `handler/inject_fault`.

mod answer;
mod applications;
mod body;
mod chat;
mod choices;
mod completions;
mod config;
mod connection;
mod control;
mod deployment;
mod deviation;
mod embeddings;
mod encode;
mod faults;
mod generated_text;
mod handler;
mod headers;
mod imds;
mod instance;
mod issuer;
mod latency;
mod limits;
mod media;
mod models;
mod raw_answer;
mod realtime;
mod recorder;
mod refusal;
mod request_body;
mod request_trace;
mod responses;
mod route;
mod server;
mod simulation;
#[cfg(test)]
mod tests;
mod token_endpoint;
mod tokens;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

pub use config::{Capacity, Config, ConfigError, Kind, Record};
pub use faults::{
    ErrorForm, ErrorType, Fault, FaultKind, OddUsage, StreamEnd, StreamError, Wording,
};
pub use issuer::{Issuer, IssuerFault};
pub use raw_answer::{Piece, Raw, RawEnd};
pub use recorder::{Ending, InstanceStats, RequestStats, SeenRequest, Spent, Stats, TokenStats};
pub use simulation::ControlError;
pub use tokens::TokenFault;

use control::Control;
use instance::Instance;
use recorder::RequestLog;
use server::Listener;
use simulation::Simulation;
use token_endpoint::TokenEndpoint;
use tokens::TokenStore;

/// A running simulation; stops when dropped.
pub struct Simulator {
    simulation: Arc<Simulation>,
    control: Listener<Control>,
    tokens: Option<Listener<TokenEndpoint>>,
}

/// Binds every port, and answers from now on, in the runtime this is called in.
pub async fn start(config: Config) -> io::Result<Simulator> {
    let tokens = config.tokens.as_ref();
    let lifetime = tokens.map_or(Duration::ZERO, |tokens| tokens.lifetime);
    let kept_for = tokens.map_or(0.0, |tokens| tokens.kept_for);
    let token_store = Arc::new(TokenStore::new(lifetime, kept_for, config.seed));
    let request_log = Arc::new(RequestLog::new(Instant::now()));
    let mut instances = BTreeMap::new();
    for (name, setup) in &config.instances {
        let remembered = (config.record == Record::Full).then(|| request_log.clone());
        let instance = Arc::new(Instance::new(
            name,
            setup,
            config.seed,
            token_store.clone(),
            remembered,
        ));
        let listener = Listener::open(setup.address, setup.tls.as_ref(), instance.clone()).await?;
        instances.insert(name.clone(), (instance, listener));
    }
    let tokens = match &config.tokens {
        Some(setup) => Some(
            Listener::open(
                setup.address,
                setup.tls.as_ref(),
                Arc::new(TokenEndpoint::new(token_store.clone(), setup)),
            )
            .await?,
        ),
        None => None,
    };
    let issuer = match &config.issuer {
        Some(setup) => Some(Issuer::open(setup).await?),
        None => None,
    };
    let simulation = Arc::new(Simulation {
        instances,
        token_store,
        issuer,
        request_log,
    });
    let control =
        Listener::open(config.control, None, Arc::new(Control(simulation.clone()))).await?;
    Ok(Simulator {
        simulation,
        control,
        tokens,
    })
}

impl Simulator {
    /// Where an instance listens.
    pub fn address(&self, instance: &str) -> Option<SocketAddr> {
        self.simulation
            .instances
            .get(instance)
            .map(|(_, listener)| listener.address())
    }

    pub fn control(&self) -> SocketAddr {
        self.control.address()
    }

    /// Where tokens come from, if they do.
    pub fn tokens(&self) -> Option<SocketAddr> {
        self.tokens.as_ref().map(Listener::address)
    }

    /// The issuer of clients' tokens, if there is one.
    pub fn issuer(&self) -> Option<&Issuer> {
        self.simulation.issuer.as_ref()
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        self.simulation.stats()
    }

    /// Starts counting anew.
    pub fn clear_stats(&self) {
        self.simulation.clear_stats();
    }

    /// What is remembered of the last requests, oldest first; of one instance, or of all.
    pub fn requests(&self, instance: Option<&str>) -> Vec<SeenRequest> {
        self.simulation.request_log.requests(instance)
    }

    /// How long it has run: what the times of requests are counted by.
    pub fn clock(&self) -> Duration {
        self.simulation.request_log.clock()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.simulation.request_log.clear();
    }

    /// Sets or clears a fault; without a deployment, on the whole instance.
    pub fn set_fault(
        &self,
        instance: &str,
        deployment: Option<&str>,
        fault: Option<Fault>,
    ) -> Result<(), ControlError> {
        self.simulation.set_fault(instance, deployment, fault)
    }

    /// Closes an instance's port and connections: nothing listens there any more when this returns.
    pub async fn down(&self, instance: &str) -> Result<(), ControlError> {
        self.simulation.down(instance).await
    }

    /// Opens the same port again.
    pub async fn up(&self, instance: &str) -> Result<(), ControlError> {
        self.simulation.up(instance).await
    }

    /// What the token endpoints do instead of their work.
    pub fn set_token_fault(&self, fault: Option<TokenFault>) {
        self.simulation.token_store.set_fault(fault);
    }

    /// From now on the tokens issued so far are refused.
    pub fn revoke_tokens(&self) {
        self.simulation.token_store.revoke(false);
    }

    /// The same, but a machine's own endpoint goes on handing out those that it keeps.
    pub fn revoke_tokens_but_keep_them(&self) {
        self.simulation.token_store.revoke(true);
    }
}

/// Why `forebay simulate` can't run.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    #[error("{path}: {source}")]
    Unreadable { path: String, source: io::Error },
    #[error("{path}: {source}")]
    Wrong { path: String, source: ConfigError },
    #[error(transparent)]
    Failed(#[from] io::Error),
}

/// Runs the simulation that a file describes, until SIGTERM or SIGINT.
pub fn simulate(path: &Path) -> Result<(), SimulateError> {
    let name = || path.display().to_string();
    let yaml = std::fs::read_to_string(path).map_err(|source| SimulateError::Unreadable {
        path: name(),
        source,
    })?;
    let config = Config::parse(&yaml).map_err(|source| SimulateError::Wrong {
        path: name(),
        source,
    })?;
    // One thread without the machinery of many is the cheaper simulator.
    let mut runtime = match config.threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime
        .worker_threads(config.threads.max(1))
        .enable_all()
        .build()?;
    Ok(runtime.block_on(run(config))?)
}

/// Runs until SIGTERM or SIGINT; says on stdout where everything listens.
pub async fn run(config: Config) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let secure: Vec<String> = config
        .instances
        .iter()
        .filter(|(_, setup)| setup.tls.is_some())
        .map(|(name, _)| name.clone())
        .collect();
    let secure_tokens = config
        .tokens
        .as_ref()
        .is_some_and(|tokens| tokens.tls.is_some());
    let simulator = start(config).await?;
    let scheme = |secure: bool| if secure { "https" } else { "http" };
    for (name, (_, listener)) in &simulator.simulation.instances {
        println!(
            "{name} {}://{}",
            scheme(secure.contains(name)),
            listener.address()
        );
    }
    println!("control http://{}", simulator.control());
    if let Some(address) = simulator.tokens() {
        println!("tokens {}://{address}", scheme(secure_tokens));
    }
    if let Some(issuer) = simulator.issuer() {
        println!("issuer {}", issuer.url());
    }
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}
