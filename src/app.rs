//! Builds everything from a plan, starts the server, drains it on a signal.

mod admin;
mod engine;
mod examine;
mod line;
mod listening;
mod logs;
mod open_files;
mod peer;
mod places;
mod signals;
mod start_line;
mod tls;
mod upkeep;
mod workers;

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use pingora::{
    apps::HttpServerOptions,
    server::{RunArgs, Server, configuration::ServerConf},
    services::background::background_service,
};
use pingora_proxy::HttpProxy;
use thiserror::Error;

use crate::{
    config::{Plan, TlsFiles},
    domain::{
        budget::Budget,
        deployment::{Deployment, Instance},
        pool::Pool,
        quota::{Moment, Quotas},
    },
    entra::{Issuers, IssuersError},
    identity::{Identities, IdentitiesError},
    proxy::{
        Gateway, KEEP_ALIVE,
        door::{Books, Door, Rules},
        drain::Drain,
        health::HealthCheck,
        memory::Memory,
        reach::{Authorities, AuthoritiesError, Reach},
        served::{Connections, Served, Takes, Target},
    },
    store::{CounterFile, Keeper, Meters, StoreError},
    telemetry::{
        Telemetry,
        metrics::{Bounds, Metrics},
        otlp::{self, Otlp},
        pulse::Pulse,
    },
};
pub use examine::{Examined, examine};
use listening::{Listening, Patience, Port};
use signals::{Ears, HangUp, Last};
use tls::{Bound, Tls};
use upkeep::Upkeep;

/// How long the start waits for names to be looked up; what comes later is taken in while serving.
const LOOK_UP_TIME: Duration = Duration::from_secs(1);
/// Enough for every probe, scraper and operator.
const ADMIN_CONNECTIONS: usize = 256;

/// Why a gateway can't start. The message says what to mend.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("the address {address} can't be listened on: {source}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(transparent)]
    Identities(#[from] IdentitiesError),
    #[error(transparent)]
    Issuers(#[from] IssuersError),
    #[error("the file of the {log} log can't be opened: {source}")]
    Log {
        log: &'static str,
        source: io::Error,
    },
    #[error("telemetry can't be sent by `otlp`: {0}")]
    Otlp(#[from] otlp::SetupError),
    #[error("the instance {instance} can't be set up: {source}")]
    Instance { instance: String, source: io::Error },
    #[error("the certificate {path} can't be used: {reason}")]
    Certificate { path: String, reason: String },
    #[error("the counters {path} can't be opened: {source}")]
    Counters { path: String, source: StoreError },
    #[error("the gateway can't start: {0}")]
    Io(#[from] io::Error),
}

/// The parts of a gateway that several services share.
struct Parts {
    plan: Plan,
    telemetry: Arc<Telemetry>,
    identities: Arc<Identities>,
    issuers: Arc<Issuers>,
    reaches: Vec<Arc<Reach>>,
    models: Vec<Arc<Served>>,
    quotas: Arc<Quotas>,
    /// Keeps what is spent, where the config says where.
    keeper: Option<Arc<Keeper>>,
    drain: Arc<Drain>,
    health: Arc<HealthCheck>,
}

/// Is given what there is to watch, right before the gateway serves.
pub type Watch = Box<dyn FnOnce(Vec<Arc<Pool>>, Arc<Metrics>) + Send>;

/// Runs a gateway until a signal ends it. Returns only if it can't start.
pub fn serve(plan: Plan) -> Result<std::convert::Infallible, StartError> {
    serve_watched(plan, None)
}

/// The same, watched from inside the process.
pub fn serve_watched(
    plan: Plan,
    watch: Option<Watch>,
) -> Result<std::convert::Infallible, StartError> {
    let hang_up = match watch {
        None => HangUp::Reload,
        Some(_) => HangUp::End,
    };
    let ears = Ears::open(hang_up)?;
    let open_files = open_files::raise();
    if let Some(warning) = open_files::warning(&plan, open_files) {
        tracing::warn!(event = "open_files_low", "{warning}");
    }
    let parts = Parts::new(plan)?;
    let ports = parts.ports()?;
    let admin_port = parts.admin_port()?;
    discover(&parts.reaches)?;

    let conf = engine::conf(&parts.plan);
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let tls: Vec<_> = ports
        .iter()
        .chain(&admin_port)
        .filter_map(|port| port.tls.clone())
        .collect();
    let is_looked_at = admin_port.is_some() || parts.telemetry.otlp.is_some();
    let pulse = is_looked_at.then(|| parts.pulse());
    if let Some(pulse) = &pulse {
        let page = Arc::new(admin::page(&parts, &ports, pulse));
        if let Some(otlp) = &parts.telemetry.otlp {
            let page = Arc::clone(&page);
            otlp.refresh_by(Box::new(move || page.refresh()));
        }
        if let Some(port) = admin_port {
            server.add_service(admin::service(page, &parts, port));
        }
    }
    let door = parts.door(&server.configuration);
    let (drain, started) = (
        Arc::clone(&parts.drain),
        start_line::ready(&parts.plan, open_files),
    );
    let gateway = Listening::new("gateway", door, ports)
        .with_threads(parts.plan.server.threads)
        .on_open(move || {
            drain.open();
            started();
        });
    server.add_service(gateway);
    let mut upkeep = background_service("upkeep", parts.upkeep(tls, pulse));
    upkeep.threads = Some(1);
    server.add_service(upkeep);
    signals::exit_when_drained(
        server.watch_execution_phase(),
        parts.last(),
        parts.plan.drain,
    )?;
    if let Some(watch) = watch {
        watch(parts.pools(), Arc::clone(&parts.telemetry.metrics));
    }
    let signals = ears.signals(parts.last(), parts.plan.drain);
    server.run(RunArgs {
        shutdown_signal: Box::new(signals),
    });
    std::process::exit(0);
}

/// Says at once, and by name, that an address is taken.
pub fn is_free(address: SocketAddr) -> Result<(), StartError> {
    TcpListener::bind(address)
        .map(drop)
        .map_err(|source| StartError::Listen { address, source })
}

/// Names are looked up before the first request can come.
fn discover(reaches: &[Arc<Reach>]) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let all = futures_util::future::join_all(reaches.iter().map(|reach| reach.discover()));
        let _ = tokio::time::timeout(LOOK_UP_TIME, all).await;
    });
    runtime.shutdown_background();
    Ok(())
}

impl Parts {
    fn new(plan: Plan) -> Result<Self, StartError> {
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
        let reaches = reaches(&plan, &identities)?;
        let models = models(&plan, &reaches, &metrics);
        tell_pools(&identities, &models);
        let otlp = plan.otlp.as_ref();
        let otlp = otlp
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
        let keeper = keeper(&plan, &quotas, &telemetry.metrics)?;
        let drain = Arc::default();
        let health = Arc::new(HealthCheck::new(plan.health, models.clone()));
        Ok(Self {
            plan,
            telemetry,
            identities,
            issuers,
            reaches,
            models,
            quotas,
            keeper,
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
            pause: self.plan.server.header_timeout,
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

    /// The gateway as Pingora runs it, behind its door.
    fn door(&self, conf: &Arc<ServerConf>) -> Door<HttpProxy<Gateway>> {
        let mut proxy = HttpProxy::new(self.gateway(), Arc::clone(conf));
        proxy.handle_init_modules();
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(KEEP_ALIVE);
        proxy.server_options = Some(options);
        proxy.h2_options = Some(engine::http2(&self.plan));
        let books = Books {
            telemetry: Arc::clone(&self.telemetry),
            drain: Arc::clone(&self.drain),
        };
        Door::new(proxy, self.rules(Some(books)))
    }

    fn rules(&self, books: Option<Books>) -> Rules {
        Rules {
            max_headers: self.plan.server.max_headers,
            header_timeout: self.plan.server.header_timeout,
            write_timeout: self.plan.server.write_timeout,
            books,
        }
    }

    /// The addresses that clients connect to, taken.
    fn ports(&self) -> Result<Vec<Port>, StartError> {
        let clients = self.plan.clients.all().iter();
        let bound = Bound::of(clients.flat_map(|client| &client.certificates));
        let listeners = self.plan.listeners.iter();
        listeners
            .map(|it| self.port(it.address, (it.tls.as_ref(), &bound), it.max_connections))
            .collect()
    }

    fn admin_port(&self) -> Result<Option<Port>, StartError> {
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

    fn last(&self) -> Last {
        Last {
            telemetry: Arc::clone(&self.telemetry),
            keeper: self.keeper.clone(),
            drain: Arc::clone(&self.drain),
        }
    }

    fn pools(&self) -> Vec<Arc<Pool>> {
        self.models
            .iter()
            .map(|served| Arc::clone(&served.pool))
            .collect()
    }

    /// Watches the deployments in the order in which the pools show them.
    fn pulse(&self) -> Arc<Pulse> {
        let metrics = &self.telemetry.metrics;
        let watched = self.models.iter().map(|served| {
            let model = served.pool.model();
            let counters = served.pool.members().iter().map(|member| {
                let deployment = member.deployment();
                metrics.deployment(model, &deployment.instance.name, &deployment.name)
            });
            (model.clone(), counters.collect())
        });
        let pulse = Pulse::new(Arc::clone(metrics), watched.collect(), Instant::now());
        Arc::new(pulse)
    }

    fn upkeep(&self, tls: Vec<Arc<Tls>>, pulse: Option<Arc<Pulse>>) -> Upkeep {
        Upkeep {
            reaches: self.reaches.clone(),
            identities: Arc::clone(&self.identities),
            tls,
            issuers: Arc::clone(&self.issuers),
            pulse,
            health: Arc::clone(&self.health),
        }
    }
}

fn reaches(plan: &Plan, identities: &Identities) -> Result<Vec<Arc<Reach>>, StartError> {
    let mut files: HashMap<PathBuf, Arc<Authorities>> = HashMap::new();
    let mut authorities = |path: &PathBuf| {
        if let Some(open) = files.get(path) {
            return Ok(Arc::clone(open));
        }
        let open = Arc::new(Authorities::open(path)?);
        files.insert(path.clone(), Arc::clone(&open));
        Ok::<_, AuthoritiesError>(open)
    };
    let reach = |instance: &Arc<Instance>| {
        let instance = Arc::clone(instance);
        let credential = identities
            .credential(&instance)
            .expect("every instance has been given its credential");
        let authorities = instance.ca.as_ref().map(&mut authorities).transpose();
        let authorities = authorities.map_err(|source| StartError::Instance {
            instance: instance.name.to_string(),
            source: io::Error::other(source),
        })?;
        Ok(Arc::new(Reach::new(instance, credential, authorities)))
    };
    plan.instances.iter().map(reach).collect()
}

fn models(plan: &Plan, reaches: &[Arc<Reach>], metrics: &Metrics) -> Vec<Arc<Served>> {
    let mut groups = 0..;
    let served = plan.models.iter().map(|model| {
        let target = |deployment: &Deployment| {
            let name = &deployment.instance.name;
            let reach = reaches.iter().find(|reach| reach.instance.name == *name);
            metrics.describe(&model.name, deployment);
            Target {
                reach: Arc::clone(reach.expect("a deployment's instance is one of the plan's")),
                metrics: metrics.deployment(&model.name, name, &deployment.name),
                group: groups.next().unwrap_or_default(),
                connections: Connections::default(),
                takes: Takes::default(),
            }
        };
        let budget = Budget::new(plan.retry_budget.share, plan.retry_budget.floor);
        let clients = plan.clients.all().iter();
        let clients = clients.filter(|client| client.may_use(model.name.as_str()));
        let pool = Pool::new(model.clone(), plan.breaker)
            .with_budget(budget)
            .with_one_client(clients.count() <= 1);
        let bounds = plan.bounds.with(model.timeouts);
        let version = model.version.as_deref().map(Arc::from);
        let served = Served::new(pool, bounds, version, target);
        Arc::new(served.required(model.required))
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
fn keeper(
    plan: &Plan,
    quotas: &Arc<Quotas>,
    metrics: &Metrics,
) -> Result<Option<Arc<Keeper>>, StartError> {
    let Some(path) = &plan.counters.file else {
        return Ok(None);
    };
    let (failures, set_aside) = (
        metrics.counter_store_failures(),
        metrics.counter_stores_set_aside(),
    );
    let file = CounterFile::open(path, move |name, why| {
        set_aside.inc();
        tracing::error!(event = "counter_store_reset", set_aside = %name.display(), why, "counters.file can't be read: it was set aside, and what clients had spent before is forgotten");
    });
    let meters = Meters {
        count_failure: Box::new(move || failures.inc()),
    };
    let keeper = file.and_then(|file| Keeper::start(Box::new(file), Arc::clone(quotas), meters));
    let keeper = keeper.map_err(|source| StartError::Counters {
        path: path.display().to_string(),
        source,
    })?;
    Ok(Some(Arc::new(keeper)))
}

fn moment() -> Moment {
    Moment {
        at: Instant::now(),
        wall: SystemTime::now(),
    }
}

/// A pool leaves alone what the gateway has no credential for.
fn tell_pools(identities: &Identities, models: &[Arc<Served>]) {
    let pools: Vec<_> = models.iter().map(|it| Arc::clone(&it.pool)).collect();
    for credential in identities.credentials() {
        let pools = pools.clone();
        credential.listen(move |instances, term, now| {
            for pool in &pools {
                instances
                    .iter()
                    .for_each(|instance| pool.note_term(instance, term, now));
            }
        });
    }
}
