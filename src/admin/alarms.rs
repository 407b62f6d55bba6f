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

const RENEW: &str = "Renew the files of the listener's `tls`: they are read again within seconds.";
const REACH_ISSUER: &str = "Look whether its `url` (or `jwks`) can be reached from here, and whether its certificate is trusted; it is asked again by itself.";

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
        let text = "The gateway drains: it serves what runs, and /health says 503, so that new requests go elsewhere.";
        let mend =
            "It was told to end (SIGTERM); if nobody meant that, look who did in the journal.";
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
            .unwrap_or("the first is on its way");
        if !state.ready {
            let names: Vec<_> = state.instances.iter().map(|it| it.as_str()).collect();
            let text = format!(
                "The identity {identity} has no token, so {} can't be asked: {error}",
                names.join(", ")
            );
            let mend = "Look whether the machine has that identity and can reach its token endpoint; a client secret may have ended. It is asked again by itself.";
            return Some(alarm("identity_without_token", text, mend));
        }
        state.last_error.as_ref()?;
        let left = state
            .expires_on
            .and_then(|at| at.duration_since(self.today).ok())
            .map_or(String::new(), |left| {
                format!("; its token ends in {}", Span(left))
            });
        let text = format!("The identity {identity} could not be renewed{left}: {error}");
        let mend = "Requests go on until the token ends; then its instances leave their pools. Look at the token endpoint before that.";
        Some(warning("identity_not_renewed", text, mend))
    }

    fn of_store(&self) -> Option<Alarm> {
        if self.store_failures > 0 {
            let text = "What clients have spent can't be kept: a restart would forget what came since, and let them spend it again.";
            let mend = "Look for a full disk, and for the owner and mode of `counters.file`; the log's `counter_store_failing` has the error.";
            return Some(alarm("counter_store_failing", text.into(), mend));
        }
        let text = "The file with what clients had spent could not be read at the start; it was set aside, and counting began anew.";
        let mend = "The file lies beside the new one; look whether the disk is sound. This stands until the next start.";
        (self.stores_set_aside > 0).then(|| warning("counter_store_set_aside", text.into(), mend))
    }

    fn of_listener(&self, state: &ListenerState) -> Vec<Alarm> {
        let address = state.address;
        let mut alarms = Vec::new();
        if let Some(error) = &state.certificate_error {
            let text = format!(
                "The certificate files of {address} changed and can't be used; the one before is in force: {error}"
            );
            let mend = "Put a certificate and its own key there, both readable: they are taken within seconds.";
            alarms.push(alarm("certificate_unsound", text, mend));
        }
        match state.certificate.map(|it| it.standing(self.today)) {
            Some(CertificateStanding::Ended) => {
                let text = format!("The certificate of {address} has ended: clients refuse it.");
                alarms.push(alarm("certificate_ended", text, RENEW));
            }
            Some(CertificateStanding::NotYet) => {
                let text =
                    format!("The certificate of {address} does not hold yet: clients refuse it.");
                let mend =
                    "Look at this machine's clock, or put a certificate there that holds today.";
                alarms.push(alarm("certificate_not_yet", text, mend));
            }
            Some(CertificateStanding::EndsSoon { left }) => {
                let text = format!("The certificate of {address} ends in {}.", Span(left));
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
        let text = format!("The {log} log can't be written, and its lines are lost.");
        let mend = "Look for a full disk, and for the file's owner and mode; the log's `log_failing` has the error. Requests go on.";
        return Some(alarm("log_failing", text, mend));
    }
    let text = format!(
        "The {log} log lost {lost} lines in the last minute: it can't be written fast enough."
    );
    let mend = "Put it on a faster disk, or one with room.";
    (lost > 0).then(|| alarm("log_lines_dropped", text, mend))
}

fn of_issuer(state: &IssuerState) -> Option<Alarm> {
    let issuer = &state.issuer;
    let error = state.last_error.as_deref();
    if state.keys == 0 {
        let error = error.unwrap_or("they are not fetched yet");
        let text = format!(
            "There are no signing keys of the issuer {issuer}, so clients with its tokens get 503: {error}"
        );
        return Some(alarm("issuer_without_keys", text, REACH_ISSUER));
    }
    let text = format!(
        "The signing keys of the issuer {issuer} could not be fetched again; the old ones hold: {}",
        error?
    );
    Some(warning("issuer_not_fetched", text, REACH_ISSUER))
}

#[cfg(test)]
mod tests;
