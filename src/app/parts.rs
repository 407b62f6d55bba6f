//! The parts of a gateway, built from a plan.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Instant, SystemTime},
};

use pingora::{apps::HttpServerOptions, server::configuration::ServerConf};
use pingora_proxy::HttpProxy;

use super::{
    background_tasks::Upkeep,
    listener::{ADMIN_CONNECTIONS, Patience, Port},
    logs, pingora_settings,
    signals::Last,
    start_error::StartError,
    tls::{Bound, Tls},
};
use crate::{
    config::{Plan, TlsFiles},
    domain::{
        budget::Budget,
        deployment::{Deployment, Instance},
        pool::Pool,
        quota::Quotas,
    },
    identity::Identities,
    oidc::Issuers,
    proxy::{
        Gateway, KEEP_ALIVE,
        admission::moment,
        body_memory::Memory,
        connection::{ConnectionGuard, Reporting, Rules},
        connector::{Authorities, AuthoritiesError, Connector},
        drain::Drain,
        health::HealthCheck,
        model_backend::{Connections, ModelBackend, Takes, Target},
    },
    store::{CounterFile, CounterWriter, Meters},
    telemetry::{
        Telemetry,
        metrics::{Bounds, Metrics},
        otlp::Otlp,
        traffic_rates::TrafficRates,
    },
};

/// The parts of a gateway that several services share.
pub(super) struct Parts {
    pub(super) plan: Plan,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) identities: Arc<Identities>,
    pub(super) issuers: Arc<Issuers>,
    pub(super) connectors: Vec<Arc<Connector>>,
    pub(super) models: Vec<Arc<ModelBackend>>,
    pub(super) quotas: Arc<Quotas>,
    /// Keeps what is spent, where the config says where.
    pub(super) counter_writer: Option<Arc<CounterWriter>>,
    pub(super) drain: Arc<Drain>,
    pub(super) health: Arc<HealthCheck>,
}

impl Parts {
    pub(super) fn new(plan: Plan) -> Result<Self, StartError> {
        let clients = plan.clients.all().iter().map(|client| &client.name);
        let bounds = Bounds {
            clients: plan.metrics.clients,
            series: plan.metrics.client_series,
        };
        let metrics = Arc::new(Metrics::bounded(clients, bounds));
        metrics.body_memory_limit(plan.bounds.body_memory);
        metrics.config(&plan.hash);
        let access_log = logs::access(&plan.log, &metrics)?;
        let usage_log = logs::usage(&plan.log, &metrics)?;
        let prompt_log = logs::prompts(&plan, &metrics)?;
        let identities = Arc::new(Identities::new(&plan.identities, &plan.instances)?);
        let issuers = Arc::new(Issuers::new(&plan.issuers, &plan.clients)?);
        let connectors = connectors(&plan, &identities)?;
        let models = models(&plan, &connectors, &metrics);
        tell_pools(&identities, &models);
        let otlp = plan
            .otlp
            .as_ref()
            .map(|collector| Otlp::open(collector, &plan.instances, &metrics))
            .transpose()?;
        let telemetry = Arc::new(Telemetry {
            metrics,
            access_log,
            otlp,
            usage_log,
            prompt_log,
            prices: plan.prices.clone(),
            failovers: Arc::default(),
        });
        let quotas = Arc::new(quotas(&plan));
        let counter_writer = counter_writer(&plan, &quotas, &telemetry.metrics)?;
        let drain = Arc::default();
        let health = Arc::new(HealthCheck::new(plan.health, models.clone()));
        Ok(Self {
            plan,
            telemetry,
            identities,
            issuers,
            connectors,
            models,
            quotas,
            counter_writer,
            drain,
            health,
        })
    }

    fn gateway(&self) -> Gateway {
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Gateway {
            models: self
                .models
                .iter()
                .map(|served| (served.pool.model().clone(), Arc::clone(served)))
                .collect(),
            clients: self.plan.clients.clone(),
            quotas: Arc::clone(&self.quotas),
            issuers: Arc::clone(&self.issuers),
            bounds: self.plan.bounds.clone(),
            max_headers: self.plan.server.max_headers,
            body_timeout: self.plan.server.body_timeout,
            header_timeout: self.plan.server.header_timeout,
            front_door: self.plan.front_door.clone(),
            cors: self.plan.cors.clone(),
            tells_models: self.plan.tells_models,
            forwarding: self.plan.server.forwarding.clone(),
            write_timeout: self.plan.server.write_timeout,
            stream_keepalive: self.plan.server.stream_keepalive,
            memory: Memory::new(
                self.plan.bounds.body_memory,
                self.telemetry.metrics.body_memory(),
            ),
            reveal: self.plan.reveal,
            tracing: self.plan.otlp.as_ref().and_then(|otlp| otlp.traces),
            telemetry: Arc::clone(&self.telemetry),
            drain: Arc::clone(&self.drain),
            health: Arc::clone(&self.health),
            started: since_epoch.as_secs(),
        }
    }

    /// The gateway as Pingora runs it, behind what judges connections.
    pub(super) fn guarded(&self, conf: &Arc<ServerConf>) -> ConnectionGuard<HttpProxy<Gateway>> {
        let mut proxy = HttpProxy::new(self.gateway(), Arc::clone(conf));
        proxy.handle_init_modules();
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(KEEP_ALIVE);
        proxy.server_options = Some(options);
        proxy.h2_options = Some(pingora_settings::http2(&self.plan));
        let books = Reporting {
            telemetry: Arc::clone(&self.telemetry),
            drain: Arc::clone(&self.drain),
        };
        ConnectionGuard::new(proxy, self.rules(Some(books)))
    }

    pub(super) fn rules(&self, books: Option<Reporting>) -> Rules {
        Rules {
            max_headers: self.plan.server.max_headers,
            header_timeout: self.plan.server.header_timeout,
            write_timeout: self.plan.server.write_timeout,
            books,
        }
    }

    /// The addresses that clients connect to, taken.
    pub(super) fn ports(&self) -> Result<Vec<Port>, StartError> {
        let clients = self.plan.clients.all().iter();
        let bound = Bound::of(clients.flat_map(|client| &client.certificates));
        let listeners = self.plan.listeners.iter();
        listeners
            .map(|it| self.port(it.address, (it.tls.as_ref(), &bound), it.max_connections))
            .collect()
    }

    pub(super) fn admin_port(&self) -> Result<Option<Port>, StartError> {
        let admin = self.plan.admin.as_ref();
        admin
            .map(|it| {
                let bound = Bound::of(it.operators.iter());
                self.port(it.address, (it.tls.as_ref(), &bound), ADMIN_CONNECTIONS)
            })
            .transpose()
    }

    fn port(
        &self,
        address: SocketAddr,
        (files, bound): (Option<&TlsFiles>, &Bound),
        max_connections: usize,
    ) -> Result<Port, StartError> {
        let metrics = self.telemetry.metrics.listener(address, files.is_some());
        let tls = files
            .map(|files| Tls::open(address, files.clone(), bound.clone(), Arc::clone(&metrics)))
            .transpose()?;
        let patience = Patience {
            handshake: self.plan.server.handshake_timeout,
            write: self.plan.server.write_timeout,
        };
        let drain = Arc::clone(&self.drain);
        Port::open(address, tls, max_connections, metrics, patience, drain)
    }

    pub(super) fn last(&self) -> Last {
        Last {
            telemetry: Arc::clone(&self.telemetry),
            counter_writer: self.counter_writer.clone(),
            drain: Arc::clone(&self.drain),
        }
    }

    pub(super) fn pools(&self) -> Vec<Arc<Pool>> {
        self.models
            .iter()
            .map(|served| Arc::clone(&served.pool))
            .collect()
    }

    /// Watches the deployments in the order in which the pools show them.
    pub(super) fn rates(&self) -> Arc<TrafficRates> {
        let metrics = &self.telemetry.metrics;
        let watched = self.models.iter().map(|served| {
            let model = served.pool.model();
            let counters = served.pool.members().iter().map(|member| {
                let deployment = member.deployment();
                metrics.deployment(model, &deployment.instance.name, &deployment.name)
            });
            (model.clone(), counters.collect())
        });
        let rates = TrafficRates::new(Arc::clone(metrics), watched.collect(), Instant::now());
        Arc::new(rates)
    }

    pub(super) fn upkeep(&self, tls: Vec<Arc<Tls>>, rates: Option<Arc<TrafficRates>>) -> Upkeep {
        Upkeep {
            connectors: self.connectors.clone(),
            identities: Arc::clone(&self.identities),
            tls,
            issuers: Arc::clone(&self.issuers),
            rates,
            health: Arc::clone(&self.health),
        }
    }
}

pub(super) fn connectors(
    plan: &Plan,
    identities: &Identities,
) -> Result<Vec<Arc<Connector>>, StartError> {
    let mut files: HashMap<PathBuf, Arc<Authorities>> = HashMap::new();
    let mut authorities = |path: &PathBuf| {
        if let Some(open) = files.get(path) {
            return Ok(Arc::clone(open));
        }
        let open = Arc::new(Authorities::open(path)?);
        files.insert(path.clone(), Arc::clone(&open));
        Ok::<_, AuthoritiesError>(open)
    };
    let connector = |instance: &Arc<Instance>| {
        let instance = Arc::clone(instance);
        let credential = identities
            .credential(&instance)
            .expect("every instance has been given its credential");
        let authorities = instance
            .ca
            .as_ref()
            .map(&mut authorities)
            .transpose()
            .map_err(|source| StartError::Instance {
                instance: instance.name.to_string(),
                source: io::Error::other(source),
            })?;
        Ok(Arc::new(Connector::new(instance, credential, authorities)))
    };
    plan.instances.iter().map(connector).collect()
}

fn models(plan: &Plan, connectors: &[Arc<Connector>], metrics: &Metrics) -> Vec<Arc<ModelBackend>> {
    let mut groups = 0..;
    let served = plan.models.iter().map(|model| {
        let target = |deployment: &Deployment| {
            let name = &deployment.instance.name;
            let connector = connectors.iter().find(|it| it.instance.name == *name);
            metrics.describe(&model.name, deployment);
            Target {
                connector: Arc::clone(
                    connector.expect("a deployment's instance is one of the plan's"),
                ),
                metrics: metrics.deployment(&model.name, name, &deployment.name),
                group: groups.next().unwrap_or_default(),
                connections: Connections::default(),
                takes: Takes::default(),
            }
        };
        let budget = Budget::new(plan.retry_budget.share, plan.retry_budget.floor);
        let clients = plan
            .clients
            .all()
            .iter()
            .filter(|client| client.may_use(model.name.as_str()));
        let pool = Pool::new(model.clone(), plan.breaker)
            .with_budget(budget)
            .with_one_client(clients.count() <= 1);
        let bounds = plan.bounds.with(model.timeouts);
        let version = model.version.as_deref().map(Arc::from);
        let mut served = ModelBackend::new(pool, bounds, version, target);
        served.is_required = model.required;
        Arc::new(served)
    });
    served.collect()
}

/// What clients may spend; nothing of it is spent.
fn quotas(plan: &Plan) -> Quotas {
    let clients = plan.clients.all().iter();
    let limits = clients.map(|client| (&client.name, &client.limits));
    Quotas::new(limits, plan.counters.calendar.clone(), moment())
}

/// Takes in what was spent before the last restart.
fn counter_writer(
    plan: &Plan,
    quotas: &Arc<Quotas>,
    metrics: &Metrics,
) -> Result<Option<Arc<CounterWriter>>, StartError> {
    let Some(path) = &plan.counters.file else {
        return Ok(None);
    };
    let (failures, set_aside) = (
        metrics.counter_store_failures(),
        metrics.counter_stores_set_aside(),
    );
    let file = CounterFile::open(path, move |name, why| {
        set_aside.inc();
        tracing::error!(event = "counter_store_reset", set_aside = %name.display(), why, "could not read counters.file: it was renamed, and the hourly, daily and monthly usage of all clients starts again at zero; check the disk");
    });
    let meters = Meters {
        count_failure: Box::new(move || failures.inc()),
    };
    let started =
        file.and_then(|file| CounterWriter::start(Box::new(file), Arc::clone(quotas), meters));
    let counter_writer = started.map_err(|source| StartError::Counters {
        path: path.display().to_string(),
        source,
    })?;
    Ok(Some(Arc::new(counter_writer)))
}

/// A pool leaves alone what the gateway has no credential for.
fn tell_pools(identities: &Identities, models: &[Arc<ModelBackend>]) {
    let pools: Vec<_> = models.iter().map(|it| Arc::clone(&it.pool)).collect();
    for credential in identities.credentials() {
        let pools = pools.clone();
        credential.listen(move |instances, validity, now| {
            for pool in &pools {
                instances
                    .iter()
                    .for_each(|instance| pool.note_credential(instance, validity, now));
            }
        });
    }
}
