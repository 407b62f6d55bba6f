//! Metrics of clients' limits, and of the store that keeps their usage.

use prometheus::IntCounter;

use super::Metrics;
use crate::domain::{name::ModelName, quota::LimitStanding};

/// The label of a limit that holds for all models together: no model can have this name.
const ALL_MODELS: &str = "*";

impl Metrics {
    /// Says how clients stand, those that have a label of their own. To be said before each scrape.
    pub fn limits(&self, standings: &[LimitStanding]) {
        for standing in standings {
            let limit = standing.limit.as_str();
            let key = (standing.model.clone(), limit);
            let gauges = self.limits.own(&standing.client, key, |client| {
                let model = standing.model.as_ref();
                let labels = [client, model.map_or(ALL_MODELS, ModelName::as_str), limit];
                let all = [&self.instruments.limit, &self.instruments.limit_remaining];
                all.map(|gauges| gauges.with_label_values(&labels))
            });
            if let Some([most, remaining]) = gauges {
                most.set(standing.most as f64);
                remaining.set(standing.most.saturating_sub(standing.used) as f64);
            }
        }
    }

    /// Counts writes of what clients have spent that failed.
    pub fn counter_store_failures(&self) -> IntCounter {
        self.instruments.counter_store_failures.clone()
    }

    /// Counts stores that could not be read and were set aside.
    pub fn counter_stores_set_aside(&self) -> IntCounter {
        self.instruments.counter_stores_set_aside.clone()
    }
}
