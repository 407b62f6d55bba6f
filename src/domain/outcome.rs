//! What the end of one attempt says about the deployment that was asked. It is judged once; breaker,
//! failover, metrics and log all read this value, and nobody looks at a status again.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::wait;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Served,
    /// A 4xx that is the caller's own matter: the deployment did its work.
    CallerError,
    /// 429: not before `wait` is over; `None`: it names no time, and the breaker's settings say how long.
    Throttled {
        wait: Option<Duration>,
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
    /// A status that the operator wants tried elsewhere, or no session where one was asked for; it says nothing of the
    /// deployment's other work.
    Unwanted,
    /// A refusal of what the gateway itself added to the request, to learn what its stream uses: the same deployment is
    /// asked again without it.
    UsageRejected,
    /// A pooled connection had been closed from the other end before the request reached it; the same deployment is asked
    /// again over a new one.
    StaleConnection,
    /// HTTP/2's word that the request was not processed (RFC 9113, 8.7): the same deployment is asked again over a new
    /// connection.
    NotProcessed,
    /// The client went away first; this says nothing of the deployment.
    ClientLeft,
}

/// In what way a deployment failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 424 or 5xx.
    Status,
    /// 503: it has not begun to act.
    Unavailable,
    /// 408: it gave up on its own work, which may have been billed (AZURE.md 5).
    Timeout,
    /// No address, no connection, or no TLS.
    Connect,
    /// No token to send with the request.
    Credential,
    /// This machine let us make no further connection: the deployment was not asked.
    OwnLimit,
    /// The connection ended or was reset before the first byte of an answer.
    Reset,
    /// Silence until `first_byte_timeout`.
    Silence,
    /// The answer broke off after its head had been passed on.
    Broken,
}

impl Outcome {
    /// Reads an answer's head. `now` is for dates in `Retry-After`. What else an error's body may say,
    /// [`Outcome::of_error_body`] reads.
    pub fn of_response(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        match status.as_u16() {
            429 => Self::Throttled {
                wait: wait::after_throttle(headers, now),
            },
            401 | 403 => Self::IdentityRejected,
            code @ (408 | 424 | 500..=599) => Self::Faulted {
                fault: Fault::of_status(code),
                wait: wait::retry_after(headers, now),
            },
            400..=499 => Self::CallerError,
            _ => Self::Served,
        }
    }

    /// Whether the body may say more than the head: a 404 that it is the deployment which isn't there, a 429 how long
    /// to wait.
    pub fn is_open_until_body(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> bool {
        match status {
            StatusCode::NOT_FOUND => true,
            StatusCode::TOO_MANY_REQUESTS => {
                wait::after_throttle(headers, now).is_none_or(|wait| wait.is_zero())
            }
            _ => false,
        }
    }

    /// The same with the body of an answer that [`Outcome::is_open_until_body`]; what can't be read of it says nothing.
    pub fn of_error_body(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Self {
        let error = ErrorBody::read(body);
        match Self::of_response(status, headers, now) {
            Self::CallerError if error.is_missing_deployment() => Self::NotDeployed,
            Self::Throttled { wait } if wait.is_none_or(|wait| wait.is_zero()) => Self::Throttled {
                wait: error.wait().or(wait),
            },
            outcome => outcome,
        }
    }

    /// The same for a 400 or a 422 to a request that was made to ask for usage, where its client did not.
    pub fn of_added_usage(body: &[u8], otherwise: Self) -> Self {
        match otherwise == Self::CallerError && ErrorBody::read(body).is_about_usage() {
            true => Self::UsageRejected,
            false => otherwise,
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
            Self::UsageRejected => "usage_rejected",
            Self::StaleConnection => "stale_connection",
            Self::NotProcessed => "not_processed",
            Self::ClientLeft => "client_left",
        }
    }

    /// Whether the deployment can't have begun the work: what must not be done twice may still be asked elsewhere.
    pub fn is_untouched(&self) -> bool {
        match self {
            Self::Throttled { .. }
            | Self::IdentityRejected
            | Self::NotDeployed
            | Self::UsageRejected
            | Self::StaleConnection
            | Self::NotProcessed => true,
            Self::Faulted { fault, .. } => matches!(
                fault,
                Fault::Unavailable | Fault::Connect | Fault::Credential | Fault::OwnLimit
            ),
            Self::Served | Self::CallerError | Self::Unwanted | Self::ClientLeft => false,
        }
    }

    /// Whether Azure may bill for it although it gave no answer to use: asking again may be paid for twice (AZURE.md 5).
    pub fn may_be_billed(&self) -> bool {
        let Self::Faulted { fault, .. } = self else {
            return false;
        };
        matches!(
            fault,
            Fault::Timeout | Fault::Reset | Fault::Silence | Fault::Broken
        )
    }

    /// Whether the client gets this answer as it is; else another deployment may do better.
    pub fn is_delivered(&self) -> bool {
        matches!(self, Self::Served | Self::CallerError)
    }
}

impl Fault {
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            408 => Self::Timeout,
            503 => Self::Unavailable,
            _ => Self::Status,
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Status | Self::Unavailable => "fault_status",
            Self::Timeout => "fault_timeout",
            Self::Connect => "fault_connect",
            Self::Credential => "fault_credential",
            Self::OwnLimit => "own_limit",
            Self::Reset => "fault_reset",
            Self::Silence => "fault_silence",
            Self::Broken => "fault_broken",
        }
    }
}

/// What an error body says, in Azure's shape or not.
#[derive(Default)]
struct ErrorBody {
    code: String,
    message: String,
    /// What of the request it is about.
    param: String,
}

impl ErrorBody {
    fn read(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            error: Error,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Error {
            code: serde_json::Value,
            message: serde_json::Value,
            param: serde_json::Value,
        }
        let text = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        match serde_json::from_slice::<Body>(body) {
            Ok(Body { error }) => Self {
                code: text(error.code),
                message: text(error.message),
                param: text(error.param),
            },
            // Plain text, as an edge in front of Azure writes it.
            Err(_) => Self {
                code: String::new(),
                param: String::new(),
                message: String::from_utf8_lossy(body).into_owned(),
            },
        }
    }

    /// In Azure's word or OpenAI's.
    fn is_missing_deployment(&self) -> bool {
        ["DeploymentNotFound", "model_not_found"].contains(&self.code.as_str())
    }

    /// Whether it blames the options of the stream; a message may quote anything, so it counts only where nothing else is
    /// named.
    fn is_about_usage(&self) -> bool {
        let text = match self.param.is_empty() {
            true => &self.message,
            false => &self.param,
        };
        text.contains("stream_options") || text.contains("include_usage")
    }

    fn wait(&self) -> Option<Duration> {
        wait::in_message(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (429, Outcome::Throttled { wait: None }),
            (500, status_fault),
            (503, Outcome::fault(Fault::Unavailable)),
            (599, status_fault),
        ] {
            assert_eq!(at(status), outcome, "{status}");
        }
    }

    #[test]
    fn a_refusal_of_what_the_gateway_added_is_known_by_what_it_names() {
        let of = |body: &str| Outcome::of_added_usage(body.as_bytes(), Outcome::CallerError);
        for body in [
            r#"{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error","param":null,"code":null}}"#,
            r#"{"error":{"message":"Unknown.","param":"stream_options.include_usage"}}"#,
            r#"{"detail":[{"loc":["body","stream_options"],"msg":"extra fields not permitted"}]}"#,
        ] {
            assert_eq!(of(body), Outcome::UsageRejected, "{body}");
        }
        for body in [
            r#"{"error":{"message":"'stream_options' is no role","param":"messages[0].role"}}"#,
            r#"{"error":{"message":"Too long.","param":null}}"#,
            "",
        ] {
            assert_eq!(of(body), Outcome::CallerError, "{body}");
        }
    }

    #[test]
    fn a_body_may_say_more_than_its_head() {
        let with = |status: u16, headers: &HeaderMap, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            Outcome::of_error_body(status, headers, body.as_bytes(), SystemTime::UNIX_EPOCH)
        };
        let none = HeaderMap::new();
        let missing = r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#;
        assert_eq!(with(404, &none, missing), Outcome::NotDeployed);
        let id = r#"{"error":{"code":"404","message":"Resource not found"}}"#;
        assert_eq!(with(404, &none, id), Outcome::CallerError);
        assert_eq!(with(404, &none, "<html>"), Outcome::CallerError);
        let seconds = |seconds| Outcome::Throttled {
            wait: Some(Duration::from_secs(seconds)),
        };
        let told = r#"{"error":{"code":429,"message":"Please retry after 3 seconds."}}"#;
        assert_eq!(with(429, &none, told), seconds(3));
        assert_eq!(with(429, &none, "Try again in 4 seconds"), seconds(4));
        assert_eq!(with(429, &none, ""), Outcome::Throttled { wait: None });
        let none_named = HeaderMap::from_iter([(http::header::RETRY_AFTER, "0".parse().unwrap())]);
        assert_eq!(with(429, &none_named, told), seconds(3));
        assert_eq!(with(429, &none_named, ""), seconds(0));
        let head = HeaderMap::from_iter([(http::header::RETRY_AFTER, "1".parse().unwrap())]);
        assert_eq!(with(429, &head, told), seconds(1));
    }
}
