//! Pingora's own settings, made from a plan.

use pingora::{
    protocols::http::v2::server::{H2Options, default_h2_options},
    server::configuration::ServerConf,
};

use crate::config::Plan;

/// How much of a body an HTTP/2 client may send ahead, per stream and per connection, in bytes: the protocol's own
/// 64 KiB would make a large prompt wait a round trip for each of them.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Of the server as a whole.
pub(super) fn conf(plan: &Plan) -> ServerConf {
    let deployments = || plan.models.iter().map(|model| model.deployments.len());
    let attempts: usize = deployments().max().unwrap_or(0);
    let run = std::env::temp_dir().join(format!("forebay-{}", std::process::id()));
    ServerConf {
        work_stealing: false,
        // How many attempts a request may make is ours to count; this bound only must not be in the way. Beside
        // an attempt a deployment, each may meet closed connections, and refusals of what the gateway added.
        max_retries: 8 * attempts + 8,
        // Of all deployments together: with less than some for each, one's idle connection is closed for another's.
        upstream_keepalive_pool_size: (16 * deployments().sum::<usize>()).max(1024),
        grace_period_seconds: Some(plan.drain.deadline.as_secs()),
        graceful_shutdown_timeout_seconds: Some(0),
        pid_file: run.with_extension("pid").display().to_string(),
        upgrade_sock: run.with_extension("sock").display().to_string(),
        ..ServerConf::default()
    }
}

/// Of HTTP/2 with clients.
pub(super) fn http2(plan: &Plan) -> H2Options {
    let mut options = default_h2_options();
    // Twice what is taken, so that a little too much is answered in words; what is more, by the protocol itself.
    let list = u32::try_from(2 * plan.server.max_headers).unwrap_or(u32::MAX);
    options
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(list.max(64 << 10));
    options
}
