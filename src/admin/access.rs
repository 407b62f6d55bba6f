//! Who may look: on loopback everybody who is on this machine, elsewhere who shows the token, an operator's certificate,
//! or both where both are asked for.
//!
//! Probes for life and readiness need nothing, since who sends them can mostly show nothing, and they tell nothing. Nor
//! does the dashboard's page: it is the same everywhere, and asks for `/status` like anybody else.

use std::{
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use http::StatusCode;

use super::{Page, text};
use crate::domain::client::{
    KeyHash,
    certificate::{Certificate, Entry},
};

/// The rule of one admin listener.
#[derive(Debug)]
pub struct Access {
    address: SocketAddr,
    token: Option<KeyHash>,
    /// Whose certificates are operators'; empty: none is asked for.
    operators: Vec<Entry>,
}

/// What a request shows of itself.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    pub path: &'a str,
    /// The Host header, or HTTP/2's word for it.
    pub host: Option<&'a [u8]>,
    /// The one Authorization header; `None` also where there are several.
    pub authorization: Option<&'a [u8]>,
    /// What its connection was opened with: the listener's authorities have signed it.
    pub certificate: Option<&'a Certificate>,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It shows no token, or a wrong one.
    NoToken,
    /// It shows no certificate, or one that is no operator's.
    NoOperator,
    /// A web page of another name asks, whose name was made to stand for this machine.
    Elsewhere,
}

impl Access {
    pub fn new(address: SocketAddr, token: Option<KeyHash>, operators: Vec<Entry>) -> Self {
        Self {
            address,
            token,
            operators,
        }
    }

    pub fn judge(&self, visit: &Visit<'_>, now: SystemTime) -> Result<(), Denied> {
        if matches!(visit.path, "/health/live" | "/health/ready") {
            return Ok(());
        }
        if self.token.is_none() && self.operators.is_empty() {
            return if self.is_ours(visit.host) {
                Ok(())
            } else {
                Err(Denied::Elsewhere)
            };
        }
        // A browser shows no token by itself: the page, which tells nothing, asks its reader for it.
        if visit.path == "/" {
            return Ok(());
        }
        let is_operators = |certificate: &Certificate| certificate.is_any_of(&self.operators, now);
        if !self.operators.is_empty() && !visit.certificate.is_some_and(is_operators) {
            return Err(Denied::NoOperator);
        }
        match self.token {
            Some(token) if !is_shown(token, visit.authorization) => Err(Denied::NoToken),
            _ => Ok(()),
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

/// Compared by hash, so that the time it takes tells nothing of the token.
fn is_shown(token: KeyHash, authorization: Option<&[u8]>) -> bool {
    let shown = authorization.and_then(bearer).map(KeyHash::of);
    shown.is_some_and(|shown| token.is(&shown))
}

/// The token of `Bearer TOKEN`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    let token = rest.trim_ascii();
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
    // A longer one is nobody's, and is not hashed.
    (is_bearer && !token.is_empty() && token.len() <= 1024).then_some(token)
}

impl Denied {
    pub fn page(self) -> Page {
        match self {
            Self::NoToken => text(
                StatusCode::UNAUTHORIZED,
                "this address is for operators: send `Authorization: Bearer TOKEN` with the admin token",
            ),
            // No other credential would do, so none is asked for.
            Self::NoOperator => text(
                StatusCode::FORBIDDEN,
                "this address is for operators: connect with a client certificate listed in admin.certificates",
            ),
            Self::Elsewhere => text(
                StatusCode::FORBIDDEN,
                "unexpected Host header: use localhost or the IP address",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::client::certificate::Name;

    const QUIET: Visit<'static> = Visit {
        path: "/metrics",
        host: Some(b"127.0.0.1:9090"),
        authorization: None,
        certificate: None,
    };

    fn access(address: &str, token: Option<&str>, operators: &[&str]) -> Access {
        let token = token.map(|token| KeyHash::of(token.as_bytes()));
        let entry = |name: &&str| Entry {
            name: Name::common_name(name).unwrap(),
            ca: None,
        };
        let operators = operators.iter().map(entry).collect();
        Access::new(address.parse().unwrap(), token, operators)
    }

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn certificate(name: &str) -> Certificate {
        let subject = [("2.5.4.3".to_owned(), name.to_owned())];
        Certificate::new(Some(&subject), [], NOW + Duration::from_secs(1))
    }

    #[test]
    fn on_loopback_everybody_looks_but_no_page_from_elsewhere() {
        let access = access("127.0.0.1:9090", None, &[]);
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
            assert_eq!(access.judge(&visit, NOW), Ok(()), "{host}");
        }
        assert_eq!(
            access.judge(
                &Visit {
                    host: None,
                    ..QUIET
                },
                NOW
            ),
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
            assert_eq!(access.judge(&visit, NOW), Err(Denied::Elsewhere), "{host}");
        }
    }

    #[test]
    fn a_token_opens_and_nothing_that_is_like_it_does() {
        let access = access("0.0.0.0:9090", Some("open sesame"), &[]);
        let judge = |authorization: &str| {
            let visit = Visit {
                authorization: Some(authorization.as_bytes()),
                host: Some(b"gateway"),
                ..QUIET
            };
            access.judge(&visit, NOW)
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
            assert_eq!(judge(wrong), Err(Denied::NoToken), "{wrong}");
        }
        let long = format!("Bearer {}", "x".repeat(2000));
        assert_eq!(judge(&long), Err(Denied::NoToken));
        assert_eq!(access.judge(&QUIET, NOW), Err(Denied::NoToken));
    }

    #[test]
    fn an_operators_certificate_opens_another_does_not_and_probes_need_none() {
        let access = access("0.0.0.0:9090", None, &["oncall", "prometheus"]);
        assert_eq!(access.judge(&QUIET, NOW), Err(Denied::NoOperator));
        for (name, answer) in [("prometheus", Ok(())), ("batch", Err(Denied::NoOperator))] {
            let certificate = certificate(name);
            let visit = Visit {
                certificate: Some(&certificate),
                ..QUIET
            };
            assert_eq!(access.judge(&visit, NOW), answer, "{name}");
        }
        let prometheus = certificate("prometheus");
        let ended = Visit {
            certificate: Some(&prometheus),
            ..QUIET
        };
        let later = NOW + Duration::from_secs(2);
        assert_eq!(access.judge(&ended, later), Err(Denied::NoOperator));
        for path in ["/health/live", "/health/ready", "/"] {
            assert_eq!(access.judge(&Visit { path, ..QUIET }, NOW), Ok(()));
        }
        for path in [
            "",
            "//",
            "/health",
            "/health/live/",
            "/status",
            "//health/live",
        ] {
            let answer = access.judge(&Visit { path, ..QUIET }, NOW);
            assert_eq!(answer, Err(Denied::NoOperator));
        }
    }

    #[test]
    fn where_token_and_certificate_are_asked_for_one_alone_does_not_open() {
        let access = access("0.0.0.0:9090", Some("open sesame"), &["prometheus"]);
        let (prometheus, batch) = (certificate("prometheus"), certificate("batch"));
        let token = Some(&b"Bearer open sesame"[..]);
        for (certificate, authorization, answer) in [
            (Some(&prometheus), token, Ok(())),
            (Some(&prometheus), None, Err(Denied::NoToken)),
            (
                Some(&prometheus),
                Some(&b"Bearer x"[..]),
                Err(Denied::NoToken),
            ),
            (Some(&batch), token, Err(Denied::NoOperator)),
            (None, token, Err(Denied::NoOperator)),
        ] {
            let visit = Visit {
                certificate,
                authorization,
                ..QUIET
            };
            assert_eq!(access.judge(&visit, NOW), answer);
        }
    }
}
