//! Metrics, health and status, on an address of their own. It reads what others decide, and decides nothing.

pub mod access;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    domain::{
        breaker::{Cause, State},
        deployment::Capacity,
        name::{IdentityName, InstanceName, IssuerName},
        pool::{Member, Pool},
    },
    telemetry::metrics::Metrics,
};

/// What the admin page shows of a running gateway.
pub struct Admin {
    pub metrics: Arc<Metrics>,
    pub pools: Vec<Arc<Pool>>,
    pub identities: Box<dyn Fn() -> Vec<IdentityState> + Send + Sync>,
    pub listeners: Box<dyn Fn() -> Vec<ListenerState> + Send + Sync>,
    pub issuers: Box<dyn Fn() -> Vec<IssuerState> + Send + Sync>,
    /// How many signatures of clients' tokens were checked.
    pub token_checks: Box<dyn Fn() -> u64 + Send + Sync>,
    pub phase: Box<dyn Fn() -> Phase + Send + Sync>,
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
    pub certificate_ends: Option<SystemTime>,
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

/// An answer of the admin listener.
#[derive(Debug)]
pub struct Page {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

impl Admin {
    pub fn page(&self, method: &Method, path: &str) -> Page {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "this address is read with GET",
            );
        }
        match path {
            "/metrics" => self.metrics_page(),
            "/status" => self.status(),
            "/health/live" => text(StatusCode::OK, "live"),
            "/health/ready" => self.ready(),
            _ => text(
                StatusCode::NOT_FOUND,
                "here are /metrics, /status, /health/live and /health/ready",
            ),
        }
    }

    fn ready(&self) -> Page {
        match (self.phase)() {
            Phase::Serving => text(StatusCode::OK, "ready"),
            Phase::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting"),
            Phase::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining"),
        }
    }

    /// Brings up to date what changes without a request: whenever the metrics are looked at.
    pub fn refresh(&self) {
        // Of two at once each would raise a counter by what the other did.
        let _one_at_a_time = self.refreshing.lock();
        let now = Instant::now();
        for pool in &self.pools {
            for member in pool.members() {
                let deployment = member.deployment();
                let metrics = self.metrics.deployment(
                    pool.model(),
                    &deployment.instance.name,
                    &deployment.name,
                );
                metrics.say_state(member.is_ready(now), pause(member, now).unwrap_or_default());
                for alarm in [Cause::Credential, Cause::Configuration] {
                    metrics.say_set_aside(alarm.as_str(), cause(member, now) == Some(alarm));
                }
            }
        }
        for identity in (self.identities)() {
            self.metrics
                .identity(&identity.identity, identity.expires_on, identity.failures);
        }
        for issuer in (self.issuers)() {
            self.metrics.issuer(
                &issuer.issuer,
                issuer.fetched_at,
                issuer.fetches,
                issuer.failures,
            );
        }
        self.metrics.token_checks((self.token_checks)());
    }

    fn metrics_page(&self) -> Page {
        self.refresh();
        Page {
            status: StatusCode::OK,
            content_type: Metrics::CONTENT_TYPE,
            body: self.metrics.render(),
        }
    }

    fn status(&self) -> Page {
        let now = Instant::now();
        let phase = match (self.phase)() {
            Phase::Starting => "starting",
            Phase::Serving => "serving",
            Phase::Draining => "draining",
        };
        let status = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "phase": phase,
            "uptime_seconds": now.saturating_duration_since(self.started).as_secs(),
            "listeners": (self.listeners)().iter().map(listener_status).collect::<Vec<_>>(),
            "models": self.pools.iter().map(|pool| pool_status(pool, now)).collect::<Vec<_>>(),
            "identities": (self.identities)().iter().map(identity_status).collect::<Vec<_>>(),
            "issuers": (self.issuers)().iter().map(issuer_status).collect::<Vec<_>>(),
        });
        let mut body = format!("{status:#}").into_bytes();
        body.push(b'\n');
        Page {
            status: StatusCode::OK,
            content_type: "application/json",
            body,
        }
    }
}

fn text(status: StatusCode, text: &str) -> Page {
    Page {
        status,
        content_type: "text/plain; charset=utf-8",
        body: format!("{text}\n").into_bytes(),
    }
}

fn pool_status(pool: &Pool, now: Instant) -> Value {
    json!({
        "model": pool.model().as_str(),
        "deployments": pool.members().iter().map(|member| deployment_status(member, now)).collect::<Vec<_>>(),
    })
}

fn deployment_status(member: &Member, now: Instant) -> Value {
    let deployment = member.deployment();
    let state = match member.state(now) {
        State::Closed => "closed",
        State::Ramping { .. } => "ramping",
        State::Open { .. } => "open",
        State::Trial { .. } => "trial",
    };
    let last = member.last().map(|(outcome, at)| {
        json!({"outcome": outcome.label(), "seconds_ago": now.saturating_duration_since(at).as_secs_f64()})
    });
    json!({
        "instance": deployment.instance.name.as_str(),
        "deployment": deployment.name.as_str(),
        "type": match deployment.capacity { Capacity::Standard => "standard", Capacity::Provisioned => "provisioned" },
        "priority": deployment.priority.get(),
        "weight": deployment.weight.get(),
        "state": state,
        "available": member.is_ready(now),
        "cause": cause(member, now).map(Cause::as_str),
        "share": match member.state(now) { State::Ramping { share } => share, _ => 1.0 },
        "retry_in_seconds": pause(member, now).map(|pause| pause.as_secs_f64()),
        "inflight": member.inflight(),
        "last": last,
    })
}

/// Why it is left alone; `None` where it is not.
fn cause(member: &Member, now: Instant) -> Option<Cause> {
    match member.state(now) {
        State::Open { cause, .. } | State::Trial { cause, .. } => Some(cause),
        State::Closed | State::Ramping { .. } => None,
    }
}

/// How long until it may be tried again; `None` where it may be now, or is being tried.
fn pause(member: &Member, now: Instant) -> Option<Duration> {
    match member.state(now) {
        State::Open { until, .. } => until
            .checked_duration_since(now)
            .filter(|pause| !pause.is_zero()),
        State::Closed | State::Ramping { .. } | State::Trial { .. } => None,
    }
}

fn listener_status(listener: &ListenerState) -> Value {
    let ends_in = listener
        .certificate_ends
        .map(|at| match at.duration_since(SystemTime::now()) {
            Ok(left) => left.as_secs() as i64,
            Err(ago) => -(ago.duration().as_secs() as i64),
        });
    json!({
        "address": listener.address.to_string(),
        "connections": listener.connections,
        "certificate_ends_in_seconds": ends_in,
        "certificate_error": listener.certificate_error,
    })
}

fn identity_status(identity: &IdentityState) -> Value {
    let ends_in = identity
        .expires_on
        .and_then(|at| at.duration_since(SystemTime::now()).ok());
    json!({
        "identity": identity.identity.as_str(),
        "kind": identity.kind,
        "source": identity.source,
        "asked_at": identity.asked_at,
        "instances": identity.instances.iter().map(InstanceName::as_str).collect::<Vec<_>>(),
        "scope": identity.scope,
        "ready": identity.ready,
        "expires_in_seconds": ends_in.map(|left| left.as_secs()),
        "failures": identity.failures,
        "last_error": identity.last_error,
    })
}

fn issuer_status(issuer: &IssuerState) -> Value {
    let age = issuer
        .fetched_at
        .and_then(|at| SystemTime::now().duration_since(at).ok());
    json!({
        "issuer": issuer.issuer.as_str(),
        "url": issuer.url,
        "keys": issuer.keys,
        "keys_age_seconds": age.map(|age| age.as_secs()),
        "fetches": issuer.fetches,
        "failures": issuer.failures,
        "last_error": issuer.last_error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin(phase: Phase) -> Admin {
        Admin {
            metrics: Arc::new(Metrics::new()),
            pools: Vec::new(),
            identities: Box::new(Vec::new),
            listeners: Box::new(Vec::new),
            issuers: Box::new(Vec::new),
            token_checks: Box::new(|| 0),
            phase: Box::new(move || phase),
            started: Instant::now(),
            refreshing: Mutex::default(),
        }
    }

    #[test]
    fn readiness_follows_the_phase_and_liveness_does_not() {
        for (phase, status) in [
            (Phase::Starting, 503),
            (Phase::Serving, 200),
            (Phase::Draining, 503),
        ] {
            let admin = admin(phase);
            assert_eq!(admin.page(&Method::GET, "/health/ready").status, status);
            assert_eq!(admin.page(&Method::HEAD, "/health/live").status, 200);
        }
    }

    #[test]
    fn it_is_read_only() {
        let admin = admin(Phase::Serving);
        assert_eq!(admin.page(&Method::POST, "/status").status, 405);
        assert_eq!(admin.page(&Method::GET, "/").status, 404);
        let page = admin.page(&Method::GET, "/metrics");
        assert!(
            String::from_utf8(page.body)
                .unwrap()
                .contains("forebay_build_info")
        );
    }
}
