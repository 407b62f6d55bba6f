//! What was last held against a deployment, in the words that operators search for.

use std::{fmt, time::Instant};

use super::{Member, Pool};
use crate::domain::{
    deployment::Deployment,
    health::Ability,
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

impl Member {
    /// Keeps it, until the next.
    pub fn note_failure(&self, failure: Failure) {
        *self.failure.lock() = Some(failure);
    }

    /// The last one, however long ago.
    pub fn failure(&self) -> Option<Failure> {
        *self.failure.lock()
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

    /// Who can be asked for what this member is not asked for.
    pub fn effect_beside(&self, member: &Member, now: Instant) -> String {
        let others = self.serving(now).filter(|it| !std::ptr::eq(*it, member));
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
