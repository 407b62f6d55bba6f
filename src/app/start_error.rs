//! Why a gateway can't start.

use std::{io, net::SocketAddr};

use thiserror::Error;

use crate::{identity::IdentitiesError, oidc::IssuersError, store::StoreError, telemetry::otlp};

/// Why a gateway can't start. The message says what to mend.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("can't listen on {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(transparent)]
    Identities(#[from] IdentitiesError),
    #[error(transparent)]
    Issuers(#[from] IssuersError),
    #[error("can't open the file of the {log} log: {source}")]
    Log {
        log: &'static str,
        source: io::Error,
    },
    #[error("can't set up `otlp`: {0}")]
    Otlp(#[from] otlp::SetupError),
    #[error("can't set up the instance {instance}: {source}")]
    Instance { instance: String, source: io::Error },
    #[error("the certificate {path} can't be used: {reason}")]
    Certificate { path: String, reason: String },
    #[error("can't open counters.file {path}: {source}")]
    Counters { path: String, source: StoreError },
    #[error("can't start the gateway: {0}")]
    Io(#[from] io::Error),
}
