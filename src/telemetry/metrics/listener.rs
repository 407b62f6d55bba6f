//! One listener's instruments: its connections, and the certificate it shows.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, IntCounter, IntGauge};

use super::{in_flight::InFlight, instruments::Instruments};

/// The instruments of one listener, under its configured address.
pub struct ListenerMetrics {
    connections: IntGauge,
    refused: IntCounter,
    failed_handshakes: IntCounter,
    slow_handshakes: IntCounter,
    tls: Option<Certificate>,
}

struct Certificate {
    expiry: Gauge,
    reloaded: IntCounter,
    not_reloaded: IntCounter,
}

impl ListenerMetrics {
    pub(super) fn new(all: &Instruments, address: &str, tls: bool) -> Self {
        let failures = |reason| all.handshake_failures.with_label_values(&[address, reason]);
        let reloads = |result| {
            all.certificate_reloads
                .with_label_values(&[address, result])
        };
        Self {
            connections: all.connections.with_label_values(&[address]),
            refused: all.connections_refused.with_label_values(&[address]),
            failed_handshakes: failures("failed"),
            slow_handshakes: failures("timeout"),
            tls: tls.then(|| Certificate {
                expiry: all.certificate_expiry.with_label_values(&[address]),
                reloaded: reloads("success"),
                not_reloaded: reloads("failure"),
            }),
        }
    }

    /// Counts one more connection, until the guard is dropped.
    pub fn connected(&self) -> InFlight {
        InFlight::enter(&self.connections)
    }

    /// Counts a connection that was closed at once, since the listener had as many as it may.
    pub fn count_refused(&self) {
        self.refused.inc();
    }

    /// Counts a TLS handshake that came to nothing.
    pub fn count_failed_handshake(&self, took_too_long: bool) {
        let counter = if took_too_long {
            &self.slow_handshakes
        } else {
            &self.failed_handshakes
        };
        counter.inc();
    }

    /// Says when the certificate that is shown ends.
    pub fn say_certificate_ends(&self, at: SystemTime) {
        if let (Some(tls), Ok(since)) = (&self.tls, at.duration_since(UNIX_EPOCH)) {
            tls.expiry.set(since.as_secs_f64().floor());
        }
    }

    /// Counts a change of the certificate's files.
    pub fn count_reload(&self, taken: bool) {
        if let Some(tls) = &self.tls {
            let counter = if taken {
                &tls.reloaded
            } else {
                &tls.not_reloaded
            };
            counter.inc();
        }
    }
}
