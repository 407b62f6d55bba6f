//! What `/health` says: each model looked at, the decision asked, and a change of it told to operators.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;

use super::model_backend::ModelBackend;
use crate::domain::health::{Health, HealthVerdict, Settings};

/// The gateway's health, looked at by whoever asks and in between by [`HealthCheck::look`].
pub(crate) struct HealthCheck {
    models: Vec<Arc<ModelBackend>>,
    health: Mutex<Health>,
}

impl HealthCheck {
    pub(crate) fn new(settings: Settings, models: Vec<Arc<ModelBackend>>) -> Self {
        let names = models
            .iter()
            .map(|it| (it.pool.model().clone(), it.is_required));
        let health = Mutex::new(Health::new(settings, names));
        Self { models, health }
    }

    /// What health says now. To be asked now and then also where no load balancer does: what lasts for a time must be
    /// seen while it lasts.
    pub(crate) fn look(&self, now: Instant) -> HealthVerdict {
        let abilities = self.models.iter().map(|it| it.ability(now));
        let mut health = self.health.lock();
        let before = health.verdict().is_healthy();
        let changed = health.note(abilities, now);
        let verdict = health.verdict().clone();
        drop(health);
        if changed {
            announce(&verdict, before);
        }
        verdict
    }
}

fn announce(verdict: &HealthVerdict, was_healthy: bool) {
    match (verdict.is_healthy(), was_healthy) {
        (true, _) => tracing::info!(event = "health_up", "/health returns 200: {verdict}"),
        (false, true) => {
            tracing::error!(
                event = "health_down",
                "/health returns 503, so load balancers send requests to other gateways: {verdict}; see /status for the state of each deployment and what to do"
            );
        }
        // It was down already, for something else.
        (false, false) => {
            tracing::error!(
                event = "health_down",
                "/health still returns 503: {verdict}"
            );
        }
    }
}
