//! What was last held against a deployment, in the words that operators search for.

use std::{fmt, time::Instant};

use super::{Member, Pool};
use crate::domain::{
    breaker::Cause,
    deployment::Deployment,
    health::Ability,
    outcome::{Fault, Outcome},
    route::Operation,
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
pub(super) struct Failures([Option<Failure>; Kind::ALL]);

#[derive(Clone, Copy)]
enum Kind {
    Throttle,
    Fault,
    Credential,
    Configuration,
    Redirect,
    NotTheApi,
    /// What its identity may not do.
    Operation,
    /// Work that isn't there.
    Path,
}

impl Kind {
    const ALL: usize = 8;

    /// `None`: it is left alone for no such thing.
    fn made_by(outcome: &Outcome) -> Option<Self> {
        Some(match outcome {
            Outcome::Throttled { .. } => Self::Throttle,
            Outcome::Faulted {
                fault: Fault::Credential,
                ..
            }
            | Outcome::IdentityRejected
            | Outcome::IdentityUnfit => Self::Credential,
            Outcome::Faulted {
                fault: Fault::OwnLimit,
                ..
            } => return None,
            Outcome::Faulted { .. } => Self::Fault,
            Outcome::OperationRejected => Self::Operation,
            Outcome::NotDeployed => Self::Configuration,
            Outcome::NotFound | Outcome::Refused => Self::Path,
            Outcome::Redirected => Self::Redirect,
            Outcome::NotTheApi => Self::NotTheApi,
            _ => return None,
        })
    }

    fn behind(cause: Cause) -> Self {
        match cause {
            Cause::Throttle => Self::Throttle,
            Cause::Fault => Self::Fault,
            Cause::Credential => Self::Credential,
            Cause::Configuration => Self::Configuration,
            Cause::Redirect => Self::Redirect,
            Cause::NotTheApi => Self::NotTheApi,
        }
    }
}

impl Member {
    /// Keeps it, until the next of its kind.
    pub fn note_failure(&self, failure: Failure) {
        if let Some(kind) = Kind::made_by(&failure.outcome) {
            self.failures.lock().0[kind as usize] = Some(failure);
        }
    }

    /// The last one that it is left alone for where this is the cause, however long ago.
    pub fn failure(&self, cause: Cause) -> Option<Failure> {
        self.failures.lock().0[Kind::behind(cause) as usize]
    }

    /// The same of one kind of work, which it is not asked for while it does others.
    pub fn failure_of_one(&self, cause: Cause) -> Option<Failure> {
        let kind = match cause {
            Cause::Credential => Kind::Operation,
            _ => Kind::Path,
        };
        self.failures.lock().0[kind as usize]
    }
}

impl Pool {
    /// Who gets the requests now: those of the first priority that can be asked.
    pub fn serving(&self, now: Instant) -> impl Iterator<Item = &Member> {
        let ready = move |member: &&Member| member.is_ready(now);
        let first = self.members.iter().find(ready);
        let priority = first.map(|it| it.deployment.priority);
        let members = self.members.iter().filter(ready);
        members.filter(move |it| Some(it.deployment.priority) == priority)
    }

    /// Who can be asked for what this member is not asked for; `operation`: where that is one kind of work.
    pub fn effect_beside(
        &self,
        member: &Member,
        operation: Option<Operation>,
        now: Instant,
    ) -> String {
        let does = |it: &&Member| {
            !std::ptr::eq(*it, member)
                && operation.is_none_or(|operation| !it.bars_now(operation, now))
        };
        let ready = self
            .members
            .iter()
            .filter(|it| it.is_ready(now) && does(it));
        let first = ready.clone().map(|it| it.deployment.priority).min();
        let others = ready.filter(|it| Some(it.deployment.priority) == first);
        let names: Vec<_> = others.map(Member::name).collect();
        match names.is_empty() {
            true => "no other can be asked: its clients get this refusal".to_owned(),
            false => format!("clients are served by {}", Few(&names)),
        }
    }

    /// What becomes of its clients' requests now.
    pub fn effect(&self, now: Instant) -> String {
        let names: Vec<_> = self.serving(now).map(Member::name).collect();
        match self.ability(now) {
            _ if !names.is_empty() => format!("clients are served by {}", Few(&names)),
            Ability::Serves | Ability::Untried => "clients are still served".to_owned(),
            Ability::Throttled => {
                "no other can be asked: clients get 429 with Retry-After".to_owned()
            }
            Ability::OnTrial | Ability::Down => {
                "no other can be asked: clients get 503 with Retry-After".to_owned()
            }
        }
    }
}

impl Member {
    /// `INSTANCE/DEPLOYMENT`.
    pub fn name(&self) -> String {
        let Deployment { instance, name, .. } = &self.deployment;
        format!("{}/{name}", instance.name)
    }
}

/// Names in a sentence: no more of them than anybody reads.
pub struct Few<'a>(pub &'a [String]);

impl fmt::Display for Few<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 3;
        let told = self.0.len().min(MOST);
        f.write_str(&self.0[..told].join(", "))?;
        match self.0.len() - told {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::pool::tests::pool_of;

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

    #[test]
    fn those_of_the_first_priority_that_can_be_asked_get_the_requests() {
        let (pool, t) = (
            pool_of(&[("ptu", 1, 1), ("a", 2, 1), ("b", 2, 1)]),
            Instant::now(),
        );
        let names = |pool: &Pool| -> Vec<String> {
            let serving = pool.serving(t);
            serving
                .map(|it| it.deployment().instance.name.to_string())
                .collect()
        };
        assert_eq!(names(&pool), ["ptu"]);
        let wait = Duration::from_secs(9);
        pool.choose(&[], t, 0)
            .unwrap()
            .judge(&Outcome::Throttled { wait: Some(wait) }, t, 0);
        assert_eq!(names(&pool), ["a", "b"]);
        assert_eq!(pool.effect(t), "clients are served by a/gpt-4o, b/gpt-4o");
        for _ in 0..2 {
            let mut attempt = pool.choose(&[0], t, 0).unwrap();
            attempt.judge(&Outcome::Throttled { wait: Some(wait) }, t, 0);
        }
        let effect = "no other can be asked: clients get 429 with Retry-After";
        assert_eq!(pool.effect(t), effect);
    }
}
