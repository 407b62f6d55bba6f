//! What this machine runs out of: where a connection fails for want of it, no deployment is to blame, and all of them
//! fail alike.

use std::{
    io,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use pingora::Error;

/// Between two lines of the log that say the same.
const SELDOM: Duration = Duration::from_secs(60);

/// EADDRNOTAVAIL.
const NO_ADDRESS: i32 = 99;
/// Linux' numbers (errno(3)), and what is wanting.
const LIMITS: [(i32, &str); 5] = [
    (
        24,
        "open files: the process has reached its limit (ulimit -n; systemd: LimitNOFILE=)",
    ),
    (
        23,
        "open files: the system has reached its limit (sysctl fs.file-max)",
    ),
    (12, "memory"),
    (105, "memory for network buffers (sysctl net.ipv4.tcp_mem)"),
    (
        NO_ADDRESS,
        "ports for connections to one address (sysctl net.ipv4.ip_local_port_range)",
    ),
];

/// What this failed for want of, if that is this machine's.
pub(crate) fn exhausted(error: &io::Error) -> Option<&'static str> {
    let number = error.raw_os_error()?;
    let found = LIMITS.iter().find(|(other, _)| *other == number);
    found.map(|(_, wanting)| *wanting)
}

/// The same of a connection that did not come about.
pub(super) fn of_connecting(error: &Error) -> Option<&'static str> {
    exhausted(error.root_cause().downcast_ref()?)
}

/// The same where this address is what could not be connected to: without IPv6 of its own a machine has no address to ask
/// such a one from, and says so in the words for a want of ports.
pub(super) fn of_connecting_to(address: IpAddr, error: &Error) -> Option<&'static str> {
    let error: &io::Error = error.root_cause().downcast_ref()?;
    let has_no_ipv6 = address.is_ipv6() && error.raw_os_error() == Some(NO_ADDRESS);
    if has_no_ipv6 { None } else { exhausted(error) }
}

/// Says so, now and then: it happens to many requests at once.
pub(super) fn tell(wanting: &'static str) {
    static TOLD: Mutex<Option<(Instant, &str)>> = Mutex::new(None);
    let now = Instant::now();
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let is_told = told.is_some_and(|(at, what)| what == wanting && now - at < SELDOM);
    if !is_told {
        *told = Some((now, wanting));
        tracing::error!(
            event = "resources_exhausted",
            "this machine has run out of {wanting}; no new connections to deployments can be opened; no circuit opens for this, since the deployments are not at fault"
        );
    }
}

#[cfg(test)]
mod tests {
    use pingora::{ErrorType, OrErr};

    use super::*;

    #[test]
    fn what_the_machine_runs_out_of_is_told_from_what_a_deployment_does() {
        for (number, is_ours) in [
            (24, true),
            (23, true),
            (99, true),
            (111, false),
            (113, false),
        ] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(exhausted(&error).is_some(), is_ours, "{error}");
            let failed: pingora::Result<()> =
                Err(error).or_err(ErrorType::ConnectError, "connecting");
            let outer = Error::because(ErrorType::InternalError, "around it", failed.unwrap_err());
            assert_eq!(of_connecting(&outer).is_some(), is_ours, "{outer}");
        }
    }

    #[test]
    fn an_address_of_ipv6_that_can_not_be_asked_from_here_is_out_of_use_and_no_want_of_ports() {
        let failed = |number| {
            let error = io::Error::from_raw_os_error(number);
            Error::because(ErrorType::ConnectError, "connecting", error)
        };
        for (address, number, is_ours) in [
            ("2001:db8::1", NO_ADDRESS, false),
            ("2001:db8::1", 24, true),
            ("192.0.2.1", NO_ADDRESS, true),
            ("192.0.2.1", 111, false),
        ] {
            let wanting = of_connecting_to(address.parse().unwrap(), &failed(number));
            assert_eq!(wanting.is_some(), is_ours, "{address} {number}");
        }
    }
}
