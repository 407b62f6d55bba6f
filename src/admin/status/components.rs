//! The parts of `/status` beside the pools: identities, issuers, listeners.

use std::time::SystemTime;

use serde::Serialize;

use crate::admin::{IdentityState, IssuerState, ListenerState};

#[derive(Serialize)]
pub(super) struct ListenerStatus {
    address: String,
    connections: usize,
    /// Below zero where it has ended.
    certificate_ends_in_seconds: Option<i64>,
    certificate_error: Option<String>,
}

impl ListenerStatus {
    pub(super) fn new(state: ListenerState, today: SystemTime) -> Self {
        let ends_in = |at: SystemTime| match at.duration_since(today) {
            Ok(left) => left.as_secs() as i64,
            Err(ago) => -(ago.duration().as_secs() as i64),
        };
        Self {
            address: state.address.to_string(),
            connections: state.connections,
            certificate_ends_in_seconds: state.certificate.map(|it| ends_in(it.until)),
            certificate_error: state.certificate_error,
        }
    }
}

#[derive(Serialize)]
pub(super) struct IdentityStatus {
    identity: String,
    kind: &'static str,
    source: Option<&'static str>,
    asked_at: Option<String>,
    instances: Vec<String>,
    scope: Option<String>,
    ready: bool,
    expires_in_seconds: Option<u64>,
    failures: u64,
    last_error: Option<String>,
}

impl IdentityStatus {
    pub(super) fn new(state: IdentityState, today: SystemTime) -> Self {
        let left = state
            .expires_on
            .and_then(|at| at.duration_since(today).ok());
        Self {
            identity: state.identity.to_string(),
            kind: state.kind,
            source: state.source,
            asked_at: state.asked_at,
            instances: state.instances.iter().map(ToString::to_string).collect(),
            scope: state.scope,
            ready: state.ready,
            expires_in_seconds: left.map(|left| left.as_secs()),
            failures: state.failures,
            last_error: state.last_error,
        }
    }
}

#[derive(Serialize)]
pub(super) struct IssuerStatus {
    issuer: String,
    url: String,
    keys: usize,
    keys_age_seconds: Option<u64>,
    fetches: u64,
    failures: u64,
    last_error: Option<String>,
}

impl IssuerStatus {
    pub(super) fn new(state: IssuerState, today: SystemTime) -> Self {
        let age = state
            .fetched_at
            .and_then(|at| today.duration_since(at).ok());
        Self {
            issuer: state.issuer.to_string(),
            url: state.url,
            keys: state.keys,
            keys_age_seconds: age.map(|age| age.as_secs()),
            fetches: state.fetches,
            failures: state.failures,
            last_error: state.last_error,
        }
    }
}
