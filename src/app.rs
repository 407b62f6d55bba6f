//! Builds everything from a plan, starts the server, drains it on a signal.

mod admin;
mod buffered_stream;
mod connection_limit;
mod listener;
mod logs;
mod parts;
mod peer_certificate;
mod pingora_settings;
mod preflight;

mod background_tasks;
mod signals;
mod start_error;
mod tls;
mod workers;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use pingora::{
    server::{RunArgs, Server},
    services::background::background_service,
};

use self::{
    listener::Listening,
    parts::Parts,
    signals::{Ears, HangUp},
};
pub use self::{
    preflight::{Examined, examine},
    start_error::StartError,
};
use crate::{
    config::Plan, domain::pool::Pool, proxy::connector::Connector, telemetry::metrics::Metrics,
};

/// How long the start waits for names to be looked up; what comes later is taken in while serving.
const LOOK_UP_TIME: Duration = Duration::from_secs(1);
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
    let open_files = preflight::raise_open_files();
    if let Some(warning) = preflight::too_few_open_files(&plan, open_files) {
        tracing::warn!(event = "open_files_low", "{warning}");
    }
    let parts = Parts::new(plan)?;
    let ports = parts.ports()?;
    let admin_port = parts.admin_port()?;
    discover(&parts.connectors)?;

    let conf = pingora_settings::conf(&parts.plan);
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let tls: Vec<_> = ports
        .iter()
        .chain(&admin_port)
        .filter_map(|port| port.tls.clone())
        .collect();
    let is_looked_at = admin_port.is_some() || parts.telemetry.otlp.is_some();
    let rates = is_looked_at.then(|| parts.rates());
    if let Some(rates) = &rates {
        let page = Arc::new(admin::page(&parts, &ports, rates));
        if let Some(otlp) = &parts.telemetry.otlp {
            let page = Arc::clone(&page);
            otlp.refresh_by(Box::new(move || page.refresh()));
        }
        if let Some(port) = admin_port {
            server.add_service(admin::service(page, &parts, port));
        }
    }
    let guarded = parts.guarded(&server.configuration);
    let (drain, started) = (Arc::clone(&parts.drain), ready(&parts.plan, open_files));
    let gateway = Listening::new("gateway", guarded, ports)
        .with_threads(parts.plan.server.threads)
        .on_open(move || {
            drain.open();
            started();
        });
    server.add_service(gateway);
    let mut upkeep = background_service("upkeep", parts.upkeep(tls, rates));
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
fn discover(connectors: &[Arc<Connector>]) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let all = futures_util::future::join_all(connectors.iter().map(|reach| reach.discover()));
        let _ = tokio::time::timeout(LOOK_UP_TIME, all).await;
    });
    runtime.shutdown_background();
    Ok(())
}

/// Says what runs once called, when the listeners are open.
fn ready(plan: &Plan, open_files: u64) -> impl FnOnce() + Send + Sync + 'static {
    let address = |address: SocketAddr, is_tls: bool| {
        if is_tls {
            format!("{address} (TLS)")
        } else {
            address.to_string()
        }
    };
    let listeners: Vec<_> = plan
        .listeners
        .iter()
        .map(|it| address(it.address, it.tls.is_some()))
        .collect();
    let admin = plan.admin.as_ref().map_or("none".to_owned(), |it| {
        address(it.address, it.tls.is_some())
    });
    let models = plan.models.len();
    let deployments: usize = plan.models.iter().map(|it| it.deployments.len()).sum();
    let (clients, config) = (plan.clients.all().len(), plan.hash.clone());
    move || {
        let (version, listeners) = (env!("CARGO_PKG_VERSION"), listeners.join(", "));
        tracing::info!(event = "gateway_started", version, listeners, admin, %config, models, deployments, clients, open_files, "forebay is ready and serves requests");
    }
}
