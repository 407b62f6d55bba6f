//! How many files and connections the system lets the process have open at once. Its soft limit is there for programs that
//! can't count further than 1024; the gateway takes all that it may.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::listener::ADMIN_CONNECTIONS;
use crate::config::Plan;

/// Files, sockets of its own, idle connections: beside those to clients, and one to a deployment for each of them.
const BESIDE: u64 = 256;
/// Where the hard limit is none: what Linux allows a process unless `fs.nr_open` says more.
const MOST: u64 = 1 << 20;

/// Raises the soft limit to the hard one, and says where that leaves it.
pub(super) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(MOST), limit.maximum.unwrap_or(MOST));
    let raised = Rlimit {
        current: Some(hard),
        ..limit
    };
    if soft < hard && setrlimit(Resource::Nofile, raised).is_ok() {
        hard
    } else {
        soft
    }
}

/// How many the process may have once it has raised its limit.
pub(super) fn allowed() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    limit.maximum.unwrap_or(MOST)
}

/// What to warn of where the limit is less than what the listeners may need.
pub(super) fn warning(plan: &Plan, allowed: u64) -> Option<String> {
    let connections: u64 = plan
        .listeners
        .iter()
        .map(|it| it.max_connections as u64)
        .sum();
    let needed = 2 * connections + ADMIN_CONNECTIONS as u64 + BESIDE;
    (needed > allowed).then(|| format!(
        "the limit of open files is {allowed}, but the listeners allow {connections} connections, each with another one to a deployment: \
         raise the limit to {needed} (ulimit -Hn; systemd: LimitNOFILE=), or lower listeners[].max_connections"
    ))
}
