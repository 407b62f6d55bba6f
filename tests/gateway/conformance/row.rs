//! What a row of the table consists of, and how `conf/README.md` says it.

use std::time::{Duration, SystemTime};

use forebay::simulator::FaultKind;

use super::rows::LONGEST_PAUSE;
use crate::harness::status;

/// How a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Chat,
    StreamedChat,
    StreamedResponses,
    Embeddings,
    /// A conversation made shorter.
    Compacted,
    /// A chat by azure-ai-inference.
    Inference,
}

pub(crate) const ALL: &[Shape] = &[
    Shape::Chat,
    Shape::StreamedChat,
    Shape::StreamedResponses,
    Shape::Embeddings,
    Shape::Compacted,
    Shape::Inference,
];
pub(crate) const STREAMS: &[Shape] = &[Shape::StreamedChat, Shape::StreamedResponses];

pub(crate) struct Row {
    /// The first deployment, as the page's first column says it.
    pub(crate) deployment: String,
    pub(crate) does: Does,
    pub(crate) shapes: &'static [Shape],
    pub(crate) request: ForRequest,
    /// The label of each attempt at the first deployment.
    pub(crate) outcome: &'static str,
    pub(crate) after: ForDeployment,
    /// Whether the first deployment is asked with a token, which can be renewed, and not with a key.
    pub(crate) by_token: bool,
}

/// What is wrong with the first deployment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Does {
    Well,
    Fails(FaultKind),
    /// 429 until a date so many seconds ahead.
    NamesDate(u64),
    /// Nothing listens there.
    Gone,
    /// It speaks no TLS, though its endpoint says so.
    NoTls,
    /// Its name can't be resolved.
    NoName,
    /// Nothing, but its client doesn't wait.
    LosesItsClient,
}

/// What becomes of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForRequest {
    /// The first deployment's answer, with this status.
    Delivered(u16),
    Next,
    OnceMoreThenNext,
    /// It began well and can't end so.
    Aborted,
    Stopped,
}

/// What is known of the deployment after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ForDeployment {
    Success,
    Nothing,
    Fault,
    /// Not asked for so many seconds by its own word, which can be shorter by the time it took to come.
    Closed {
        seconds: f64,
        off_by: f64,
    },
    /// The same after a fault.
    FaultAndClosed {
        seconds: f64,
    },
    /// For `breaker.pause` and up to a tenth more.
    SetAside(&'static str),
    /// The same for this kind of work alone.
    SetAsideFor(&'static str),
}

impl From<FaultKind> for Does {
    fn from(fault: FaultKind) -> Self {
        Self::Fails(fault)
    }
}

impl Does {
    /// What the simulated deployment is told to do, now.
    pub(crate) fn fault(&self) -> Option<FaultKind> {
        match self {
            Self::Fails(fault) => Some(fault.clone()),
            Self::NamesDate(ahead) => {
                let date = SystemTime::now() + Duration::from_secs(*ahead);
                Some(status(
                    429,
                    &[("retry-after", &httpdate::fmt_http_date(date))],
                ))
            }
            Self::LosesItsClient => Some(FaultKind::Hang {}),
            Self::Well | Self::Gone | Self::NoTls | Self::NoName => None,
        }
    }

    /// Whether a request reaches it at all.
    pub(crate) fn is_reached(&self) -> bool {
        !matches!(self, Self::Gone | Self::NoTls | Self::NoName)
    }
}

impl Row {
    /// As the page says it: for the request, and for the deployment.
    pub(crate) fn meaning(&self) -> (&'static str, String) {
        (self.request.text(), self.after.text())
    }
}

impl ForRequest {
    fn text(self) -> &'static str {
        match self {
            Self::Delivered(_) => "delivered unchanged",
            Self::Next => "failover to the next deployment",
            Self::OnceMoreThenNext => {
                "once more with a fresh token, then failover to the next deployment"
            }
            Self::Aborted => "ends with an error event if it is a stream, and aborted",
            Self::Stopped => "stopped, and cancelled there",
        }
    }
}

impl ForDeployment {
    fn text(self) -> String {
        match self {
            Self::Success => "a success".to_owned(),
            Self::Nothing => "nothing".to_owned(),
            Self::Fault => "a fault".to_owned(),
            Self::Closed { seconds: 0.0, .. } => "no cooldown".to_owned(),
            Self::Closed { seconds, .. } if seconds == LONGEST_PAUSE => {
                "cooldown of `longest_pause`, then half-open: one request first".to_owned()
            }
            Self::Closed { seconds, .. } => format!("cooldown of {seconds} s"),
            Self::FaultAndClosed { seconds } => format!("a fault, and cooldown of {seconds} s"),
            Self::SetAside(cause) => format!("set aside ({cause}) for `pause`"),
            Self::SetAsideFor(cause) => {
                format!("set aside ({cause}) for `pause`, for this operation only")
            }
        }
    }
}
