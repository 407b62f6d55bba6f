//! What every request finds: the gateway's models, clients and limits, as the config says them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{body_memory::Memory, drain::Drain, health::HealthCheck, model_backend::ModelBackend};
use crate::{
    domain::{
        client::{Client, Clients},
        cors::Cors,
        deployment::Bounds,
        forwarding::Forwarding,
        front_door::FrontDoor,
        name::ModelName,
        quota::Quotas,
        refusal::Refusal,
        trace::Sampling,
    },
    oidc::Issuers,
    telemetry::Telemetry,
};

/// The gateway as Pingora's proxy.
pub struct Gateway {
    pub(crate) models: HashMap<ModelName, Arc<ModelBackend>>,
    pub(crate) clients: Clients,
    /// What clients may spend.
    pub(crate) quotas: Arc<Quotas>,
    /// For clients that show tokens.
    pub(crate) issuers: Arc<Issuers>,
    pub(crate) bounds: Bounds,
    /// Of a request's line and headers together, in bytes.
    pub(crate) max_headers: usize,
    /// For a request's body to arrive.
    pub(crate) body_timeout: Duration,
    /// For a request's head to arrive; a body may pause no longer than that while it does.
    pub(crate) header_timeout: Duration,
    /// What must stand before the gateway, if anything.
    pub(crate) front_door: Option<FrontDoor>,
    /// Which web pages may ask; `None`: what a browser sends by itself proves nobody for any page of elsewhere.
    pub(crate) cors: Option<Cors>,
    /// Whether anyone may ask how a model is, and so which there are.
    pub(crate) tells_models: bool,
    /// Which of a client's headers go on.
    pub(crate) forwarding: Forwarding,
    /// How long a client may leave unread what is written to it.
    pub(crate) write_timeout: Duration,
    /// How long a stream may be quiet before something is written into it; `None`: for ever.
    pub(crate) stream_keepalive: Option<Duration>,
    /// For the bodies of all requests.
    pub(crate) memory: Memory,
    pub(crate) reveal: bool,
    /// Which traces that start here are kept; `None`: traces are sent nowhere, and what clients say of them goes on.
    pub(crate) tracing: Option<Sampling>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) health: Arc<HealthCheck>,
    /// Seconds since 1970, when the gateway started.
    pub(crate) started: u64,
}

impl Gateway {
    /// A model by its name, whatever its case, as Azure finds deployments. Most clients write it as the config does.
    pub(super) fn known(&self, model: &str) -> Option<&Arc<ModelBackend>> {
        self.models.get(model).or_else(|| {
            let mut models = self.models.iter();
            let alike = models.find(|(name, _)| name.as_str().eq_ignore_ascii_case(model));
            alike.map(|(_, served)| served)
        })
    }

    /// A model this client may use; one that it may not looks like one that isn't there.
    pub(super) fn find(&self, client: &Client, model: &str) -> Result<Arc<ModelBackend>, Refusal> {
        let served = self.known(model);
        let served = served.filter(|it| client.may_use(it.pool.model().as_str()));
        served.cloned().ok_or(Refusal::UnknownModel)
    }

    /// All that a client may use.
    pub(super) fn open_to(&self, client: &Client) -> Vec<ModelName> {
        let models = self.models.keys();
        let open = models.filter(|model| client.may_use(model.as_str()));
        open.cloned().collect()
    }

    /// What `/health` says.
    pub(super) fn is_healthy(&self) -> bool {
        !self.drain.is_draining() && self.health.look(Instant::now()).is_healthy()
    }
}
