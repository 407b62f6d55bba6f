//! Who may look: on loopback everybody who is on this machine, elsewhere who shows the token or a certificate.
//!
//! Probes for life and readiness need nothing, since who sends them can mostly show nothing, and they tell nothing. Nor
//! does the dashboard's page: it is the same everywhere, and asks for `/status` like anybody else.

use std::net::{IpAddr, SocketAddr};

use http::StatusCode;

use super::{Page, text};
use crate::domain::client::KeyHash;

/// The rule of one admin listener.
#[derive(Debug)]
pub struct Access {
    address: SocketAddr,
    token: Option<KeyHash>,
    asks_certificates: bool,
}

/// What a request shows of itself.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    pub path: &'a str,
    /// The Host header, or HTTP/2's word for it.
    pub host: Option<&'a [u8]>,
    /// The one Authorization header; `None` also where there are several.
    pub authorization: Option<&'a [u8]>,
    /// Whether its connection showed a certificate that the listener's authorities have signed.
    pub shows_certificate: bool,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It shows no token, a wrong one, or no certificate.
    Unknown,
    /// A web page of another name asks, whose name was made to stand for this machine.
    Elsewhere,
}

impl Access {
    pub fn new(address: SocketAddr, token: Option<KeyHash>, asks_certificates: bool) -> Self {
        Self {
            address,
            token,
            asks_certificates,
        }
    }

    pub fn judge(&self, visit: &Visit<'_>) -> Result<(), Denied> {
        if matches!(visit.path, "/health/live" | "/health/ready") {
            return Ok(());
        }
        if self.token.is_none() && !self.asks_certificates {
            return match self.is_ours(visit.host) {
                true => Ok(()),
                false => Err(Denied::Elsewhere),
            };
        }
        // A browser shows no token by itself: the page, which tells nothing, asks its reader for it.
        if visit.path == "/" {
            return Ok(());
        }
        match visit.shows_certificate || self.knows(visit.authorization) {
            true => Ok(()),
            false => Err(Denied::Unknown),
        }
    }

    /// Compared by hash, so that the time it takes tells nothing of the token.
    fn knows(&self, authorization: Option<&[u8]>) -> bool {
        let shown = authorization.and_then(bearer).map(KeyHash::of);
        match (self.token, shown) {
            (Some(token), Some(shown)) => token.is(&shown),
            _ => false,
        }
    }

    /// A browser on this machine can be made to ask for any name that DNS points here: such a page must not read on.
    fn is_ours(&self, host: Option<&[u8]>) -> bool {
        let Some(host) = host else {
            // No browser leaves it out.
            return true;
        };
        let host = String::from_utf8_lossy(host).to_ascii_lowercase();
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let number = name.parse::<IpAddr>();
        name == "localhost" || number.is_ok_and(|ip| ip.is_loopback() || ip == self.address.ip())
    }
}

/// The token of `Bearer TOKEN`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
    // A longer one is nobody's, and is not hashed.
    (is_bearer && !token.is_empty() && token.len() <= 1024).then_some(token)
}

impl Denied {
    pub fn page(self) -> Page {
        match self {
            Self::Unknown => text(
                StatusCode::UNAUTHORIZED,
                "this address is for operators: send `Authorization: Bearer TOKEN`, or show a certificate",
            ),
            Self::Elsewhere => text(
                StatusCode::FORBIDDEN,
                "this address is called localhost, or by its number",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Visit<'static> = Visit {
        path: "/metrics",
        host: Some(b"127.0.0.1:9090"),
        authorization: None,
        shows_certificate: false,
    };

    fn access(address: &str, token: Option<&str>, asks_certificates: bool) -> Access {
        let token = token.map(|token| KeyHash::of(token.as_bytes()));
        Access::new(address.parse().unwrap(), token, asks_certificates)
    }

    #[test]
    fn on_loopback_everybody_looks_but_no_page_from_elsewhere() {
        let access = access("127.0.0.1:9090", None, false);
        for host in [
            "127.0.0.1",
            "127.0.0.1:9090",
            "localhost:9090",
            "LOCALHOST",
            "[::1]:9090",
        ] {
            let visit = Visit {
                host: Some(host.as_bytes()),
                ..QUIET
            };
            assert_eq!(access.judge(&visit), Ok(()), "{host}");
        }
        assert_eq!(
            access.judge(&Visit {
                host: None,
                ..QUIET
            }),
            Ok(())
        );
        for host in [
            "evil.example",
            "localhost.evil.example:9090",
            "10.0.0.4",
            "",
            "[",
            "\u{ff}",
        ] {
            let visit = Visit {
                host: Some(host.as_bytes()),
                ..QUIET
            };
            assert_eq!(access.judge(&visit), Err(Denied::Elsewhere), "{host}");
        }
    }

    #[test]
    fn a_token_opens_and_nothing_that_is_like_it_does() {
        for asks_certificates in [false, true] {
            let access = access("0.0.0.0:9090", Some("open sesame"), asks_certificates);
            let judge = |authorization: &str| {
                let authorization = Some(authorization.as_bytes());
                access.judge(&Visit {
                    authorization,
                    host: Some(b"gateway"),
                    ..QUIET
                })
            };
            assert_eq!(judge("Bearer open sesame"), Ok(()));
            assert_eq!(judge("bearer  open sesame "), Ok(()));
            for wrong in [
                "",
                "Bearer",
                "Bearer ",
                "Bearer open",
                "Basic open sesame",
                "open sesame",
            ] {
                assert_eq!(judge(wrong), Err(Denied::Unknown), "{wrong}");
            }
            assert_eq!(
                judge(&format!("Bearer {}", "x".repeat(2000))),
                Err(Denied::Unknown)
            );
            assert_eq!(access.judge(&QUIET), Err(Denied::Unknown));
        }
    }

    #[test]
    fn a_certificate_opens_where_one_is_asked_for_and_probes_need_none() {
        let access = access("0.0.0.0:9090", None, true);
        assert_eq!(access.judge(&QUIET), Err(Denied::Unknown));
        assert_eq!(
            access.judge(&Visit {
                shows_certificate: true,
                ..QUIET
            }),
            Ok(())
        );
        for path in ["/health/live", "/health/ready", "/"] {
            assert_eq!(access.judge(&Visit { path, ..QUIET }), Ok(()));
        }
        for path in [
            "",
            "//",
            "/health",
            "/health/live/",
            "/status",
            "//health/live",
        ] {
            assert_eq!(access.judge(&Visit { path, ..QUIET }), Err(Denied::Unknown));
        }
    }
}
