//! Gauges of requests and attempts in flight, counted while a value lives.

use prometheus::IntGauge;

/// One more of something, for as long as this lives.
#[must_use]
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl InFlight {
    pub(super) fn enter(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
