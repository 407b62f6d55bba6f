//! What a deployment's failure does to clients, in a sentence for operators.

use std::{fmt, time::Instant};

use super::{member::Member, members::Pool};
use crate::domain::{health::Ability, route::Operation};

impl Pool {
    /// Who gets the requests now: those of the first priority that can be asked.
    pub fn serving(&self, now: Instant) -> impl Iterator<Item = &Member> {
        let ready = move |member: &&Member| member.is_ready(now);
        let first = self.members().iter().find(ready);
        let priority = first.map(|it| it.deployment().priority);
        let members = self.members().iter().filter(ready);
        members.filter(move |it| Some(it.deployment().priority) == priority)
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
            .members()
            .iter()
            .filter(|it| it.is_ready(now) && does(it));
        let first = ready.clone().map(|it| it.deployment().priority).min();
        let others = ready.filter(|it| Some(it.deployment().priority) == first);
        let names: Vec<_> = others.map(Member::name).collect();
        if names.is_empty() {
            "no other deployment is available: clients get this error".to_owned()
        } else {
            format!("clients are served by {}", Few(&names))
        }
    }

    /// What becomes of its clients' requests now.
    pub fn effect(&self, now: Instant) -> String {
        let names: Vec<_> = self.serving(now).map(Member::name).collect();
        match self.ability(now) {
            _ if !names.is_empty() => format!("clients are served by {}", Few(&names)),
            Ability::Serves | Ability::Untried => "clients are still served".to_owned(),
            Ability::Throttled => {
                "no other deployment is available: clients get 429 with Retry-After".to_owned()
            }
            Ability::OnTrial | Ability::Down => {
                "no other deployment is available: clients get 503 with Retry-After".to_owned()
            }
        }
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
    use crate::domain::{outcome::Outcome, pool::tests::pool_of};

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
        let effect = "no other deployment is available: clients get 429 with Retry-After";
        assert_eq!(pool.effect(t), effect);
    }
}
