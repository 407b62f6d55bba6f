//! Why a gateway can't start.

use std::{io, net::SocketAddr};

use thiserror::Error;

use crate::{identity::IdentitiesError, oidc::IssuersError, store::StoreError, telemetry::otlp};

/// Why a gateway can't start. The message says what to mend.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("the address {address} can't be listened on: {source}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(transparent)]
    Identities(#[from] IdentitiesError),
    #[error(transparent)]
    Issuers(#[from] IssuersError),
    #[error("the file of the {log} log can't be opened: {source}")]
    Log {
        log: &'static str,
        source: io::Error,
    },
    #[error("telemetry can't be sent by `otlp`: {0}")]
    Otlp(#[from] otlp::SetupError),
    #[error("the instance {instance} can't be set up: {source}")]
    Instance { instance: String, source: io::Error },
    #[error("the certificate {path} can't be used: {reason}")]
    Certificate { path: String, reason: String },
    #[error("the counters {path} can't be opened: {source}")]
    Counters { path: String, source: StoreError },
    #[error("the gateway can't start: {0}")]
    Io(#[from] io::Error),
}
