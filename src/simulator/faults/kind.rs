//! The kinds of faults, as they are written in YAML and JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{super::raw_answer::Raw, OddUsage, StreamError};

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
    /// 429 without any header of a wait: at most its message tells it, in Azure's wordings.
    ThrottleInWords {
        #[serde(default)]
        wording: Wording,
        #[serde(default = "seven")]
        seconds: u64,
    },
    /// 404 as for a name under which nothing is deployed.
    NotDeployed {},
    /// An error event inside a stream that began with 200; a plain answer stays as it is.
    StreamError(StreamError),
    /// Nothing for so long before the event of that number, the head being out: a model that thinks. A plain
    /// answer comes so much later.
    Silent {
        ms: u64,
        #[serde(default)]
        after_events: usize,
    },
    /// An answer as it should be, but for its usage.
    OddUsage { form: OddUsage },
    /// 400 to whoever sends `stream_options`, as servers that don't know it say it.
    RejectStreamOptions {},
    /// These bytes in place of an answer, over HTTP/1.1 only; over HTTP/2 the stream is reset.
    Raw(Raw),
}

/// How the message of a 429 tells its wait (wire facts: Error bodies).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wording {
    /// "Requests to the … Operation … Please retry after 7 seconds."
    RetryAfter,
    /// "Rate limit is exceeded. Try again in 7 seconds."
    #[default]
    TryAgain,
    /// "Your requests to … have exceeded … Please retry after 7 seconds."
    YourRequests,
    /// "Rate limit of 8000 per 60s exceeded … Please wait 7 seconds …": the first seconds are not the wait.
    PleaseWait,
    /// "… experiencing high demand …": no wait at all.
    HighDemand,
}

fn three() -> usize {
    3
}

fn seven() -> u64 {
    7
}

impl FaultKind {
    /// Whether it strikes before a request's body is read.
    pub(crate) fn is_early(&self) -> bool {
        matches!(self, Self::EarlyStatus { .. } | Self::ResetOnConnect {})
    }

    /// The name under which the statistics count it, where it has no status.
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
            Self::ThrottleInWords { .. } => "throttle_in_words",
            Self::NotDeployed {} => "not_deployed",
            Self::StreamError(_) => "stream_error",
            Self::Silent { .. } => "silent",
            Self::OddUsage { .. } => "odd_usage",
            Self::RejectStreamOptions {} => "reject_stream_options",
            Self::Raw(_) => "raw",
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
                check_headers(headers)
            }
            Self::StreamError(error) => check_headers(&error.head),
            Self::Throttle { seconds } if !(0.0..=86_400.0).contains(seconds) => {
                Err(format!("seconds {seconds}: use 0 to 86400"))
            }
            _ => Ok(()),
        }
    }
}

fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), String> {
    let odd = headers.iter().find(|(name, value)| {
        http::HeaderName::try_from(name.as_str()).is_err()
            || http::HeaderValue::try_from(value.as_str()).is_err()
    });
    odd.map_or(Ok(()), |(name, _)| {
        Err(format!("header {name:?} can't be sent"))
    })
}
