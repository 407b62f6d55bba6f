//! Failures of one request that may be its own doing: held back until it is known how the request ends.
//!
//! The one rule for whose fault they are:
//! - another deployment served the request: they are the deployments' that failed, and charged like any fault;
//! - a deployment answered that the request is wrong: they are the request's, and forgotten;
//! - nobody served it: unclear. They are kept as doubts, and charged where requests of different clients came to the same
//!   (`breaker/faults.rs`), so that a pool that is down as a whole is found, but by no client alone.

use std::time::Instant;

use super::{
    attempt::Attempt,
    held_failure::{Charged, HeldFailure},
};
use crate::domain::{
    breaker::Transition,
    name::ClientName,
    outcome::{Blame, Outcome},
};

/// What is held back of one request.
#[derive(Debug, Default)]
pub struct Suspicions(Vec<HeldFailure>);

impl Suspicions {
    /// Tells the pool how an attempt ended; what may be its request's own doing is held back instead.
    pub fn judge(
        &mut self,
        attempt: &mut Attempt,
        outcome: &Outcome,
        now: Instant,
        draw: u64,
    ) -> Option<Transition> {
        if outcome.blame() != Blame::Unclear {
            return attempt.judge(outcome, now, draw);
        }
        let (held, transition) = attempt.hold(outcome, now)?;
        self.add(held);
        transition
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn add(&mut self, held: HeldFailure) {
        self.0.push(held);
    }

    /// Takes in how the latest attempt of the request ended: a fellow that served it shows whose fault the others' failures
    /// were, and so does one that finds the request wrong. Nothing is known where the client has left.
    pub fn resolve(&mut self, outcome: &Outcome, now: Instant, draw: u64) -> Vec<Charged> {
        match outcome {
            _ if self.0.is_empty() => Vec::new(),
            Outcome::Served => {
                let held = self.0.drain(..);
                held.map(|held| held.charge(now, draw)).collect()
            }
            Outcome::CallerError | Outcome::Screened | Outcome::ClientLeft => {
                self.0.clear();
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// The request has ended, and nobody served it.
    pub fn end(&mut self, client: Option<&ClientName>, now: Instant, draw: u64) -> Vec<Charged> {
        let held = self.0.drain(..);
        held.filter_map(|held| match held.outcome {
            Outcome::Faulted { .. } => Some(held.doubt(client, now, draw)),
            _ => None,
        })
        .collect()
    }
}
