//! A deployment's last failures, in the words that operators search for.

use std::{fmt, time::Instant};

use crate::domain::{
    breaker::Cause,
    outcome::{Fault, Outcome},
};

/// An attempt that failed for the deployment's sake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub outcome: Outcome,
    /// What it answered with; `None`: it gave no status.
    pub status: Option<u16>,
    pub at: Instant,
}

/// `503`, `429`, `no connection`, …
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self.outcome {
            Outcome::Faulted { fault, .. } => Some(fault),
            _ => None,
        };
        match (self.status, fault) {
            (Some(_), Some(Fault::Broken)) => f.write_str("an answer that broke off"),
            (_, Some(Fault::Silence | Fault::Slow)) => f.write_str("no answer in time"),
            (Some(status @ 200..=299), None) if self.outcome == Outcome::NotTheApi => {
                write!(f, "{status} with a web page")
            }
            // What the stream's error event says counts as the status that it names.
            (Some(status @ 200..=299), Some(_)) => write!(f, "an error in a {status} stream"),
            (Some(status @ 200..=299), None) => {
                write!(
                    f,
                    "{} in a {status} stream",
                    self.outcome.label().replace('_', " ")
                )
            }
            (Some(status), _) => write!(f, "{status}"),
            (None, Some(Fault::Connect)) => f.write_str("no connection"),
            (None, Some(Fault::Credential)) => f.write_str("no token"),
            (None, Some(_)) => f.write_str("connection closed before an answer"),
            (None, None) => f.write_str(&self.outcome.label().replace('_', " ")),
        }
    }
}

/// The last failure of each kind that a deployment is left alone for: a 429 behind the faults that opened its circuit did
/// not open it.
#[derive(Debug, Default)]
pub(super) struct Failures(Vec<(Kind, Failure)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// What it is left alone for as a whole.
    Whole(Cause),
    /// What its identity may not do.
    Operation,
    /// Work that isn't there.
    Path,
}

impl Kind {
    /// `None`: it is left alone for no such thing.
    fn made_by(outcome: &Outcome) -> Option<Self> {
        Some(Self::Whole(match outcome {
            Outcome::Faulted {
                fault: Fault::OwnLimit,
                ..
            } => return None,
            Outcome::OperationRejected => return Some(Self::Operation),
            Outcome::NotFound | Outcome::Refused => return Some(Self::Path),
            Outcome::Throttled { .. } => Cause::Throttle,
            Outcome::Faulted {
                fault: Fault::Credential,
                ..
            }
            | Outcome::IdentityRejected
            | Outcome::IdentityUnfit => Cause::Credential,
            Outcome::Faulted { .. } => Cause::Fault,
            Outcome::NotDeployed => Cause::Configuration,
            Outcome::Redirected => Cause::Redirect,
            Outcome::NotTheApi => Cause::NotTheApi,
            _ => return None,
        }))
    }
}

impl Failures {
    /// Keeps it, until the next of its kind.
    pub(super) fn note(&mut self, failure: Failure) {
        let Some(kind) = Kind::made_by(&failure.outcome) else {
            return;
        };
        match self.0.iter_mut().find(|(of, _)| *of == kind) {
            Some((_, last)) => *last = failure,
            None => self.0.push((kind, failure)),
        }
    }

    /// The last one that it is left alone for where this is the cause, however long ago.
    pub(super) fn of(&self, cause: Cause) -> Option<Failure> {
        self.last(Kind::Whole(cause))
    }

    /// The same of one kind of work, which it is not asked for while it does others.
    pub(super) fn of_one(&self, cause: Cause) -> Option<Failure> {
        self.last(match cause {
            Cause::Credential => Kind::Operation,
            _ => Kind::Path,
        })
    }

    fn last(&self, kind: Kind) -> Option<Failure> {
        let found = self.0.iter().find(|(of, _)| *of == kind);
        found.map(|(_, failure)| *failure)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_failure_is_told_by_its_status_or_by_what_came_instead() {
        let told = |outcome, status| {
            let at = Instant::now();
            Failure {
                outcome,
                status,
                at,
            }
            .to_string()
        };
        let fault = Outcome::fault;
        let wait = Duration::from_secs(1);
        for (outcome, status, text) in [
            (fault(Fault::Unavailable), Some(503), "503"),
            (fault(Fault::Timeout), Some(408), "408"),
            (fault(Fault::Status), Some(200), "an error in a 200 stream"),
            (fault(Fault::Broken), Some(200), "an answer that broke off"),
            (Outcome::NotTheApi, Some(200), "200 with a web page"),
            (Outcome::NotTheApi, Some(407), "407"),
            (fault(Fault::Silence), None, "no answer in time"),
            (fault(Fault::Connect), None, "no connection"),
            (fault(Fault::Credential), None, "no token"),
            (
                fault(Fault::Reset),
                None,
                "connection closed before an answer",
            ),
            (Outcome::Throttled { wait: Some(wait) }, Some(429), "429"),
            (
                Outcome::Throttled { wait: Some(wait) },
                Some(200),
                "throttled in a 200 stream",
            ),
            (Outcome::IdentityRejected, Some(401), "401"),
        ] {
            assert_eq!(told(outcome, status), text, "{outcome:?} {status:?}");
        }
    }
}
