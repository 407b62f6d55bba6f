//! The last failovers, grouped by model, direction and cause.
//!
//! Counters say how many there were; this says which, newest first. A request that went through at once costs nothing here.

use std::time::SystemTime;

use parking_lot::Mutex;

use super::record::{AttemptRecord, Record};
use crate::domain::name::{DeploymentName, InstanceName, ModelName};

/// So many kinds of moves are remembered.
const KEPT: usize = 20;

/// Requests of a model that left a deployment for the same reason, in the same direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    pub model: ModelName,
    pub from: DeploymentRef,
    /// `None`: nothing was left to ask.
    pub to: Option<DeploymentRef>,
    /// The outcome's label.
    pub cause: &'static str,
    /// When the last of them was made.
    pub at: SystemTime,
    /// How often, since the gateway remembers it.
    pub times: u64,
}

/// A deployment, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRef {
    pub instance: InstanceName,
    pub deployment: DeploymentName,
}

/// What is remembered of them: the newest last.
#[derive(Debug, Default)]
pub struct Failovers(Mutex<Vec<Failover>>);

impl Failovers {
    /// Takes in the moves of one finished request. Never waits: while somebody else writes or reads, they are let go.
    pub fn note(&self, record: &Record) {
        let Some(model) = &record.model else { return };
        let ends_here = record.refusal.is_some();
        if record.attempts.len() < 2 && !ends_here {
            return;
        }
        let Some(mut kept) = self.0.try_lock() else {
            return;
        };
        let mut at = record.arrived;
        for (i, from) in record.attempts.iter().enumerate() {
            at += from.took;
            match record.attempts.get(i + 1) {
                // With a fresh token the same deployment may have been asked once more.
                Some(to) if from.is_at(to) => {}
                None if !ends_here => {}
                to => add(&mut kept, model, from, to, at),
            }
        }
    }

    /// The newest first.
    pub fn latest(&self) -> Vec<Failover> {
        self.0.lock().iter().rev().cloned().collect()
    }
}

fn add(
    kept: &mut Vec<Failover>,
    model: &ModelName,
    from: &AttemptRecord,
    to: Option<&AttemptRecord>,
    at: SystemTime,
) {
    let same = kept.iter().position(|it| {
        it.cause == from.outcome
            && it.from.is_of(from)
            && match (&it.to, to) {
                (Some(place), Some(to)) => place.is_of(to),
                (None, None) => true,
                _ => false,
            }
            && it.model == *model
    });
    if let Some(same) = same {
        let kind = &mut kept[same];
        (kind.at, kind.times) = (kind.at.max(at), kind.times + 1);
        kept[same..].rotate_left(1);
        return;
    }
    if kept.len() == KEPT {
        kept.remove(0);
    }
    kept.push(Failover {
        model: model.clone(),
        from: DeploymentRef::from_attempt(from),
        to: to.map(DeploymentRef::from_attempt),
        cause: from.outcome,
        at,
        times: 1,
    });
}

impl DeploymentRef {
    fn from_attempt(attempt: &AttemptRecord) -> Self {
        Self {
            instance: attempt.instance.clone(),
            deployment: attempt.deployment.clone(),
        }
    }

    fn is_of(&self, attempt: &AttemptRecord) -> bool {
        self.instance == attempt.instance && self.deployment == attempt.deployment
    }
}

#[cfg(test)]
mod tests {
    use super::{super::record::tests::record, *};

    fn told(failovers: &Failovers) -> Vec<(String, Option<String>, &'static str, u64)> {
        let name = |place: &DeploymentRef| place.instance.to_string();
        let tell = |it: &Failover| {
            let to = it.to.as_ref().map(name);
            (name(&it.from), to, it.cause, it.times)
        };
        failovers.latest().iter().map(tell).collect()
    }

    fn moved(instance: &str) -> Record {
        let mut record = record();
        record.attempts[0].instance = instance.into();
        record
    }

    #[test]
    fn a_kind_of_move_stands_once_with_its_number_and_the_newest_first() {
        let failovers = Failovers::default();
        failovers.note(&moved("east"));
        failovers.note(&moved("south"));
        failovers.note(&moved("east"));
        let west = Some("west".to_owned());
        assert_eq!(
            told(&failovers),
            [
                ("east".to_owned(), west.clone(), "throttled", 2),
                ("south".to_owned(), west, "throttled", 1)
            ]
        );
        let first = record();
        let at = first.arrived + first.attempts[0].took;
        assert_eq!(failovers.latest()[0].at, at);
    }

    #[test]
    fn what_moved_nowhere_is_no_failover_and_the_end_of_all_is_one() {
        let failovers = Failovers::default();
        let mut straight = record();
        straight.attempts.remove(0);
        failovers.note(&straight);
        let mut again = moved("west");
        again.attempts[0].outcome = "identity_rejected";
        failovers.note(&again);
        assert_eq!(told(&failovers), []);

        let mut refused = record();
        refused.refusal = Some("throttled");
        refused.attempts[1].outcome = "fault_connect";
        failovers.note(&refused);
        assert_eq!(
            told(&failovers),
            [
                ("west".to_owned(), None, "fault_connect", 1),
                ("east".to_owned(), Some("west".to_owned()), "throttled", 1)
            ]
        );
    }

    #[test]
    fn the_oldest_kinds_are_forgotten() {
        let failovers = Failovers::default();
        for i in 0..3 * KEPT {
            failovers.note(&moved(&format!("i{i}")));
        }
        let told = told(&failovers);
        assert_eq!((told.len(), told[0].0.as_str()), (KEPT, "i59"));
    }
}
