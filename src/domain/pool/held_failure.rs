//! The failure of one attempt while it is not known whether request or deployment caused it.

use std::{sync::Arc, time::Instant};

use super::{member::Member, members::Pool};
use crate::domain::{
    breaker::{Pass, Transition},
    name::ClientName,
    outcome::Outcome,
    route::Operation,
};

/// The failure of an attempt, held back until it is known whose fault it is.
#[derive(Debug)]
pub struct HeldFailure {
    pub(super) pool: Arc<Pool>,
    pub(super) index: usize,
    pub(super) pass: Pass,
    pub(super) operation: Operation,
    pub(super) outcome: Outcome,
}

impl HeldFailure {
    pub(super) fn charge(self, now: Instant, draw: u64) -> Charged {
        let change = self.pool.change(self.index, |health| {
            health.charge(self.pass, self.operation, &self.outcome, now, draw)
        });
        Charged(self, change)
    }

    /// Nobody served its request.
    pub(super) fn doubt(self, client: Option<&ClientName>, now: Instant, draw: u64) -> Charged {
        let change = self.pool.doubt(self.index, self.pass, client, now, draw);
        Charged(self, change)
    }
}

/// A failure that was charged, and what it changed.
#[derive(Debug)]
pub struct Charged(HeldFailure, Option<Transition>);

impl Charged {
    /// The deployment's place in its pool.
    pub fn index(&self) -> usize {
        self.0.index
    }

    pub fn transition(&self) -> Option<Transition> {
        self.1
    }

    pub fn member(&self) -> &Member {
        &self.0.pool.members[self.0.index]
    }
}
