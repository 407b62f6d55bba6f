//! The kinds of faults, as they are written in YAML and JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// This status after the request was read; Azure's own body for it, unless one is given.
    Status {
        status: u16,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: Option<String>,
    },
    /// The same, before the body was read.
    EarlyStatus {
        status: u16,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: Option<String>,
    },
    /// Reads the request, then resets the connection before any byte of an answer.
    Reset {},
    /// Resets connections as they open, and open ones at their next request. For whole instances only.
    ResetOnConnect {},
    /// Reads the request, then closes the connection without an answer.
    Close {},
    /// Resets after so many events of a stream, or in the middle of a plain answer.
    ResetMidStream {
        #[serde(default = "three")]
        after_events: usize,
    },
    /// Closes there instead, without the transfer's end.
    CloseMidStream {
        #[serde(default = "three")]
        after_events: usize,
    },
    /// Reads the request and never answers.
    Hang {},
    /// Waits so many milliseconds before each event, or each 64 bytes of a plain answer.
    SlowBody { delay_ms: u64 },
    /// 429 with both retry headers counting down; over by itself after so many seconds.
    Throttle { seconds: f64 },
    /// An error event inside a stream that began with 200; a plain answer stays as it is.
    StreamError {
        #[serde(default)]
        after_events: usize,
        /// The event as it goes on the wire, without its closing blank line; absent: the API's own shape of `too_many_requests`.
        #[serde(default)]
        event: Option<String>,
    },
}

fn three() -> usize {
    3
}

impl FaultKind {
    /// Whether it strikes before a request's body is read.
    pub(crate) fn is_early(&self) -> bool {
        matches!(self, Self::EarlyStatus { .. } | Self::ResetOnConnect {})
    }

    /// The name under which the books count it, where it has no status.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::EarlyStatus { .. } => "early_status",
            Self::Reset {} => "reset",
            Self::ResetOnConnect {} => "reset_on_connect",
            Self::Close {} => "close",
            Self::ResetMidStream { .. } => "reset_mid_stream",
            Self::CloseMidStream { .. } => "close_mid_stream",
            Self::Hang {} => "hang",
            Self::SlowBody { .. } => "slow_body",
            Self::Throttle { .. } => "throttle",
            Self::StreamError { .. } => "stream_error",
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Status {
                status, headers, ..
            }
            | Self::EarlyStatus {
                status, headers, ..
            } => {
                if !(200..=599).contains(status) {
                    return Err(format!("status {status}: use 200 to 599"));
                }
                let odd = headers.iter().find(|(name, value)| {
                    http::HeaderName::try_from(name.as_str()).is_err()
                        || http::HeaderValue::try_from(value.as_str()).is_err()
                });
                odd.map_or(Ok(()), |(name, _)| {
                    Err(format!("header {name:?} can't be sent"))
                })
            }
            Self::Throttle { seconds } if !(0.0..=86_400.0).contains(seconds) => {
                Err(format!("seconds {seconds}: use 0 to 86400"))
            }
            _ => Ok(()),
        }
    }
}
