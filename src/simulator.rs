//! Simulated Azure OpenAI instances: they answer, stall, throttle and break on demand.
//!
//! Tests, the demo and the benchmarks use this one. In process: [`start`] gives a [`Simulator`] whose methods switch
//! faults and read the books. From the command line: [`simulate`]. Over HTTP: the control endpoint.
//!
//! Reading order: `config` (what is simulated), `server` and `wire` (ports and connections), `instance` and `passage` (a
//! request's way), `route`, `ask` (what it wants), `operations` and the rooms it names (`chat`, …: the answers'
//! shapes), `realtime` (sessions), `body` (how an answer goes out or breaks off), `raw` (what no honest server sends), `limits`,
//! `faults`, `latency`, `tokens` (decisions), `books` and `visit` (what is counted), `control`, `token_endpoint` with `imds` and
//! `applications`.

mod answer;
mod applications;
mod ask;
mod body;
mod books;
mod chat;
mod completions;
mod config;
mod control;
mod deployment;
mod embeddings;
mod encode;
mod faults;
mod headers;
mod imds;
mod instance;
mod issuer;
mod latency;
mod limits;
mod media;
mod models;
mod operations;
mod passage;
mod raw;
mod realtime;
mod refusal;
mod responses;
mod route;
mod server;
#[cfg(test)]
mod tests;
mod text;
mod token_endpoint;
mod tokens;
mod visit;
mod wire;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

pub use books::{Books, Ending, InstanceBook, Page, Seen, Spent, TokenBook};
pub use config::{Capacity, Config, ConfigError, Kind, Record};
pub use faults::{ErrorForm, ErrorType, Fault, FaultKind, OddUsage, StreamEnd, StreamError};
pub use issuer::{Issuer, IssuerFault};
pub use raw::{Piece, Raw, RawEnd};
pub use refusal::Wording;
pub use tokens::TokenFault;

use books::Ring;
use control::Control;
use faults::Board;
use instance::Instance;
use server::Door;
use token_endpoint::TokenEndpoint;
use tokens::Mint;

/// A running simulation; stops when dropped.
pub struct Simulator {
    house: Arc<House>,
    control: Door<Control>,
    tokens: Option<Door<TokenEndpoint>>,
}

/// Everything that the control endpoint and the simulator's own methods work on.
pub(crate) struct House {
    instances: BTreeMap<String, (Arc<Instance>, Door<Instance>)>,
    pub(crate) mint: Arc<Mint>,
    pub(crate) issuer: Option<Issuer>,
    ring: Arc<Ring>,
}

/// A name that isn't simulated, or a fault that doesn't fit there.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    #[error("no instance {name:?}; there are: {known}")]
    Instance { name: String, known: String },
    #[error("no deployment {name:?} on this instance; there are: {known}, and * for all")]
    Deployment { name: String, known: String },
    #[error("reset_on_connect strikes before any deployment is named: set it on deployment *")]
    NotForOne,
    #[error(transparent)]
    Port(#[from] io::Error),
}

/// Binds every port, and answers from now on, in the runtime this is called in.
pub async fn start(config: Config) -> io::Result<Simulator> {
    let tokens = config.tokens.as_ref();
    let lifetime = tokens.map_or(Duration::ZERO, |tokens| tokens.lifetime);
    let kept_for = tokens.map_or(0.0, |tokens| tokens.kept_for);
    let mint = Arc::new(Mint::new(lifetime, kept_for, config.seed));
    let ring = Arc::new(Ring::new(Instant::now()));
    let mut instances = BTreeMap::new();
    for (name, setup) in &config.instances {
        let remembered = (config.record == Record::Full).then(|| ring.clone());
        let instance = Arc::new(Instance::new(
            name,
            setup,
            config.seed,
            mint.clone(),
            remembered,
        ));
        let door = Door::open(setup.address, setup.tls.as_ref(), instance.clone()).await?;
        instances.insert(name.clone(), (instance, door));
    }
    let tokens = match &config.tokens {
        Some(setup) => Some(
            Door::open(
                setup.address,
                setup.tls.as_ref(),
                Arc::new(TokenEndpoint::new(mint.clone(), setup)),
            )
            .await?,
        ),
        None => None,
    };
    let issuer = match &config.issuer {
        Some(setup) => Some(Issuer::open(setup).await?),
        None => None,
    };
    let house = Arc::new(House {
        instances,
        mint,
        issuer,
        ring,
    });
    let control = Door::open(config.control, None, Arc::new(Control(house.clone()))).await?;
    Ok(Simulator {
        house,
        control,
        tokens,
    })
}

impl Simulator {
    /// Where an instance listens.
    pub fn address(&self, instance: &str) -> Option<SocketAddr> {
        self.house
            .instances
            .get(instance)
            .map(|(_, door)| door.address())
    }

    pub fn control(&self) -> SocketAddr {
        self.control.address()
    }

    /// Where tokens come from, if they do.
    pub fn tokens(&self) -> Option<SocketAddr> {
        self.tokens.as_ref().map(Door::address)
    }

    /// The issuer of clients' tokens, if there is one.
    pub fn issuer(&self) -> Option<&Issuer> {
        self.house.issuer.as_ref()
    }

    /// What was counted so far.
    pub fn books(&self) -> Books {
        self.house.books()
    }

    /// Starts counting anew.
    pub fn clear_books(&self) {
        self.house.clear_books();
    }

    /// What is remembered of the last requests, oldest first; of one instance, or of all.
    pub fn requests(&self, instance: Option<&str>) -> Vec<Seen> {
        self.house.requests(instance)
    }

    /// How long it has run: what the times of requests are counted by.
    pub fn clock(&self) -> Duration {
        self.house.ring.clock()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.house.clear_requests();
    }

    /// Sets or clears a fault; without a deployment, on the whole instance.
    pub fn set_fault(
        &self,
        instance: &str,
        deployment: Option<&str>,
        fault: Option<Fault>,
    ) -> Result<(), Unknown> {
        self.house.set_fault(instance, deployment, fault)
    }

    /// Closes an instance's port and connections: nothing listens there any more when this returns.
    pub async fn down(&self, instance: &str) -> Result<(), Unknown> {
        self.house.down(instance).await
    }

    /// Opens the same port again.
    pub async fn up(&self, instance: &str) -> Result<(), Unknown> {
        self.house.up(instance).await
    }

    /// What the token endpoints do instead of their work.
    pub fn set_token_fault(&self, fault: Option<TokenFault>) {
        self.house.mint.set_fault(fault);
    }

    /// From now on the tokens issued so far are refused.
    pub fn revoke_tokens(&self) {
        self.house.mint.revoke(false);
    }

    /// The same, but a machine's own endpoint goes on handing out those that it keeps.
    pub fn revoke_tokens_but_keep_them(&self) {
        self.house.mint.revoke(true);
    }
}

impl House {
    fn named(&self, instance: &str) -> Result<&(Arc<Instance>, Door<Instance>), Unknown> {
        self.instances
            .get(instance)
            .ok_or_else(|| Unknown::Instance {
                name: instance.to_owned(),
                known: listed(self.instances.keys()),
            })
    }

    pub(crate) fn board(
        &self,
        instance: &str,
        deployment: Option<&str>,
    ) -> Result<&Board, Unknown> {
        let (instance, _) = self.named(instance)?;
        let Some(name) = deployment else {
            return Ok(&instance.faults);
        };
        let unknown = || Unknown::Deployment {
            name: name.to_owned(),
            known: listed(instance.deployments.keys()),
        };
        Ok(&instance.deployments.get(name).ok_or_else(unknown)?.faults)
    }

    pub(crate) async fn down(&self, instance: &str) -> Result<(), Unknown> {
        self.named(instance)?.1.down().await;
        Ok(())
    }

    pub(crate) async fn up(&self, instance: &str) -> Result<(), Unknown> {
        Ok(self.named(instance)?.1.up().await?)
    }

    pub(crate) fn books(&self) -> Books {
        let instances = self
            .instances
            .iter()
            .map(|(name, (instance, _))| (name.clone(), instance.book()));
        Books {
            instances: instances.collect(),
            tokens: self.mint.book(),
        }
    }

    pub(crate) fn clear_books(&self) {
        self.instances
            .values()
            .for_each(|(instance, _)| instance.clear_book());
        self.mint.clear_book();
    }

    pub(crate) fn requests(&self, instance: Option<&str>) -> Vec<Seen> {
        self.ring.requests(instance)
    }

    pub(crate) fn clear_requests(&self) {
        self.ring.clear();
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    names.sort_unstable();
    names.join(", ")
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
    for (name, (_, door)) in &simulator.house.instances {
        println!(
            "{name} {}://{}",
            scheme(secure.contains(name)),
            door.address()
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
