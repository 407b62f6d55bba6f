//! What an operator has to mend, or should know of, in words. It repeats what others decided; it decides nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use serde::Serialize;

use super::{IdentityState, IssuerState, ListenerState, status};
use crate::{
    domain::{
        breaker::{Cause, State},
        pool::{Member, Pool},
        validity::Standing,
    },
    telemetry::pulse::LogPulse,
};

/// More than this nobody reads at once.
const MOST: usize = 50;

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
    text: String,
}

/// What there is to look at.
pub(super) struct Scene<'a> {
    pub(super) pools: &'a [Arc<Pool>],
    pub(super) identities: &'a [IdentityState],
    pub(super) issuers: &'a [IssuerState],
    pub(super) listeners: &'a [ListenerState],
    pub(super) logs: &'a [LogPulse],
    /// Writes of what clients have spent that failed in the last minute, and stores set aside since the start.
    pub(super) store_failures: u64,
    pub(super) stores_set_aside: u64,
    pub(super) is_draining: bool,
    pub(super) now: Instant,
    pub(super) today: SystemTime,
}

/// The worst first, and how many there are beyond those.
pub(super) fn of(scene: &Scene<'_>) -> (Vec<Alarm>, usize) {
    let mut alarms = Vec::new();
    alarms.extend(scene.pools.iter().filter_map(|pool| scene.of_pool(pool)));
    alarms.extend(
        scene
            .identities
            .iter()
            .filter_map(|it| scene.of_identity(it)),
    );
    for pool in scene.pools {
        let members = pool.members().iter();
        alarms.extend(members.filter_map(|member| scene.of_member(pool, member)));
        for member in pool.members() {
            alarms.extend(scene.of_bars(pool, member));
            alarms.extend(scene.of_refusing(pool, member));
        }
    }
    alarms.extend(scene.issuers.iter().filter_map(of_issuer));
    for listener in scene.listeners {
        alarms.extend(scene.of_listener(listener));
    }
    alarms.extend(scene.logs.iter().filter_map(of_log));
    alarms.extend(scene.of_store());
    if scene.is_draining {
        let text =
            "The gateway is ending: it serves what runs, and new requests should go elsewhere.";
        alarms.push(warning("draining", text.into()));
    }
    alarms.sort_by_key(|alarm| alarm.severity);
    let left_off = alarms.len().saturating_sub(MOST);
    alarms.truncate(MOST);
    (alarms, left_off)
}

fn alarm(what: &'static str, text: String) -> Alarm {
    let severity = Severity::Alarm;
    Alarm {
        severity,
        what,
        text,
    }
}

fn warning(what: &'static str, text: String) -> Alarm {
    let severity = Severity::Warning;
    Alarm {
        severity,
        what,
        text,
    }
}

impl Scene<'_> {
    fn of_pool(&self, pool: &Pool) -> Option<Alarm> {
        if pool.is_ready(self.now) {
            return None;
        }
        let model = pool.model();
        let back = pool.members().iter();
        let back = back.filter_map(|it| status::pause(it.state(self.now), self.now));
        let text = match back.min() {
            Some(pause) => format!(
                "No deployment of {model} can be asked now; the soonest in {}.",
                span(pause)
            ),
            None => format!("No deployment of {model} can be asked now; one is being tried."),
        };
        Some(alarm("model_unavailable", text))
    }

    /// Being throttled is everyday work. What an identity lacks is told once, of the identity.
    fn of_member(&self, pool: &Pool, member: &Member) -> Option<Alarm> {
        let (deployment, state) = (member.deployment(), member.state(self.now));
        let (instance, model) = (&deployment.instance, pool.model());
        let name = format!("{}/{} (of {model})", instance.name, deployment.name);
        match status::cause(state)? {
            Cause::Throttle => None,
            Cause::Credential => {
                let lacks = |it: &IdentityState| it.identity == instance.identity && !it.ready;
                let text = format!(
                    "{name} does not take our credential, that of {}: it is left alone.",
                    instance.identity
                );
                let told = self.identities.iter().any(lacks);
                (!told).then(|| alarm("credential_refused", text))
            }
            Cause::Configuration => {
                let text = format!("{name} is not there: its instance knows no such deployment.");
                Some(alarm("not_deployed", text))
            }
            Cause::Redirect => {
                let text = format!(
                    "{name} redirects requests elsewhere: its instance's endpoint is wrong (scheme, host or path)."
                );
                Some(alarm("redirected", text))
            }
            Cause::Fault => {
                let last = member.last().map(|(outcome, _)| outcome.label());
                let last = last.map_or(String::new(), |it| format!(" ({})", it.replace('_', " ")));
                let next = match (state, status::pause(state, self.now)) {
                    (State::Trial { .. }, _) => "a request is trying it now".to_owned(),
                    (_, Some(pause)) => format!("it is tried again in {}", span(pause)),
                    (_, None) => "the next request tries it".to_owned(),
                };
                let text = format!("{name} fails{last}: {next}.");
                Some(warning("failing", text))
            }
        }
    }

    /// What it is not asked for while it does other work.
    fn of_bars(&self, pool: &Pool, member: &Member) -> Vec<Alarm> {
        let deployment = member.deployment();
        let (instance, model) = (&deployment.instance, pool.model());
        let name = format!("{}/{} (of {model})", instance.name, deployment.name);
        let bars = member.bars().into_iter();
        let alarms = bars.map(|(operation, cause, _)| {
            let operation = operation.path();
            match cause {
                Cause::Credential => {
                    let identity = &instance.identity;
                    let text = format!("{name} does not let {identity} do {operation}: it is not asked for that.");
                    alarm("operation_refused", text)
                }
                _ => {
                    let text = format!(
                        "{name} refuses requests for {operation} that others serve: it is not asked for that."
                    );
                    alarm("operation_not_there", text)
                }
            }
        });
        alarms.collect()
    }

    /// It answers nothing but 4xx: alone it may have met nothing but wrong requests, beside others that serve not.
    fn of_refusing(&self, pool: &Pool, member: &Member) -> Option<Alarm> {
        let refusing = member.refusing().filter(|it| it.is_suspect())?;
        let (deployment, model) = (member.deployment(), pool.model());
        let name = format!(
            "{}/{} (of {model})",
            deployment.instance.name, deployment.name
        );
        let text = format!(
            "{name} answers {} to everything since {} ago ({} times).",
            refusing.status,
            span(self.now.saturating_duration_since(refusing.since)),
            refusing.times
        );
        let mut fellows = pool.members().iter();
        let others_serve = fellows.any(|it| it.served_at().is_some_and(|at| at > refusing.since));
        Some(match others_serve {
            true => alarm("refuses_everything", text),
            false => warning("refuses_everything", text),
        })
    }

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
            return Some(alarm("identity_without_token", text));
        }
        state.last_error.as_ref()?;
        let left = state
            .expires_on
            .and_then(|at| at.duration_since(self.today).ok());
        let left = left.map_or(String::new(), |left| {
            format!("; its token ends in {}", span(left))
        });
        let text = format!("The identity {identity} could not be renewed{left}: {error}");
        Some(warning("identity_not_renewed", text))
    }

    fn of_store(&self) -> Option<Alarm> {
        if self.store_failures > 0 {
            let text = "What clients have spent can't be kept: a restart would forget what came since, and let them spend it again.";
            return Some(alarm("counter_store_failing", text.into()));
        }
        let text = "The file with what clients had spent could not be read at the start; it was set aside, and counting began anew.";
        (self.stores_set_aside > 0).then(|| warning("counter_store_set_aside", text.into()))
    }

    fn of_listener(&self, state: &ListenerState) -> Vec<Alarm> {
        let address = state.address;
        let mut alarms = Vec::new();
        if let Some(error) = &state.certificate_error {
            let text = format!(
                "The certificate files of {address} changed and can't be used; the one before is in force: {error}"
            );
            alarms.push(alarm("certificate_unsound", text));
        }
        match state.certificate.map(|it| it.standing(self.today)) {
            Some(Standing::Ended) => {
                let text = format!("The certificate of {address} has ended.");
                alarms.push(alarm("certificate_ended", text));
            }
            Some(Standing::NotYet) => {
                let text = format!("The certificate of {address} does not hold yet.");
                alarms.push(alarm("certificate_not_yet", text));
            }
            Some(Standing::EndsSoon { left }) => {
                let text = format!("The certificate of {address} ends in {}.", span(left));
                alarms.push(warning("certificate_ends_soon", text));
            }
            Some(Standing::Good) | None => {}
        }
        alarms
    }
}

fn of_log(state: &LogPulse) -> Option<Alarm> {
    let (log, lost) = (&state.log, state.dropped_lately);
    if state.failing {
        let text = format!("The {log} log can't be written, and its lines are lost.");
        return Some(alarm("log_failing", text));
    }
    let text = format!(
        "The {log} log lost {lost} lines in the last minute: it can't be written fast enough."
    );
    (lost > 0).then(|| alarm("log_lines_dropped", text))
}

fn of_issuer(state: &IssuerState) -> Option<Alarm> {
    let issuer = &state.issuer;
    let error = state.last_error.as_deref();
    if state.keys == 0 {
        let error = error.unwrap_or("they are not fetched yet");
        let text = format!(
            "There are no signing keys of the issuer {issuer}, so its tokens let nobody in: {error}"
        );
        return Some(alarm("issuer_without_keys", text));
    }
    let text = format!(
        "The signing keys of the issuer {issuer} could not be fetched again; the old ones hold: {}",
        error?
    );
    Some(warning("issuer_not_fetched", text))
}

/// A length of time as one says it.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        // What is left of a second is told as one.
        0..120 => format!("{} s", time.as_secs_f64().ceil()),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
