//! What is kept fresh beside the requests, all in one service: Pingora gives each service threads of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use pingora::{server::ShutdownWatch, services::background::BackgroundService};

use super::tls::{self, Tls};
use crate::{
    identity::Identities,
    oidc::Issuers,
    proxy::{connector::Connector, health::HealthCheck},
    telemetry::traffic_rates::{self, TrafficRates},
};

/// How often the gateway's own health is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Upkeep {
    pub(super) connectors: Vec<Arc<Connector>>,
    pub(super) identities: Arc<Identities>,
    pub(super) issuers: Arc<Issuers>,
    pub(super) tls: Vec<Arc<Tls>>,
    /// Where somebody may look at it.
    pub(super) rates: Option<Arc<TrafficRates>>,
    pub(super) health: Arc<HealthCheck>,
}

#[async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, shutdown: ShutdownWatch) {
        let mut tasks = tokio::task::JoinSet::new();
        for credential in self.identities.credentials() {
            tasks.spawn(Arc::clone(credential).run(shutdown.clone()));
        }
        for cache in self.issuers.caches() {
            tasks.spawn(Arc::clone(cache).run(shutdown.clone()));
        }
        for connector in &self.connectors {
            tasks.spawn(Arc::clone(connector).keep_fresh(shutdown.clone()));
        }
        for tls in &self.tls {
            tasks.spawn(watch(Arc::clone(tls), shutdown.clone()));
        }
        if let Some(rates) = &self.rates {
            let rates = Arc::clone(rates);
            let beat = move || rates.beat(Instant::now());
            tasks.spawn(every(traffic_rates::EVERY, shutdown.clone(), beat));
        }
        // What lasts for seconds is seen also where no load balancer asks for it.
        let health = Arc::clone(&self.health);
        let look = move || drop(health.look(Instant::now()));
        tasks.spawn(every(LOOK_EVERY, shutdown.clone(), look));
        while tasks.join_next().await.is_some() {}
    }
}

/// Looks at a listener's files now and then, on a thread that may block.
async fn watch(tls: Arc<Tls>, mut shutdown: ShutdownWatch) {
    loop {
        tokio::select! {
            _ = shutdown.changed() => return,
            () = tokio::time::sleep(tls::LOOK_EVERY) => {}
        }
        let tls = Arc::clone(&tls);
        let look = tokio::task::spawn_blocking(move || tls.look(SystemTime::now()));
        if look.await.is_err() {
            tracing::error!(
                event = "certificate_check_failed",
                "the check for changed certificate files failed"
            );
        }
    }
}

/// Does this now and each time that so long has passed.
async fn every(period: Duration, mut shutdown: ShutdownWatch, what: impl Fn()) {
    let mut every = tokio::time::interval(period);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = shutdown.changed() => return,
            _ = every.tick() => what(),
        }
    }
}
