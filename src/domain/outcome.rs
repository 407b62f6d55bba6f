//! What the end of one attempt says about the deployment that was asked. It is judged once; breaker,
//! failover, metrics and log all read this value, and nobody looks at a status again.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

/// The wait after a 429 that names none (DESIGN.md 5).
const UNSAID_WAIT: Duration = Duration::from_secs(10);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Served,
    /// A 4xx that is the caller's own matter: the deployment did its work.
    CallerError,
    /// 429: not before `wait` is over.
    Throttled {
        wait: Duration,
    },
    /// The deployment failed; `wait` if it said when to come back.
    Faulted {
        fault: Fault,
        wait: Option<Duration>,
    },
    /// 401 or 403: our credential's fault, never the client's, whose own ended at intake.
    IdentityRejected,
    /// 404 `DeploymentNotFound`: the config names what isn't there.
    NotDeployed,
    /// A status that the operator wants tried elsewhere; it says nothing of the deployment.
    Unwanted,
    /// The client went away first; this says nothing of the deployment.
    ClientLeft,
}

/// In what way a deployment failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 424 or 5xx.
    Status,
    /// 408: it gave up on its own work, which may have been billed (AZURE.md 5).
    Timeout,
    /// No address, no connection, or no TLS.
    Connect,
    /// No token to send with the request.
    Credential,
    /// The connection ended or was reset before the first byte of an answer.
    Reset,
    /// Silence until `first_byte_timeout`.
    Silence,
    /// The answer broke off after its head had been passed on.
    Broken,
}

impl Outcome {
    /// Reads an answer's head. `now` is for dates in `Retry-After`.
    pub fn of_response(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        match status.as_u16() {
            429 => Self::Throttled {
                wait: retry_after(headers, now).unwrap_or(UNSAID_WAIT),
            },
            401 | 403 => Self::IdentityRejected,
            status @ (408 | 424 | 500..=599) => Self::Faulted {
                fault: if status == 408 {
                    Fault::Timeout
                } else {
                    Fault::Status
                },
                wait: retry_after(headers, now),
            },
            400..=499 => Self::CallerError,
            _ => Self::Served,
        }
    }

    pub const fn fault(fault: Fault) -> Self {
        Self::Faulted { fault, wait: None }
    }

    /// The label in metrics and the field in the log: a closed set.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::CallerError => "caller_error",
            Self::Throttled { .. } => "throttled",
            Self::Faulted { fault, .. } => fault.label(),
            Self::IdentityRejected => "identity_rejected",
            Self::NotDeployed => "not_deployed",
            Self::Unwanted => "unwanted",
            Self::ClientLeft => "client_left",
        }
    }

    /// Whether the client gets this answer as it is; else another deployment may do better.
    pub fn is_delivered(&self) -> bool {
        matches!(self, Self::Served | Self::CallerError)
    }
}

impl Fault {
    pub fn label(self) -> &'static str {
        match self {
            Self::Status => "fault_status",
            Self::Timeout => "fault_timeout",
            Self::Connect => "fault_connect",
            Self::Credential => "fault_credential",
            Self::Reset => "fault_reset",
            Self::Silence => "fault_silence",
            Self::Broken => "fault_broken",
        }
    }
}

/// How long an answer asks to be left alone: `retry-after-ms`, else `Retry-After` in seconds or as a date
/// (AZURE.md, fact 3). What can't be read counts as not there.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    let milliseconds = text("retry-after-ms").and_then(|text| units(text, 1e-3));
    milliseconds.or_else(|| {
        let text = text("retry-after")?;
        units(text, 1.0).or_else(|| {
            let date = httpdate::parse_http_date(text).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        })
    })
}

/// A number that may have a fraction, of units of so many seconds.
fn units(text: &str, seconds: f64) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn each_status_says_one_thing() {
        let at = |status| {
            Outcome::of_response(
                StatusCode::from_u16(status).unwrap(),
                &HeaderMap::new(),
                SystemTime::UNIX_EPOCH,
            )
        };
        let status_fault = Outcome::fault(Fault::Status);
        for (status, outcome) in [
            (200, Outcome::Served),
            (400, Outcome::CallerError),
            (401, Outcome::IdentityRejected),
            (403, Outcome::IdentityRejected),
            (404, Outcome::CallerError),
            (408, Outcome::fault(Fault::Timeout)),
            (409, Outcome::CallerError),
            (422, Outcome::CallerError),
            (424, status_fault),
            (429, Outcome::Throttled { wait: UNSAID_WAIT }),
            (500, status_fault),
            (503, status_fault),
            (599, status_fault),
        ] {
            assert_eq!(at(status), outcome, "{status}");
        }
    }

    #[test]
    fn a_wait_is_read_from_milliseconds_then_seconds_then_a_date() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 07:00:00 GMT").unwrap();
        let date = "Sun, 22 Nov 2026 07:00:09 GMT";
        for (pairs, wait_ms) in [
            (
                &[("retry-after-ms", "1500"), ("retry-after", "7")][..],
                Some(1500),
            ),
            (
                &[("retry-after-ms", "soon"), ("retry-after", "7")],
                Some(7000),
            ),
            (&[("retry-after", "0.25")], Some(250)),
            (&[("retry-after", date)], Some(9000)),
            (&[("retry-after", "Sun, 22 Nov 2026 06:00:00 GMT")], Some(0)),
            (&[("retry-after", "86400")], Some(86_400_000)),
            (&[("retry-after", "0")], Some(0)),
            (&[("retry-after", "-5")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "1e300")], None),
            (&[], None),
        ] {
            assert_eq!(
                retry_after(&headers(pairs), now),
                wait_ms.map(Duration::from_millis),
                "{pairs:?}"
            );
        }
    }
}
