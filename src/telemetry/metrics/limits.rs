//! How clients stand against their limits, and how what they have spent is kept.

use prometheus::IntCounter;

use super::Metrics;
use crate::domain::{name::ModelName, quota::Standing};

/// The label of a limit that holds for all models together: no model can have this name.
const ALL_MODELS: &str = "*";

impl Metrics {
    /// Says how clients stand. To be said before each scrape.
    pub fn limits(&self, standings: &[Standing]) {
        for standing in standings {
            let model = standing
                .model
                .as_ref()
                .map_or(ALL_MODELS, ModelName::as_str);
            let labels = [standing.client.as_str(), model, standing.limit.as_str()];
            let most = self.instruments.limit.with_label_values(&labels);
            most.set(standing.most as f64);
            let remaining = standing.most.saturating_sub(standing.used);
            let gauge = self.instruments.limit_remaining.with_label_values(&labels);
            gauge.set(remaining as f64);
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
