//! A model as it is served: its pool, and beside each deployment what reaching and counting it needs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Instant, SystemTime},
};

use super::reach::Reach;
use crate::{
    domain::{
        breaker::{Cause, Transition},
        deployment::{Bounds, Deployment},
        health::Ability,
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
    /// Whether the gateway's health falls with it.
    pub(crate) is_required: bool,
}

/// What sending to one deployment needs.
pub(crate) struct Target {
    pub(crate) reach: Arc<Reach>,
    pub(crate) metrics: Arc<DeploymentMetrics>,
    /// Which connections it shares: its own.
    pub(crate) group: u64,
    /// It has refused to be asked for a stream's usage, and served the same request without that.
    pub(crate) keeps_usage: AtomicBool,
}

impl Target {
    /// Whether its streams may be asked for their usage.
    pub(super) fn tells_usage(&self) -> bool {
        !self.keeps_usage.load(Ordering::Relaxed)
    }

    /// From now on its streams are not asked for their usage. Whether that is news.
    pub(super) fn note_usage_kept(&self) -> bool {
        !self.keeps_usage.swap(true, Ordering::Relaxed)
    }
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
            is_required: false,
        }
    }

    /// Whether a request could be sent somewhere now, with a credential.
    pub(crate) fn is_ready(&self, now: Instant) -> bool {
        let members = self.pool.members().iter().zip(&self.targets);
        let mut able = members
            .filter(|(_, target)| target.reach.credential.header(SystemTime::now()).is_some());
        able.any(|(member, _)| member.is_ready(now))
    }

    #[must_use]
    pub(crate) fn required(self, is_required: bool) -> Self {
        Self {
            is_required,
            ..self
        }
    }

    /// What can become of a request now. Without any credential nothing can, also while the first is on its way.
    pub(crate) fn ability(&self, now: Instant) -> Ability {
        match self.pool.ability(now) {
            Ability::Serves | Ability::Untried if !self.is_ready(now) => Ability::Down,
            ability => ability,
        }
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
