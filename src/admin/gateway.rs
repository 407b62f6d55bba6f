//! What the admin pages read of a running gateway.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use parking_lot::Mutex;

use crate::{
    domain::{
        health::HealthVerdict,
        name::{IdentityName, InstanceName, IssuerName},
        pool::Pool,
        quota::LimitStanding,
        validity::Validity,
    },
    telemetry::{failovers::Failovers, metrics::Metrics, traffic_rates::TrafficRates},
};

/// What the admin page shows of a running gateway.
pub struct Admin {
    /// The machine's name, which tells this gateway from its fellows.
    pub host: String,
    pub metrics: Arc<Metrics>,
    pub pools: Vec<Arc<Pool>>,
    /// How fast it goes, of these pools' deployments.
    pub rates: Arc<TrafficRates>,
    pub failovers: Arc<Failovers>,
    pub identities: Box<dyn Fn() -> Vec<IdentityState> + Send + Sync>,
    pub listeners: Box<dyn Fn() -> Vec<ListenerState> + Send + Sync>,
    pub issuers: Box<dyn Fn() -> Vec<IssuerState> + Send + Sync>,
    /// How many signatures of clients' tokens were checked.
    pub token_checks: Box<dyn Fn() -> u64 + Send + Sync>,
    /// How clients stand against their limits.
    pub limits: Box<dyn Fn() -> Vec<LimitStanding> + Send + Sync>,
    pub phase: Box<dyn Fn() -> Phase + Send + Sync>,
    /// What `/health` tells load balancers.
    pub health: Box<dyn Fn() -> HealthVerdict + Send + Sync>,
    pub started: Instant,
    /// Held while the metrics are brought up to date.
    pub refreshing: Mutex<()>,
}

/// How far the gateway's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its listeners don't answer yet.
    Starting,
    Serving,
    /// It was told to end: running requests are served, new ones should go elsewhere.
    Draining,
}

impl Phase {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }
}

/// How one identity stands. Nothing in it is secret.
#[derive(Clone, Debug)]
pub struct IdentityState {
    pub identity: IdentityName,
    pub kind: &'static str,
    /// Whose tokens they are, and where they are asked for; an api-key has neither.
    pub source: Option<&'static str>,
    pub asked_at: Option<String>,
    pub instances: Vec<InstanceName>,
    pub scope: Option<String>,
    /// Whether requests can be signed with it now.
    pub ready: bool,
    pub expires_on: Option<SystemTime>,
    pub failures: u64,
    pub last_error: Option<String>,
}

/// How one of the clients' listeners stands.
#[derive(Clone, Debug)]
pub struct ListenerState {
    pub address: SocketAddr,
    pub connections: usize,
    /// Where it speaks TLS.
    pub certificate: Option<Validity>,
    /// Why the certificate's files, as they are now, are not in force.
    pub certificate_error: Option<String>,
}

/// How one issuer of clients' tokens stands.
#[derive(Clone, Debug)]
pub struct IssuerState {
    pub issuer: IssuerName,
    pub url: String,
    /// Signing keys in use.
    pub keys: usize,
    /// When they were last fetched.
    pub fetched_at: Option<SystemTime>,
    pub fetches: u64,
    pub failures: u64,
    pub last_error: Option<String>,
}
