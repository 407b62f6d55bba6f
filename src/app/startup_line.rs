//! The log line of a start: version, listeners, config, numbers of models, deployments and clients.

use std::net::SocketAddr;

use crate::config::Plan;

/// Says it once called, when the listeners are open.
pub(super) fn ready(plan: &Plan, open_files: u64) -> impl FnOnce() + Send + Sync + 'static {
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
