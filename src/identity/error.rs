//! Why there is no token, in texts that are safe to print.

use std::time::Duration;

use http::header::InvalidHeaderValue;
use thiserror::Error;

use crate::http_client;

/// For a token request as a whole, the wait for its turn counted in. IMDS and Entra answer in well under a second when they are well.
pub(super) const CALL: Duration = Duration::from_secs(10);

/// Why an identity can't be set up.
#[derive(Debug, Error)]
pub enum SetupError {
    #[error("the key contains a character that is not allowed in a header")]
    Key(#[from] InvalidHeaderValue),
    #[error("its authority is not a URL; write it like https://login.microsoftonline.com")]
    Authority,
    #[error(
        "its secret would be sent to the authority unencrypted; use https:// (http:// only on loopback)"
    )]
    Insecure,
    #[error("{0} is not set to a URL")]
    Variable(&'static str),
    #[error("the authorities in its `ca` can't be used: {0}")]
    Ca(String),
    #[error(transparent)]
    Client(http_client::SetupError),
    #[error("{0}")]
    Azure(String),
}

impl From<http_client::SetupError> for SetupError {
    /// Without the file's path: a secret may stand in its place.
    fn from(error: http_client::SetupError) -> Self {
        match error {
            http_client::SetupError::Authorities { reason, .. } => Self::Ca(reason),
            other => Self::Client(other),
        }
    }
}

/// Why a token request failed. No text in it comes from an answer's free text, which could repeat a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FetchError {
    #[error("no answer within {} s", CALL.as_secs())]
    TimedOut,
    #[error("{host} can't be reached: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("{host} answered {status}{codes}")]
    Answered {
        host: String,
        status: u16,
        /// The error codes and ids that the answer named, ready to print.
        codes: String,
        retry_after: Option<Duration>,
    },
    #[error("the answer contains no usable token")]
    NoToken,
    #[error(
        "`az account get-access-token` returned no token; install the Azure CLI and log in with `az login`"
    )]
    NoLogin,
    #[error("the token had already expired when it arrived; check this machine's clock")]
    Ended,
    #[error("{0}")]
    Setup(String),
}

impl FetchError {
    /// Whether the authority understood and said no: asking again soon won't change that. IMDS's 404 and
    /// 410 and anybody's 429 are no such answer (wire facts: Tokens).
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Answered { status, .. }
            if (400..500).contains(status) && ![404, 408, 410, 429].contains(status))
    }

    /// The wait that the authority asked for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
