//! Where telemetry goes by OpenTelemetry's protocol (OTLP), and what of it.

use std::{path::PathBuf, time::Duration};

use http::HeaderName;

use super::{deployment::Endpoint, secret::Secret, trace::Sampling};

/// A collector: `otlp:`.
#[derive(Clone, Debug)]
pub struct Collector {
    /// With gRPC it has no path.
    pub endpoint: Endpoint,
    pub protocol: Protocol,
    /// What each request to it carries: its credential, mostly.
    pub headers: Vec<(HeaderName, Secret)>,
    /// More certificate authorities that may have signed its certificate (PEM), beside the system's.
    pub ca: Option<PathBuf>,
    /// `None`: no spans are sent.
    pub traces: Option<Sampling>,
    /// How often metrics are sent; `None`: never.
    pub metrics: Option<Duration>,
    /// What is said of this gateway beside its name, version and id.
    pub resource: Vec<(String, String)>,
}

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    /// Protobuf in POST requests to `/v1/traces` and `/v1/metrics` below the endpoint.
    Http,
}

/// Names that the protocols themselves use in their requests.
const TAKEN: [&str; 10] = [
    "accept",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// The name of a header that may be sent to a collector.
pub fn header(name: &str) -> Result<HeaderName, &'static str> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "this is not a header name; write one like authorization")?;
    let text = name.as_str();
    if TAKEN.contains(&text) || text.starts_with("grpc-") || text.ends_with("-bin") {
        return Err("this header is set by the protocol; remove it");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_gets_credentials_but_none_of_the_protocols_own_headers() {
        assert_eq!(header("Authorization").unwrap(), "authorization");
        assert_eq!(header("x-scope-orgid").unwrap(), "x-scope-orgid");
        for name in TAKEN.iter().chain(&["grpc-timeout", "trace-bin", "Host"]) {
            assert!(header(name).unwrap_err().contains("remove it"), "{name}");
        }
        assert!(header("a b").is_err() && header("").is_err());
    }
}
