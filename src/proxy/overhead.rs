//! The gateway's own share of a request's time: all of it but what a client or a deployment was waited for.

use std::time::{Duration, Instant};

pub(super) struct Overhead {
    /// Up to when it was last stopped.
    spent: Duration,
    /// Since when the time is the gateway's own; `None` while somebody is waited for.
    since: Option<Instant>,
}

impl Overhead {
    pub(super) fn since(arrival: Instant) -> Self {
        Self {
            spent: Duration::ZERO,
            since: Some(arrival),
        }
    }

    /// From here on a client or a deployment is waited for.
    pub(super) fn stop(&mut self) {
        if let Some(since) = self.since.take() {
            self.spent += since.elapsed();
        }
    }

    /// From here on the time is the gateway's own again.
    pub(super) fn start(&mut self) {
        self.since = Some(Instant::now());
    }

    pub(super) fn so_far(&self) -> Duration {
        self.spent + self.since.map(|since| since.elapsed()).unwrap_or_default()
    }
}
