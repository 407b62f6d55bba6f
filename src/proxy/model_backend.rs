//! A model as it is served: its pool, and beside each deployment what reaching and counting it needs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use parking_lot::Mutex;

use super::connector::Connector;
use crate::{
    domain::{
        additions::{Form, Learned},
        deployment::{Bounds, Deployment},
        health::Ability,
        pool::Pool,
        query::ApiVersion,
    },
    telemetry::metrics::DeploymentMetrics,
};

/// One model's pool and its targets, in the pool's order.
pub(crate) struct ModelBackend {
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
    pub(crate) connector: Arc<Connector>,
    pub(crate) metrics: Arc<DeploymentMetrics>,
    /// Which connections it shares: its own.
    pub(crate) group: u64,
    /// What its connections have shown.
    pub(crate) connections: Connections,
    /// What it has shown to take of what the gateway adds.
    pub(crate) takes: Takes,
}

/// What one deployment's connections have shown of which it may be asked over.
#[derive(Default)]
pub(crate) struct Connections {
    /// Those that were made before it last changed take no further request.
    generation: AtomicU64,
    /// It was asked over HTTP/2, and wants HTTP/1.1.
    wants_http1: AtomicBool,
}

/// Below it stand deployments, above it threads.
const GENERATION_AT: u32 = 20;
/// Above threads, below what tells sessions from other requests.
const ALONE_AT: u32 = 48;

impl Connections {
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// No further request goes over connections of this `generation`: those that are open end their requests, and then
    /// themselves.
    pub(super) fn retire(&self, generation: u64) {
        let (order, next) = (Ordering::Relaxed, generation + 1);
        // Of those that find the same connection gone, one retires it.
        let _ = self
            .generation
            .compare_exchange(generation, next, order, order);
    }

    pub(super) fn wants_http1(&self) -> bool {
        self.wants_http1.load(Ordering::Relaxed)
    }

    /// From now on it is asked over HTTP/1.1.
    pub(super) fn note_http1(&self) {
        self.wants_http1.store(true, Ordering::Relaxed);
    }
}

impl Target {
    /// Which connections a request may go over; `alone`: none that is there already.
    pub(super) fn group(&self, alone: bool) -> u64 {
        static ALONE: AtomicU64 = AtomicU64::new(0);
        let generation = self.connections.generation() & 0xfff;
        let group = self.group | generation << GENERATION_AT;
        if alone {
            group | (1 + (ALONE.fetch_add(1, Ordering::Relaxed) & 0x3fff)) << ALONE_AT
        } else {
            group
        }
    }
}

/// What a deployment has shown to take; most take everything, and are not asked about.
#[derive(Default)]
pub(crate) struct Takes {
    is_any: AtomicBool,
    learned: Mutex<Learned>,
}

impl Takes {
    fn look<T>(&self, otherwise: T, look: impl FnOnce(&Learned) -> T) -> T {
        if self.is_any.load(Ordering::Relaxed) {
            look(&self.learned.lock())
        } else {
            otherwise
        }
    }

    /// Whether its streams may be asked for their usage, by a request of this version.
    pub(super) fn tells_usage(&self, version: &ApiVersion<'_>) -> bool {
        self.look(true, |learned| learned.tells_usage(version.as_str()))
    }

    /// How it is told the most output.
    pub(super) fn form(&self, version: &ApiVersion<'_>) -> Form {
        self.look(Form::Usual, |learned| learned.form(version.as_str()))
    }

    /// From now on its streams are not asked for their usage. Whether that is news.
    pub(super) fn note_usage_kept(&self, version: &ApiVersion<'_>) -> bool {
        self.is_any.store(true, Ordering::Relaxed);
        self.learned.lock().note_usage_kept(version.as_str())
    }

    /// From now on it is told the most output in this form. Whether that is news.
    pub(super) fn note_form(&self, version: &ApiVersion<'_>, form: Form) -> bool {
        self.is_any.store(true, Ordering::Relaxed);
        self.learned.lock().note_form(version.as_str(), form)
    }
}

impl ModelBackend {
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
        let mut able = members.filter(|(_, target)| {
            target
                .connector
                .credential
                .header(SystemTime::now())
                .is_some()
        });
        able.any(|(member, _)| member.is_ready(now))
    }

    /// What can become of a request now. Without any credential nothing can, also while the first is on its way.
    pub(crate) fn ability(&self, now: Instant) -> Ability {
        match self.pool.ability(now) {
            Ability::Serves | Ability::Untried if !self.is_ready(now) => Ability::Down,
            ability => ability,
        }
    }
}
