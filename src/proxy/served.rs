//! A model as it is served: its pool, and beside each deployment what reaching and counting it needs.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::reach::Reach;
use crate::{
    domain::{
        breaker::Transition,
        deployment::{Bounds, Deployment},
        pool::{Attempt, Pool},
    },
    telemetry::metrics::DeploymentMetrics,
};

/// One model's pool and its targets, in the pool's order.
pub(crate) struct Served {
    pub(crate) pool: Arc<Pool>,
    pub(crate) targets: Vec<Target>,
    pub(crate) bounds: Bounds,
}

/// What sending to one deployment needs.
pub(crate) struct Target {
    pub(crate) reach: Arc<Reach>,
    pub(crate) metrics: Arc<DeploymentMetrics>,
    /// Which connections it shares: its own.
    pub(crate) group: u64,
}

impl Served {
    pub(crate) fn new(
        pool: Pool,
        bounds: Bounds,
        target: impl FnMut(&Deployment) -> Target,
    ) -> Self {
        let targets = pool
            .members()
            .iter()
            .map(|member| member.deployment())
            .map(target)
            .collect();
        Self {
            pool: Arc::new(pool),
            targets,
            bounds,
        }
    }

    /// Whether a request could be sent somewhere now, with a credential.
    pub(crate) fn is_ready(&self, now: Instant) -> bool {
        let members = self.pool.members().iter().zip(&self.targets);
        let mut able = members
            .filter(|(_, target)| target.reach.credential.header(SystemTime::now()).is_some());
        able.any(|(member, _)| member.is_ready(now))
    }

    /// Tells operators of a change in a deployment's state.
    pub(super) fn announce(&self, attempt: &Attempt, transition: Transition, now: Instant) {
        let deployment = attempt.deployment();
        let (instance, name) = (&deployment.instance.name, &deployment.name);
        match transition {
            Transition::Opened { until, cause } => {
                let pause = until.saturating_duration_since(now);
                tracing::warn!(model = %self.pool.model(), %instance, deployment = %name, ?pause, ?cause, "deployment paused");
            }
            Transition::Closed => {
                tracing::info!(model = %self.pool.model(), %instance, deployment = %name, "deployment serves again");
            }
        }
    }
}
