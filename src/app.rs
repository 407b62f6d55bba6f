//! Builds everything from a plan, starts the server, drains it on a signal.

mod signals;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use http::{Response, header};
use pingora::{
    apps::{
        HttpServerOptions,
        http_app::{HttpServer, ServeHttp},
    },
    listeners::{L4BufferSettings, ListenerConfig, tls::TlsSettings},
    protocols::http::{
        ServerSession,
        v2::server::{H2Options, default_h2_options},
    },
    server::{RunArgs, Server, ShutdownWatch, configuration::ServerConf},
    services::{
        background::{BackgroundService, background_service},
        listening::Service,
    },
};
use thiserror::Error;

use crate::{
    admin::{Admin, IdentityState, IssuerState, Phase},
    config::{Listener, Plan},
    domain::{budget::Budget, deployment::Deployment, pool::Pool},
    entra::{Issuers, IssuersError, Keeper},
    identity::{Credential, Identities, IdentitiesError},
    proxy::{
        Gateway, KEEP_ALIVE,
        door::{Door, Rules},
        drain::Drain,
        memory::Memory,
        reach::Reach,
        served::{Served, Target},
    },
    telemetry::{access_log::AccessLog, metrics::Metrics},
};

/// How long the start waits for names to be looked up; what comes later is taken in while serving.
const LOOK_UP_TIME: Duration = Duration::from_secs(1);
/// The write buffer towards clients: an answer's head and a body of this size leave in one write.
const WRITE_BUFFER: usize = 16 << 10;
/// The read buffer: each open connection keeps one, and what comes after a request's head goes past it.
const READ_BUFFER: usize = 16 << 10;
/// How much of a body an HTTP/2 client may send ahead, per stream and per connection, in bytes: the protocol's own
/// 64 KiB would make a large prompt wait a round trip for each of them.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

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
    #[error("the access log {path} can't be opened: {source}")]
    AccessLog { path: String, source: io::Error },
    #[error("the instance {instance} can't be set up: {source}")]
    Instance { instance: String, source: io::Error },
    #[error("the certificate {path} can't be used: {reason}")]
    Certificate { path: String, reason: String },
    #[error("the gateway can't start: {0}")]
    Io(#[from] io::Error),
}

/// The parts of a gateway that several services share.
struct Parts {
    plan: Plan,
    metrics: Arc<Metrics>,
    access_log: Arc<AccessLog>,
    identities: Arc<Identities>,
    issuers: Arc<Issuers>,
    reaches: Vec<Arc<Reach>>,
    models: Vec<Arc<Served>>,
    drain: Arc<Drain>,
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
    let addresses = plan
        .listeners
        .iter()
        .map(|listener| listener.address)
        .chain(plan.admin);
    addresses.into_iter().try_for_each(is_free)?;
    let parts = Parts::new(plan)?;
    discover(&parts.reaches)?;

    let conf = server_conf(&parts.plan);
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy = pingora_proxy::http_proxy(&server.configuration, parts.gateway());
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.h2_idle_timeout = Some(KEEP_ALIVE);
    proxy.server_options = Some(options);
    proxy.h2_options = Some(http2(&parts.plan));
    let mut gateway = Service::new("gateway".to_owned(), Door::new(proxy, parts.rules()));
    for listener in &parts.plan.listeners {
        gateway.add_listener(endpoint(listener)?);
    }
    server.add_service(gateway);
    if let Some(address) = parts.plan.admin {
        server.add_service(admin_service(&parts, address));
    }
    let mut upkeep = background_service("upkeep", parts.upkeep());
    upkeep.threads = Some(1);
    server.add_service(upkeep);
    signals::exit_when_drained(
        server.watch_execution_phase(),
        &parts.drain,
        &parts.access_log,
        parts.plan.drain,
    )?;
    if let Some(watch) = watch {
        watch(parts.pools(), Arc::clone(&parts.metrics));
    }
    let signals = signals::Signals::new(parts.drain, parts.access_log, parts.plan.drain);
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

fn server_conf(plan: &Plan) -> ServerConf {
    let attempts: usize = plan
        .models
        .iter()
        .map(|model| model.deployments.len())
        .max()
        .unwrap_or(0);
    let run = std::env::temp_dir().join(format!("forebay-{}", std::process::id()));
    ServerConf {
        threads: plan.server.threads,
        work_stealing: false,
        // How many attempts a request may make is ours to count; this bound only must not be in the way. Beside
        // an attempt a deployment, each may meet closed connections.
        max_retries: 4 * attempts + 4,
        upstream_keepalive_pool_size: 1024,
        grace_period_seconds: Some(plan.drain.deadline.as_secs()),
        graceful_shutdown_timeout_seconds: Some(0),
        pid_file: run.with_extension("pid").display().to_string(),
        upgrade_sock: run.with_extension("sock").display().to_string(),
        ..ServerConf::default()
    }
}

fn http2(plan: &Plan) -> H2Options {
    let mut options = default_h2_options();
    // Twice what is taken, so that a little too much is answered in words; what is more, by the protocol itself.
    let list = u32::try_from(2 * plan.server.max_headers).unwrap_or(u32::MAX);
    options
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(list.max(64 << 10));
    options
}

fn endpoint(listener: &Listener) -> Result<ListenerConfig, StartError> {
    let buffer = L4BufferSettings::default()
        .read(READ_BUFFER)
        .write(WRITE_BUFFER);
    let endpoint = ListenerConfig::tcp(listener.address.to_string()).l4_buffer(buffer);
    let Some(files) = &listener.tls else {
        return Ok(endpoint);
    };
    let path = |file: &std::path::Path| file.display().to_string();
    let unfit = |error: Box<pingora::Error>| StartError::Certificate {
        path: path(&files.certificate),
        reason: error.to_string(),
    };
    let mut tls =
        TlsSettings::intermediate(&path(&files.certificate), &path(&files.key)).map_err(unfit)?;
    tls.enable_h2();
    Ok(endpoint.tls(tls))
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
        let metrics = Arc::new(Metrics::new());
        metrics.config(&plan.hash);
        let log = plan.log.access.as_deref();
        let access_log = AccessLog::open(log, metrics.log_lines_dropped()).map_err(|source| {
            let path = log
                .map(|path| path.display().to_string())
                .unwrap_or_default();
            StartError::AccessLog { path, source }
        })?;
        let identities = Arc::new(Identities::new(&plan.identities, &plan.instances)?);
        let issuers = Arc::new(Issuers::new(&plan.issuers, &plan.clients)?);
        let reaches = reaches(&plan, &identities)?;
        let models = models(&plan, &reaches, &metrics);
        tell_pools(&identities, &models);
        let (access_log, drain) = (Arc::new(access_log), Arc::default());
        Ok(Self {
            plan,
            metrics,
            access_log,
            identities,
            issuers,
            reaches,
            models,
            drain,
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
            issuers: Arc::clone(&self.issuers),
            bounds: self.plan.bounds.clone(),
            max_headers: self.plan.server.max_headers,
            body_timeout: self.plan.server.body_timeout,
            pause: self.plan.server.header_timeout,
            front_door: self.plan.front_door.clone(),
            forwarding: self.plan.server.forwarding.clone(),
            stream_keepalive: self.plan.server.stream_keepalive,
            memory: Memory::new(self.plan.bounds.body_memory, self.metrics.body_memory()),
            reveal: self.plan.reveal,
            metrics: Arc::clone(&self.metrics),
            access_log: Arc::clone(&self.access_log),
            drain: Arc::clone(&self.drain),
            started: since_epoch.as_secs(),
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            max_headers: self.plan.server.max_headers,
            header_timeout: self.plan.server.header_timeout,
            metrics: Arc::clone(&self.metrics),
            access_log: Arc::clone(&self.access_log),
            drain: Arc::clone(&self.drain),
        }
    }

    fn admin(&self) -> Admin {
        let (identities, drain) = (Arc::clone(&self.identities), Arc::clone(&self.drain));
        let (issuers, checks) = (Arc::clone(&self.issuers), Arc::clone(&self.issuers));
        Admin {
            metrics: Arc::clone(&self.metrics),
            pools: self.pools(),
            identities: Box::new(move || {
                identities
                    .credentials()
                    .iter()
                    .map(|c| identity_state(c))
                    .collect()
            }),
            issuers: Box::new(move || issuers.keepers().iter().map(|k| issuer_state(k)).collect()),
            token_checks: Box::new(move || checks.checked()),
            phase: Box::new(move || match (drain.is_draining(), drain.is_open()) {
                (true, _) => Phase::Draining,
                (false, true) => Phase::Serving,
                (false, false) => Phase::Starting,
            }),
            started: Instant::now(),
        }
    }

    fn pools(&self) -> Vec<Arc<Pool>> {
        self.models
            .iter()
            .map(|served| Arc::clone(&served.pool))
            .collect()
    }

    fn upkeep(&self) -> Upkeep {
        Upkeep {
            reaches: self.reaches.clone(),
            identities: Arc::clone(&self.identities),
            issuers: Arc::clone(&self.issuers),
            listeners: self
                .plan
                .listeners
                .iter()
                .map(|listener| listener.address)
                .collect(),
            drain: Arc::clone(&self.drain),
        }
    }
}

fn reaches(plan: &Plan, identities: &Identities) -> Result<Vec<Arc<Reach>>, StartError> {
    let reach = |instance: &Arc<_>| {
        let instance = Arc::clone(instance);
        let credential = identities
            .credential(&instance)
            .expect("every instance has been given its credential");
        let failed = |source, name: String| StartError::Instance {
            instance: name,
            source,
        };
        let name = instance.name.to_string();
        Reach::new(instance, credential)
            .map(Arc::new)
            .map_err(|source| failed(source, name))
    };
    plan.instances.iter().map(reach).collect()
}

fn models(plan: &Plan, reaches: &[Arc<Reach>], metrics: &Metrics) -> Vec<Arc<Served>> {
    let mut groups = 0..;
    let served = plan.models.iter().map(|model| {
        let target = |deployment: &Deployment| {
            let name = &deployment.instance.name;
            let reach = reaches.iter().find(|reach| reach.instance.name == *name);
            Target {
                reach: Arc::clone(reach.expect("a deployment's instance is one of the plan's")),
                metrics: metrics.deployment(&model.name, name, &deployment.name),
                group: groups.next().unwrap_or_default(),
            }
        };
        let budget = Budget::new(plan.retry_budget.share, plan.retry_budget.floor);
        let pool = Pool::new(model.clone(), plan.breaker).with_budget(budget);
        let bounds = plan.bounds.with(model.timeouts);
        Arc::new(Served::new(pool, bounds, target))
    });
    served.collect()
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

fn identity_state(credential: &Credential) -> IdentityState {
    let state = credential.state();
    IdentityState {
        identity: state.identity,
        kind: state.kind,
        source: state.source,
        asked_at: state.asked_at,
        instances: state.instances,
        scope: state.scope,
        ready: credential.header(SystemTime::now()).is_some(),
        expires_on: state.expires_on,
        failures: state.failures,
        last_error: state.last_error,
    }
}

fn issuer_state(keeper: &Keeper) -> IssuerState {
    let state = keeper.state();
    IssuerState {
        issuer: state.issuer,
        url: state.url,
        keys: state.keys,
        fetched_at: state.fetched_at,
        fetches: state.fetches,
        failures: state.failures,
        last_error: state.last_error,
    }
}

fn admin_service(parts: &Parts, address: SocketAddr) -> Service<HttpServer<AdminApp>> {
    let mut service = Service::new(
        "admin".to_owned(),
        HttpServer::new_app(AdminApp(parts.admin())),
    );
    service.threads = Some(1);
    service.add_tcp(&address.to_string());
    service
}

/// The admin page as Pingora serves it.
struct AdminApp(Admin);

#[async_trait]
impl ServeHttp for AdminApp {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let head = session.req_header();
        let page = self.0.page(&head.method, head.uri.path());
        let length = page.body.len();
        let body = if head.method == http::Method::HEAD {
            Vec::new()
        } else {
            page.body
        };
        let mut response = Response::new(body);
        *response.status_mut() = page.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static(page.content_type),
        );
        headers.insert(header::CONTENT_LENGTH, length.into());
        headers.insert(
            header::CACHE_CONTROL,
            header::HeaderValue::from_static("no-store"),
        );
        response
    }
}

/// What is kept fresh beside the requests, all in one service: Pingora gives each service threads of its own.
struct Upkeep {
    reaches: Vec<Arc<Reach>>,
    identities: Arc<Identities>,
    issuers: Arc<Issuers>,
    listeners: Vec<SocketAddr>,
    drain: Arc<Drain>,
}

#[async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, shutdown: ShutdownWatch) {
        let mut tasks = tokio::task::JoinSet::new();
        for credential in self.identities.credentials() {
            tasks.spawn(Arc::clone(credential).run(shutdown.clone()));
        }
        for keeper in self.issuers.keepers() {
            tasks.spawn(Arc::clone(keeper).run(shutdown.clone()));
        }
        for reach in &self.reaches {
            let (reach, shutdown) = (Arc::clone(reach), shutdown.clone());
            tasks.spawn(async move { reach.keep_fresh(shutdown).await });
        }
        for address in &self.listeners {
            wait_for(*address).await;
        }
        self.drain.open();
        while tasks.join_next().await.is_some() {}
    }
}

/// Until the listener takes connections.
async fn wait_for(mut address: SocketAddr) {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
