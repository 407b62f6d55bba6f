//! One simulated resource: its deployments, who may come in, its part of the statistics.
//!
//! What happens to each request is `handler.rs`'s matter.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use http::{HeaderMap, HeaderValue, Request, header};
use hyper::body::Incoming;
use parking_lot::Mutex;

use super::{
    config::{self, Kind, Role},
    deployment::{Deployment, fnv},
    faults::{FaultKind, FaultSlot},
    headers,
    recorder::{InstanceStats, RequestLog, RequestStats, SeenRequest, SharedRequest, microseconds},
    refusal::Refusal,
    tokens::{Grant, TokenStore},
};

pub(crate) struct Instance {
    pub(super) name: String,
    pub(super) config: config::Instance,
    /// What every answer carries.
    pub(super) headers: HeaderMap,
    pub(crate) deployments: HashMap<String, Arc<Deployment>>,
    /// The fault of all deployments.
    pub(crate) faults: FaultSlot,
    pub(super) other: Arc<Mutex<RequestStats>>,
    connections: AtomicU64,
    token_store: Arc<TokenStore>,
    /// Present in `record: full`.
    request_log: Option<Arc<RequestLog>>,
    rng: Mutex<fastrand::Rng>,
}

impl Instance {
    pub(crate) fn new(
        name: &str,
        config: &config::Instance,
        seed: u64,
        token_store: Arc<TokenStore>,
        request_log: Option<Arc<RequestLog>>,
    ) -> Self {
        let (started, seed) = (Instant::now(), seed ^ fnv(name.as_bytes()));
        let deployments = config.deployments.iter().map(|(name, config)| {
            let deployment = Deployment::new(name, config, seed, started);
            (name.clone(), Arc::new(deployment))
        });
        let headers = match config.kind {
            Kind::AzureOpenai | Kind::Foundry => headers::azure(&config.region),
            Kind::Openai => HeaderMap::new(),
        };
        Self {
            name: name.to_owned(),
            config: config.clone(),
            headers,
            deployments: deployments.collect(),
            faults: FaultSlot::new(config.fault.clone(), started),
            other: Arc::default(),
            connections: AtomicU64::new(0),
            token_store,
            request_log,
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
        }
    }

    pub(crate) fn stats(&self) -> InstanceStats {
        let pages = self
            .deployments
            .iter()
            .map(|(name, deployment)| (name.clone(), deployment.stats.lock().clone()));
        InstanceStats {
            deployments: pages.collect(),
            other: self.other.lock().clone(),
            connections: self.connections.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn clear_stats(&self) {
        self.deployments
            .values()
            .for_each(|deployment| deployment.stats.lock().clear());
        self.other.lock().clear();
        self.connections.store(0, Ordering::Relaxed);
    }

    pub(super) fn azure(&self) -> bool {
        self.config.kind != Kind::Openai
    }

    /// A deployment by its name; Azure doesn't mind its case.
    pub(super) fn deployment(&self, name: &str) -> Option<&Arc<Deployment>> {
        self.deployments.get(name).or_else(|| {
            let mut all = self.deployments.iter().filter(|_| self.azure());
            let alike = all.find(|(known, _)| known.eq_ignore_ascii_case(name));
            alike.map(|(_, deployment)| deployment)
        })
    }

    /// The fault that meets a request now: the deployment's own before the instance's.
    pub(super) fn fault(&self, deployment: Option<&Deployment>, early: bool) -> Option<FaultKind> {
        let (now, mut rng) = (Instant::now(), self.rng.lock());
        let mut draw = |fault_slot: &FaultSlot| {
            fault_slot.draw(now, &mut rng, |kind| kind.is_early() == early)
        };
        deployment
            .and_then(|deployment| draw(&deployment.faults))
            .or_else(|| draw(&self.faults))
    }

    /// The fault that is set on this deployment alone.
    pub(super) fn own_fault(&self, deployment: &Deployment) -> Option<FaultKind> {
        let (now, mut rng) = (Instant::now(), self.rng.lock());
        let faults = &deployment.faults;
        faults.draw(now, &mut rng, |kind| !kind.is_early())
    }

    pub(super) fn remember(&self, request: &Request<Incoming>) -> Option<SharedRequest> {
        let header = |(name, value): (&http::HeaderName, &HeaderValue)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.to_string(), value.into_owned())
        };
        let request_log = self.request_log.as_ref()?;
        Some(
            request_log.remember(SeenRequest {
                arrived_us: microseconds(request_log.clock()),
                arrived: Some(Instant::now()),
                instance: self.name.clone(),
                method: request.method().to_string(),
                path: request
                    .uri()
                    .path_and_query()
                    .map_or_else(String::new, ToString::to_string),
                http_version: format!("{:?}", request.version()),
                headers: request.headers().iter().map(header).collect(),
                ..SeenRequest::default()
            }),
        )
    }

    /// Whether the caller may come in: by key, or by a token of this simulation.
    pub(super) fn authenticate(
        &self,
        headers: &HeaderMap,
        key_as_bearer: bool,
        action: &str,
    ) -> Result<(), Refusal> {
        if let Some(key) = headers.get("api-key") {
            let known = key.to_str().is_ok_and(|key| self.knows(key));
            return known.then_some(()).ok_or_else(Refusal::bad_key);
        }
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let (_, token) = bearer
            .and_then(|value| value.split_at_checked(7))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer "))
            .ok_or_else(Refusal::bad_key)?;
        if key_as_bearer && self.knows(token) {
            return Ok(());
        }
        let grant = self.token_store.find(token, Instant::now());
        self.check(grant.as_deref(), action)?;
        self.token_store.note_used(token);
        Ok(())
    }

    fn knows(&self, key: &str) -> bool {
        self.config.keys.iter().any(|known| known == key)
    }

    /// Whether a good token is allowed this; `action`: what has to be allowed, below `accounts/`.
    fn check(&self, grant: Option<&Grant>, action: &str) -> Result<(), Refusal> {
        let config = &self.config;
        if !config.custom_subdomain {
            return Err(Refusal::no_custom_subdomain());
        }
        let is_taken = |it: &&Grant| config.audiences.contains(&it.audience);
        let Some(grant) = grant.filter(is_taken) else {
            let audience = config.audiences.first().map_or("", String::as_str);
            return Err(Refusal::bad_token(audience));
        };
        let is_of = |tenant: &String| *tenant == grant.tenant;
        if !config.tenant_id.as_ref().is_none_or(is_of) {
            return Err(Refusal::other_tenant(&grant.tenant));
        }
        let role = match &config.roles {
            None => Some(Role::User),
            Some(roles) => roles.get(&grant.client).copied(),
        };
        match role {
            Some(Role::User) => Ok(()),
            Some(Role::OpenaiUser) if action.starts_with("OpenAI/") => Ok(()),
            _ => Err(Refusal::no_role(&grant.client, action)),
        }
    }

    /// Counts a connection; whether it is let in.
    pub(super) fn accepts_connection(&self) -> bool {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let (now, mut rng) = (Instant::now(), self.rng.lock());
        let resets = |kind: &FaultKind| matches!(kind, FaultKind::ResetOnConnect {});
        self.faults.draw(now, &mut rng, resets).is_none()
    }

    /// One request's own chance.
    pub(super) fn fork_rng(&self) -> fastrand::Rng {
        self.rng.lock().fork()
    }
}
