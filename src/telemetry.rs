//! What an operator sees of the traffic: counters for Prometheus, and one log line a request. A new metric begins in
//! `metrics/instruments`, a new field of the log in `record` and `access_log`.
//!
//! The proxy fills a plain [`Record`] and hands it over once, when the request has ended; nothing here knows the proxy,
//! decides anything, or holds a request up. Credentials never come here, nor do prompts in a record.

pub mod access_log;
pub mod event_log;
pub mod failovers;
mod json_object;
pub mod line_log;
pub mod metrics;
pub mod otlp;
pub mod prompt_log;
pub mod record;
pub mod traffic_rates;
pub mod usage_log;

use std::sync::Arc;

use crate::domain::{
    deployment::Capacity,
    price::{Cost, Prices, Served},
};
use access_log::AccessLog;
use failovers::Failovers;
use metrics::Metrics;
use otlp::Otlp;
use prompt_log::PromptLog;
use record::Record;
use usage_log::UsageLog;

/// Everything that wants to know of finished requests, and the log of those prompts that are to be kept.
pub struct Telemetry {
    pub metrics: Arc<Metrics>,
    pub access_log: AccessLog,
    /// `None`: no collector is configured.
    pub otlp: Option<Otlp>,
    pub usage_log: Option<UsageLog>,
    pub prompt_log: Option<PromptLog>,
    pub prices: Option<Prices>,
    pub failovers: Arc<Failovers>,
}

impl Telemetry {
    /// Takes a finished request's story. Never waits.
    pub fn account(&self, mut record: Record) {
        self.price(&mut record);
        self.metrics.account(&record);
        self.failovers.note(&record);
        let record = Arc::new(record);
        match &self.usage_log {
            Some(log) if usage_log::concerns(&record) => log.write(Arc::clone(&record)),
            _ => {}
        }
        if let Some(otlp) = &self.otlp {
            otlp.take(&record);
        }
        self.access_log.write(record);
    }

    fn price(&self, record: &mut Record) {
        let Some(prices) = &self.prices else { return };
        record.cost = cost(prices, record);
        if let (Some(_), None, Some(model)) = (record.usage, record.cost, &record.model) {
            self.metrics.unpriced(model).inc();
        }
    }

    /// Writes out what was taken so far, and ends. Waits for the writers; does nothing the second time.
    pub fn close(&self) {
        self.access_log.close();
        if let Some(log) = &self.usage_log {
            log.close();
        }
        if let Some(log) = &self.prompt_log {
            log.close();
        }
        if let Some(otlp) = &self.otlp {
            otlp.close();
        }
    }
}

/// Tokens cost what they cost where the answer came from: at the deployment that was tried last.
fn cost(prices: &Prices, record: &Record) -> Option<Cost> {
    let last = record.attempts.last();
    let served = Served {
        capacity: last.map_or(Capacity::Standard, |attempt| attempt.capacity),
        is_spilled: last.is_some_and(|attempt| attempt.spilled_to.is_some()),
    };
    prices.cost(record.model.as_ref()?, served, record.usage.as_ref()?)
}
