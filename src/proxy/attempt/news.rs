//! What an attempt's end is written down and told as.

use std::time::Instant;

use crate::{
    domain::{breaker::Transition, pool::Charged},
    telemetry::record::AttemptRecord,
};

/// What is to be written down, and what operators are to be told.
#[must_use]
#[derive(Default)]
pub(crate) struct News {
    /// `None`: it is written down already, or will be once the answer has ended.
    pub(crate) line: Option<AttemptRecord>,
    pub(crate) changes: Changes,
    /// The retry budget did not allow a further move.
    pub(crate) out_of_budget: bool,
}

/// Deployments whose state has changed, by their places in the pool, and when.
#[derive(Default)]
pub(crate) struct Changes(Vec<(usize, Transition, Instant)>);

impl News {
    pub(super) fn new(line: Option<AttemptRecord>, changes: Changes) -> Self {
        Self {
            line,
            changes,
            out_of_budget: false,
        }
    }

    /// Of failures that were held back, and are charged now.
    pub(crate) fn of_charged(charged: &[Charged], now: Instant) -> Self {
        let mut changes = Changes::default();
        changes.add_all(charged, now);
        Self::new(None, changes)
    }
}

impl Changes {
    pub(super) fn add(&mut self, index: usize, transition: Option<Transition>, now: Instant) {
        self.0
            .extend(transition.map(|transition| (index, transition, now)));
    }

    pub(super) fn add_all(&mut self, charged: &[Charged], now: Instant) {
        for one in charged {
            self.add(one.index(), one.transition(), now);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, Transition, Instant)> {
        self.0.iter().copied()
    }
}
