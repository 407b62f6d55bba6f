//! What an operator sees of the traffic: counters for Prometheus, and one log line a request.
//!
//! The proxy fills a plain [`Record`] and hands it over once, when the request has ended; nothing here knows the proxy,
//! decides anything, or holds a request up. Credentials never come here, nor do prompts in a record.

pub mod access_log;
pub mod line_log;
pub mod metrics;
pub mod otlp;
pub mod record;

use std::sync::Arc;

use access_log::AccessLog;
use metrics::Metrics;
use otlp::Otlp;
use record::Record;

/// Everything that wants to know of finished requests.
pub struct Telemetry {
    pub metrics: Arc<Metrics>,
    pub access_log: AccessLog,
    /// `None`: no collector is configured.
    pub otlp: Option<Otlp>,
}

impl Telemetry {
    /// Takes a finished request's story. Never waits.
    pub fn account(&self, record: Record) {
        self.metrics.account(&record);
        let record = Arc::new(record);
        if let Some(otlp) = &self.otlp {
            otlp.take(&record);
        }
        self.access_log.write(record);
    }

    /// Writes out what was taken so far, and ends. Waits for the writers; does nothing the second time.
    pub fn close(&self) {
        self.access_log.close();
        if let Some(otlp) = &self.otlp {
            otlp.close();
        }
    }
}
