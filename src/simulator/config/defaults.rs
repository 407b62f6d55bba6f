//! What several settings are where they are absent.

use std::net::SocketAddr;

pub(super) fn yes() -> bool {
    true
}

pub(super) fn half() -> f64 {
    0.5
}

pub(super) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
