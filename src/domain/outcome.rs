//! What the end of one attempt says about the deployment that was asked. It is judged once, in `answer.rs`, where a new reading of
//! a status or a body begins; breaker, failover, metrics and log all read this value. A status itself is looked at again only where
//! it is the operator's word (`more_statuses`), shows that a deployment answers nothing but 4xx (`pool/member.rs`), is the one
//! that a spilled answer tells of its first deployment (`spillover.rs`), or needs no more of its body (`body_outcome.rs`).
//!
//! # Whose fault
//! One attempt alone often can't tell ([`Blame`]). What can only be the deployment's (no connection, an answer that broke
//! off, a refused credential, a redirect, a 429) is charged to it at once. A failure after it was asked (a status, a reset,
//! silence) could as well be the request's own doing: it is held back, and charged only where another deployment served the
//! same request, or where requests of different clients failed so (`pool/suspicions.rs`, `breaker/faults.rs`). So no
//! client's own mistake closes a deployment for others, and a deployment that fails for everybody is still closed.

mod answer;
mod error;
mod words;

use std::time::Duration;

pub(super) use self::words::{lightest, says_set_up};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Served,
    /// A 4xx that is the caller's own matter: the deployment did its work.
    CallerError,
    /// One that shows that the deployment had read the prompt, so that all is well with it: a filter's, or its length.
    Screened,
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
    /// A 400 that says that our credential can't be good there: another tenant's, or a token where only keys are taken. A
    /// fresh token would not change that.
    IdentityUnfit,
    /// 401 or 403 `PermissionDenied`: our identity may not do this one kind of work there.
    OperationRejected,
    /// 404 `DeploymentNotFound`: the config names what isn't there, or the request itself does.
    NotDeployed,
    /// 404 "Resource not found": the path isn't there, for the endpoint's sake or for the API version's.
    NotFound,
    /// A 4xx of a deployment that has answered nothing else for a while.
    Refused,
    /// 3xx: the endpoint is not where its API is.
    Redirected,
    /// A web page, or a proxy's 407: what answers at the endpoint is not the API.
    NotTheApi,
    /// A status that the operator wants tried elsewhere, or no session where one was asked for; it says nothing of the
    /// deployment's other work.
    Unwanted,
    /// A 404 `DeploymentNotFound` to a request whose client named a deployment beside ours: it may be that one which isn't
    /// there, and then says nothing of ours.
    NamedMissing,
    /// A refusal of what the gateway itself added to the request, to learn what its stream uses: the same deployment is
    /// asked again without it.
    UsageRejected,
    /// The same of the most output, which a client's limit had the gateway write in: it is asked again in another form.
    LimitRejected,
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
    /// 408: it gave up on its own work, which may have been billed (wire facts: Status codes).
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
    /// Silence until `unstreamed_timeout`, of an answer whose first byte is its last: it may have been at work.
    Slow,
    /// The answer broke off after its head had been passed on.
    Broken,
}

/// Whose fault an attempt's end is, as far as it alone can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Not the deployment's.
    Nobody,
    /// The deployment's, or of what stands between it and us.
    Deployment,
    /// The deployment's or the request's own: how others end tells.
    Unclear,
}

impl Outcome {
    pub const fn fault(fault: Fault) -> Self {
        Self::Faulted { fault, wait: None }
    }

    /// The label in metrics and the field in the log: a closed set.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::CallerError | Self::Screened => "caller_error",
            Self::Throttled { .. } => "throttled",
            Self::Faulted { fault, .. } => fault.label(),
            Self::IdentityRejected | Self::IdentityUnfit => "identity_rejected",
            Self::OperationRejected => "operation_rejected",
            Self::NotDeployed => "not_deployed",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Redirected => "redirected",
            Self::NotTheApi => "not_the_api",
            Self::Unwanted | Self::NamedMissing => "unwanted",
            Self::UsageRejected => "usage_rejected",
            Self::LimitRejected => "limit_rejected",
            Self::StaleConnection => "stale_connection",
            Self::NotProcessed => "not_processed",
            Self::ClientLeft => "client_left",
        }
    }

    /// Whose fault it is, as far as this alone can say.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Served
            | Self::CallerError
            | Self::Screened
            | Self::Unwanted
            | Self::NamedMissing
            | Self::UsageRejected
            | Self::LimitRejected
            | Self::StaleConnection
            | Self::NotProcessed
            | Self::ClientLeft => Blame::Nobody,
            Self::NotDeployed | Self::NotFound | Self::Refused => Blame::Unclear,
            Self::Faulted { fault, .. } => fault.blame(),
            Self::Throttled { .. }
            | Self::IdentityRejected
            | Self::IdentityUnfit
            | Self::OperationRejected
            | Self::Redirected
            | Self::NotTheApi => Blame::Deployment,
        }
    }

    /// Whether the deployment can't have begun the work: what must not be done twice may still be asked elsewhere.
    pub fn is_untouched(&self) -> bool {
        match self {
            Self::Throttled { .. }
            | Self::IdentityRejected
            | Self::IdentityUnfit
            | Self::OperationRejected
            | Self::NotDeployed
            | Self::NotFound
            | Self::Redirected
            | Self::NotTheApi
            | Self::UsageRejected
            | Self::LimitRejected
            | Self::StaleConnection
            | Self::NotProcessed => true,
            Self::Faulted { fault, .. } => matches!(
                fault,
                Fault::Unavailable | Fault::Connect | Fault::Credential | Fault::OwnLimit
            ),
            Self::Served
            | Self::CallerError
            | Self::Screened
            | Self::Refused
            | Self::Unwanted
            | Self::NamedMissing
            | Self::ClientLeft => false,
        }
    }

    /// A 4xx that its client can make something of, where nobody else serves the request.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::NotDeployed | Self::NotFound | Self::Refused)
    }

    /// Whether Azure may bill for it although it gave no answer to use: asking again may be paid for twice (wire facts: Status codes).
    pub fn may_be_billed(&self) -> bool {
        let Self::Faulted { fault, .. } = self else {
            return false;
        };
        matches!(
            fault,
            Fault::Timeout | Fault::Reset | Fault::Silence | Fault::Slow | Fault::Broken
        )
    }

    /// Whether it is a fault that cost the deployment something, so that one more would multiply the load. Where nothing was
    /// sent, for want of a token or of this machine's own means, it costs nothing to move on.
    pub fn is_load(&self) -> bool {
        let Self::Faulted { fault, .. } = self else {
            return false;
        };
        !matches!(fault, Fault::Credential | Fault::OwnLimit)
    }

    /// Whether the deployment is to be named where it fails: it is neither the caller's matter nor the gateway's own.
    pub fn is_failure(&self) -> bool {
        self.blame() != Blame::Nobody
    }

    /// Whether the client gets this answer as it is; else another deployment may do better.
    pub fn is_delivered(&self) -> bool {
        matches!(self, Self::Served | Self::CallerError | Self::Screened)
    }

    /// Whether it is a 4xx by which the deployment says nothing against itself.
    pub fn is_callers(&self) -> bool {
        matches!(self, Self::CallerError | Self::Screened)
    }

    /// Whether it ended without a word in its time.
    pub fn is_silent(&self) -> bool {
        matches!(
            self,
            Self::Faulted {
                fault: Fault::Silence | Fault::Slow,
                ..
            }
        )
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

    /// Whatever follows a request that was sent could be its own doing; without one it is between the deployment and us.
    fn blame(self) -> Blame {
        match self {
            Self::Status
            | Self::Unavailable
            | Self::Timeout
            | Self::Reset
            | Self::Silence
            | Self::Slow => Blame::Unclear,
            Self::Connect | Self::Credential | Self::OwnLimit | Self::Broken => Blame::Deployment,
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
            Self::Silence | Self::Slow => "fault_silence",
            Self::Broken => "fault_broken",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_before_it_was_processed_is_nobodys_fault_and_costs_nothing() {
        for outcome in [Outcome::NotProcessed, Outcome::StaleConnection] {
            assert_eq!(outcome.blame(), Blame::Nobody, "{outcome:?}");
            assert!(
                outcome.is_untouched() && !outcome.may_be_billed(),
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn only_what_a_deployment_was_asked_for_counts_against_the_retry_budget() {
        for (outcome, counts) in [
            (Outcome::fault(Fault::Status), true),
            (Outcome::fault(Fault::Connect), true),
            (Outcome::fault(Fault::Silence), true),
            (Outcome::fault(Fault::Credential), false),
            (Outcome::fault(Fault::OwnLimit), false),
            (Outcome::Throttled { wait: None }, false),
            (Outcome::Served, false),
        ] {
            assert_eq!(outcome.is_load(), counts, "{outcome:?}");
        }
    }
}
