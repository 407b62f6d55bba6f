//! What an operator has to mend, or should know of, in words: what is, what it does to clients, and the next step. It repeats
//! what others decided; it decides nothing.

mod deployments;

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use serde::Serialize;

use super::gateway::{IdentityState, IssuerState, ListenerState};
use crate::{
    domain::{pool::Pool, span::Span, validity::CertificateStanding},
    telemetry::traffic_rates::{DeploymentReading, LogRates},
};

/// More than this nobody reads at once.
const MOST: usize = 50;

const RENEW: &str = "Renew the certificate files of the listener's `tls`: they are read again within seconds, no restart is needed.";
const REACH_ISSUER: &str = "Check that its `url` (or `jwks`) can be reached from this machine and that its certificate is trusted; the fetch is retried automatically.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// It does not get better by itself.
    Alarm,
    Warning,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Alarm {
    severity: Severity,
    /// From a closed set.
    what: &'static str,
    /// Whose it is, where it is one's alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// What is, and what becomes of clients.
    text: String,
    /// The next step.
    mend: String,
}

/// What there is to look at.
pub(super) struct Scene<'a> {
    pub(super) pools: &'a [Arc<Pool>],
    /// Of each pool its members, in the same order.
    pub(super) readings: &'a [Vec<DeploymentReading>],
    pub(super) identities: &'a [IdentityState],
    pub(super) issuers: &'a [IssuerState],
    pub(super) listeners: &'a [ListenerState],
    pub(super) logs: &'a [LogRates],
    /// Writes of what clients have spent that failed in the last minute, and stores set aside since the start.
    pub(super) store_failures: u64,
    pub(super) stores_set_aside: u64,
    pub(super) is_draining: bool,
    pub(super) now: Instant,
    pub(super) today: SystemTime,
}

/// The worst first, and how many there are beyond those.
pub(super) fn raised(scene: &Scene<'_>) -> (Vec<Alarm>, usize) {
    let mut alarms = Vec::new();
    alarms.extend(scene.pools.iter().filter_map(|pool| scene.of_pool(pool)));
    alarms.extend(
        scene
            .identities
            .iter()
            .filter_map(|it| scene.of_identity(it)),
    );
    let readings = scene.pools.iter().zip(scene.readings);
    alarms.extend(readings.filter_map(|(pool, it)| scene.of_provisioned(pool, it)));
    alarms.extend(scene.of_members());
    alarms.extend(scene.of_bars());
    alarms.extend(scene.of_refusing());
    alarms.extend(scene.issuers.iter().filter_map(of_issuer));
    for listener in scene.listeners {
        alarms.extend(scene.of_listener(listener));
    }
    alarms.extend(scene.logs.iter().filter_map(of_log));
    alarms.extend(scene.of_store());
    if scene.is_draining {
        let text = "The gateway is draining: it finishes requests in flight, and /health returns 503, so that load balancers send new requests to other gateways.";
        let mend = "It got SIGTERM. If that was not intended, see the journal for who stopped it.";
        alarms.push(warning("draining", text.into(), mend));
    }
    alarms.sort_by_key(|alarm| alarm.severity);
    let left_off = alarms.len().saturating_sub(MOST);
    alarms.truncate(MOST);
    (alarms, left_off)
}

fn alarm(what: &'static str, text: String, mend: impl Into<String>) -> Alarm {
    Alarm {
        severity: Severity::Alarm,
        what,
        instance: None,
        text,
        mend: mend.into(),
    }
}

fn warning(what: &'static str, text: String, mend: impl Into<String>) -> Alarm {
    Alarm {
        severity: Severity::Warning,
        ..alarm(what, text, mend)
    }
}

impl Scene<'_> {
    fn of_identity(&self, state: &IdentityState) -> Option<Alarm> {
        let identity = &state.identity;
        let error = state
            .last_error
            .as_deref()
            .unwrap_or("the first token request is in progress");
        if !state.ready {
            let names: Vec<_> = state.instances.iter().map(|it| it.as_str()).collect();
            let text = format!(
                "The identity {identity} has no token, so {} gets no requests: {error}",
                names.join(", ")
            );
            let mend = "Check that this machine has the identity and can reach its token endpoint, and that its client secret or certificate has not expired. The token request is retried automatically.";
            return Some(alarm("identity_without_token", text, mend));
        }
        state.last_error.as_ref()?;
        let left = state
            .expires_on
            .and_then(|at| at.duration_since(self.today).ok())
            .map_or(String::new(), |left| {
                format!("; its token expires in {}", Span(left))
            });
        let text =
            format!("The token of the identity {identity} could not be renewed{left}: {error}");
        let mend = "Requests are not affected until the token expires; then its instances get no requests. Check the token endpoint and the credential before that.";
        Some(warning("identity_not_renewed", text, mend))
    }

    fn of_store(&self) -> Option<Alarm> {
        if self.store_failures > 0 {
            let text = "`counters.file` can't be written: a restart would lose the clients' usage since the last write, and let them use it again.";
            let mend = "Check free disk space and the file's owner and mode; the log event `counter_store_failing` has the error.";
            return Some(alarm("counter_store_failing", text.into(), mend));
        }
        let text = "`counters.file` could not be read at startup; it was renamed, and the hourly, daily and monthly usage of all clients started at zero.";
        let mend = "The renamed file is in the same folder; check the disk. This warning stays until the next restart.";
        (self.stores_set_aside > 0).then(|| warning("counter_store_set_aside", text.into(), mend))
    }

    fn of_listener(&self, state: &ListenerState) -> Vec<Alarm> {
        let address = state.address;
        let mut alarms = Vec::new();
        if let Some(error) = &state.certificate_error {
            let text = format!(
                "The certificate files of {address} have changed but can't be used; the old certificate stays in use: {error}"
            );
            let mend = "Install a certificate and its matching key, readable by the gateway: they are loaded within seconds.";
            alarms.push(alarm("certificate_unsound", text, mend));
        }
        match state.certificate.map(|it| it.standing(self.today)) {
            Some(CertificateStanding::Ended) => {
                let text =
                    format!("The certificate of {address} has expired: clients can't connect.");
                alarms.push(alarm("certificate_ended", text, RENEW));
            }
            Some(CertificateStanding::NotYet) => {
                let text = format!(
                    "The certificate of {address} is not valid yet: clients can't connect."
                );
                let mend =
                    "Check this machine's clock, or install a certificate that is valid today.";
                alarms.push(alarm("certificate_not_yet", text, mend));
            }
            Some(CertificateStanding::EndsSoon { left }) => {
                let text = format!("The certificate of {address} expires in {}.", Span(left));
                alarms.push(warning("certificate_ends_soon", text, RENEW));
            }
            Some(CertificateStanding::Good) | None => {}
        }
        alarms
    }
}

fn of_log(state: &LogRates) -> Option<Alarm> {
    let (log, lost) = (&state.log, state.dropped_lately);
    if state.failing {
        let text = format!(
            "The {log} log can't be written, and its lines are lost; requests are not affected."
        );
        let mend = "Check free disk space and the file's owner and mode; the log event `log_failing` has the error.";
        return Some(alarm("log_failing", text, mend));
    }
    let text = format!(
        "The {log} log lost {lost} lines in the last minute: the disk is too slow for them."
    );
    let mend = "Move the log to a faster disk, or one with free space.";
    (lost > 0).then(|| alarm("log_lines_dropped", text, mend))
}

fn of_issuer(state: &IssuerState) -> Option<Alarm> {
    let issuer = &state.issuer;
    let error = state.last_error.as_deref();
    if state.keys == 0 {
        let error = error.unwrap_or("the first fetch is in progress");
        let text = format!(
            "The gateway has no signing keys of the issuer {issuer}, so clients with its tokens get 503: {error}"
        );
        return Some(alarm("issuer_without_keys", text, REACH_ISSUER));
    }
    let text = format!(
        "The signing keys of the issuer {issuer} could not be fetched again; the old keys are still used: {}",
        error?
    );
    Some(warning("issuer_not_fetched", text, REACH_ISSUER))
}

#[cfg(test)]
mod tests;
