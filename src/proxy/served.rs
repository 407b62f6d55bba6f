//! A model as it is served: its pool, and beside each deployment what reaching and counting it needs.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::reach::Reach;
use crate::{
    domain::{
        breaker::{Cause, Transition},
        deployment::{Bounds, Deployment},
        pool::Pool,
    },
    telemetry::metrics::DeploymentMetrics,
};

/// One model's pool and its targets, in the pool's order.
pub(crate) struct Served {
    pub(crate) pool: Arc<Pool>,
    pub(crate) targets: Vec<Target>,
    pub(crate) bounds: Bounds,
    /// The model's, where the config says it.
    pub(crate) version: Option<Arc<str>>,
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
        version: Option<Arc<str>>,
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
            version,
        }
    }

    /// Whether a request could be sent somewhere now, with a credential.
    pub(crate) fn is_ready(&self, now: Instant) -> bool {
        let members = self.pool.members().iter().zip(&self.targets);
        let mut able = members
            .filter(|(_, target)| target.reach.credential.header(SystemTime::now()).is_some());
        able.any(|(member, _)| member.is_ready(now))
    }

    /// Tells operators of a change in a deployment's state; loudly where it is theirs to mend.
    pub(super) fn announce(&self, deployment: &Deployment, transition: Transition, now: Instant) {
        let model = self.pool.model();
        let (instance, deployment) = (&deployment.instance.name, &deployment.name);
        let (until, cause) = match transition {
            Transition::Opened { until, cause } => (until, cause),
            Transition::Closed => {
                tracing::info!(%model, %instance, %deployment, "deployment serves again");
                return;
            }
        };
        let (pause, why) = (until.saturating_duration_since(now), cause.as_str());
        match cause {
            Cause::Throttle => {
                tracing::info!(%model, %instance, %deployment, ?pause, cause = why, "deployment left alone by its own word");
            }
            Cause::Fault => {
                tracing::warn!(%model, %instance, %deployment, ?pause, cause = why, "deployment left alone: it fails");
            }
            Cause::Credential => {
                tracing::error!(%model, %instance, %deployment, ?pause, cause = why, "deployment set aside: it refuses the gateway's credential; check the identity's role, its scope, and the instance's network rules");
            }
            Cause::Configuration => {
                tracing::error!(%model, %instance, %deployment, ?pause, cause = why, "deployment set aside: the instance has no deployment of this name; check the config");
            }
        }
    }
}
