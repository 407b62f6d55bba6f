//! What can be said of a breaker: to operators, and to those who choose.

use std::time::{Duration, Instant};

use crate::domain::route::Operation;

/// Whether requests may go to a deployment, at some moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BreakerState {
    Closed,
    /// It failed, is back, and gets this part of its share (below 1).
    Ramping {
        share: f64,
    },
    /// Left alone until then; where that is over, the next request is the trial.
    Open {
        until: Instant,
        cause: Cause,
    },
    /// One request is finding out; `since` is when its pause had ended.
    Trial {
        since: Instant,
        cause: Cause,
    },
}

impl BreakerState {
    /// Why it is left alone; `None` where it is not.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Open { cause, .. } | Self::Trial { cause, .. } => Some(cause),
            Self::Closed | Self::Ramping { .. } => None,
        }
    }

    /// How long until it may be tried again; `None` where it may be now, or is being tried.
    pub fn pause(self, now: Instant) -> Option<Duration> {
        match self {
            Self::Open { until, .. } => until
                .checked_duration_since(now)
                .filter(|pause| !pause.is_zero()),
            Self::Closed | Self::Ramping { .. } | Self::Trial { .. } => None,
        }
    }
}

/// Why a deployment is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is at its limit.
    Throttle,
    /// It failed: so often that it is set aside, or it said when to come back.
    Fault,
    /// It does not take our credential.
    Credential,
    /// The config names what isn't there.
    Configuration,
    /// Its endpoint sends requests elsewhere: the config names the wrong one.
    Redirect,
    /// Something else answers at its endpoint.
    NotTheApi,
}

impl Cause {
    /// The word in log, metrics and status: a closed set.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::Fault => "fault",
            Self::Credential => "credential",
            Self::Configuration | Self::Redirect | Self::NotTheApi => "configuration",
        }
    }
}

/// A change that an operator wants to know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    Opened {
        until: Instant,
        cause: Cause,
    },
    Closed,
    /// It is not asked for one kind of work.
    Barred {
        operation: Operation,
        until: Instant,
        cause: Cause,
    },
    /// It does that again.
    Allowed {
        operation: Operation,
    },
}
