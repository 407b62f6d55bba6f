//! What a config file says, checked whole: nothing that reads a plan checks it again.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use crate::domain::{
    breaker::Settings,
    client::{Clients, KeyHash, certificate::Entry, issuer::Issuer},
    collector::Collector,
    cors::Cors,
    deployment::{Bounds, Instance, Model},
    forwarding::Forwarding,
    front_door::FrontDoor,
    health,
    identity::Identity,
    price::Prices,
    quota::Calendar,
    redaction::Redaction,
    rotation::Rotation,
};

/// Everything the gateway is built from.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Tells this file from another, in metrics.
    pub hash: String,
    pub listeners: Vec<Listener>,
    /// Where metrics, health and status are served; `None`: nowhere.
    pub admin: Option<Admin>,
    /// What clients must come through; `None`: nothing.
    pub front_door: Option<FrontDoor>,
    /// Which web pages may ask; `None`: none.
    pub cors: Option<Cors>,
    /// Whether anyone may ask how a model is.
    pub tells_models: bool,
    pub identities: Vec<Arc<Identity>>,
    pub instances: Vec<Arc<Instance>>,
    pub models: Vec<Model>,
    /// What tokens cost; `None`: costs are not counted.
    pub prices: Option<Prices>,
    pub clients: Clients,
    /// Whose tokens clients show: those of `issuers:`, and the Entra tenants that clients name.
    pub issuers: Vec<Arc<Issuer>>,
    pub bounds: Bounds,
    pub breaker: Settings,
    pub retry_budget: RetryBudget,
    pub counters: Counters,
    pub server: Server,
    /// When `/health` says 503.
    pub health: health::Settings,
    pub drain: Drain,
    pub log: Log,
    /// Where traces and metrics are sent; `None`: nowhere.
    pub otlp: Option<Collector>,
    pub metrics: Metrics,
    /// Whether answers say which deployment served them (`x-forebay-deployment`, `x-forebay-attempts`).
    pub reveal: bool,
}

/// An address that clients connect to.
#[derive(Clone, Debug)]
pub struct Listener {
    pub address: SocketAddr,
    pub tls: Option<TlsFiles>,
    /// What comes beyond so many connections is closed at once.
    pub max_connections: usize,
}

/// The operators' own address.
#[derive(Clone, Debug)]
pub struct Admin {
    pub address: SocketAddr,
    pub tls: Option<TlsFiles>,
    /// What its readers show; beside a certificate, where `operators` are named.
    pub token: Option<KeyHash>,
    /// Whose certificates are operators'; empty: none is asked for.
    pub operators: Vec<Entry>,
}

/// A listener's certificate chain and private key (PEM); both were readable and fit when the plan was made.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub of_clients: Option<AskedOfClients>,
}

/// The certificates that clients show.
#[derive(Clone, Debug)]
pub struct AskedOfClients {
    /// The authorities that sign them (PEM).
    pub authorities: PathBuf,
    /// Whether a client without one is turned away in the handshake.
    pub required: bool,
}

/// `server:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Worker threads; one a core unless given.
    pub threads: usize,
    /// All of a request's header lines together, in bytes.
    pub max_headers: usize,
    /// For a request's head to arrive, and the longest pause while its body does.
    pub header_timeout: Duration,
    /// For a request's body to arrive.
    pub body_timeout: Duration,
    /// For a TLS handshake.
    pub handshake_timeout: Duration,
    /// How long a client may leave unread what is written to it.
    pub write_timeout: Duration,
    /// Which of a client's headers go on.
    pub forwarding: Forwarding,
    /// How long a stream may be quiet before something is written into it; `None`: for ever.
    pub stream_keepalive: Option<Duration>,
}

/// `failover.retry_budget:`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Of the requests, 0 to 1.
    pub share: f64,
    /// Moves a second, however few requests there are.
    pub floor: u32,
}

/// `counters:` what clients' limits are counted by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// What keeps hours, days and months through a restart; `None`: nothing does.
    pub file: Option<PathBuf>,
    /// Whose hours, days and months they are.
    pub calendar: Calendar,
}

/// `drain:` what a termination signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long `/health` says 503 while requests are still taken.
    pub notice: Duration,
    /// How long running requests may then take to end.
    pub deadline: Duration,
}

/// `log:`
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The access log's; `None`: stderr.
    pub access: Option<LogFile>,
    /// The usage records'; `None`: there are none.
    pub usage: Option<LogFile>,
    pub prompts: Option<Prompts>,
}

/// `log.prompts:`
#[derive(Clone, Debug)]
pub struct Prompts {
    pub file: LogFile,
    /// How much of a body is kept, in bytes.
    pub max_bytes: usize,
    pub redaction: Redaction,
}

/// A log's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    pub path: PathBuf,
    /// When it is put aside; `None`: never.
    pub rotation: Option<Rotation>,
}

/// `metrics:` how far clients are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// So many clients have a label of their own, in the config's order.
    pub clients: usize,
    /// So many series may carry one.
    pub client_series: usize,
}
