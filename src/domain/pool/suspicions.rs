//! Failures of one request that may be its own doing: held back until it is known how the request ends.
//!
//! The one rule for whose fault they are:
//! - another deployment served the request: they are the deployments' that failed, and charged like any fault;
//! - a deployment answered that the request is wrong: they are the request's, and forgotten;
//! - nobody served it: unclear. They are kept as doubts, and charged where requests of different clients came to the same
//!   (`breaker/faults.rs`), so that a pool that is down as a whole is found, but by no client alone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{Attempt, Member, Pool};
use crate::domain::{
    breaker::{Doubter, Pass, Transition},
    name::ClientName,
    outcome::{Blame, Outcome},
    route::Operation,
};

/// What is held back of one request.
#[derive(Debug, Default)]
pub struct Suspicions(Vec<Held>);

/// One attempt's failure.
#[derive(Debug)]
pub struct Held {
    pub(super) pool: Arc<Pool>,
    pub(super) index: usize,
    pub(super) pass: Pass,
    pub(super) operation: Operation,
    pub(super) outcome: Outcome,
}

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

    pub fn add(&mut self, held: Held) {
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
            Outcome::Faulted { .. } => {
                let change = held.pool.doubt(held.index, held.pass, client, now, draw);
                Some(Charged(held, change))
            }
            _ => None,
        })
        .collect()
    }
}

/// A failure that was charged, and what it changed.
#[derive(Debug)]
pub struct Charged(Held, Option<Transition>);

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

impl Held {
    fn charge(self, now: Instant, draw: u64) -> Charged {
        let change = self.pool.change(self.index, |health| {
            health.charge(self.pass, self.operation, &self.outcome, now, draw)
        });
        Charged(self, change)
    }
}

impl Pool {
    /// Takes in that a client's request failed here, and that nobody served it.
    pub(super) fn doubt(
        &self,
        index: usize,
        pass: Pass,
        client: Option<&ClientName>,
        now: Instant,
        draw: u64,
    ) -> Option<Transition> {
        let is_served_elsewhere = self.served.note_doubt(client, index, self.window, now);
        let by = Doubter {
            client,
            is_served_elsewhere,
            is_alone: self.has_one_client,
        };
        self.change(index, |health| health.breaker.doubt(pass, by, now, draw))
    }

    /// Takes in that a client has its whole answer. Only while there are doubts does anybody want to know.
    pub fn note_whole(&self, client: Option<&ClientName>, index: usize, now: Instant) {
        self.served.note(client, index, now);
    }
}

/// Which clients were served where, while there are doubts about deployments.
#[derive(Debug, Default)]
pub(super) struct ServedLately {
    latest: Mutex<Latest>,
    is_wanted: AtomicBool,
}

#[derive(Debug, Default)]
struct Latest {
    wanted_until: Option<Instant>,
    seen: Vec<(Option<ClientName>, usize, Instant)>,
}

/// More clients at once say no more than these.
const MOST_SEEN: usize = 64;

impl ServedLately {
    fn note(&self, client: Option<&ClientName>, index: usize, now: Instant) {
        if !self.is_wanted.load(Relaxed) {
            return;
        }
        let mut latest = self.latest.lock();
        if latest.wanted_until.is_none_or(|until| until < now) {
            self.is_wanted.store(false, Relaxed);
            *latest = Latest::default();
            return;
        }
        let is_its = |(of, at, _): &(Option<ClientName>, usize, Instant)| {
            of.as_ref() == client && *at == index
        };
        match latest.seen.iter().position(is_its) {
            Some(place) => latest.seen[place].2 = now,
            None if latest.seen.len() < MOST_SEEN => {
                latest.seen.push((client.cloned(), index, now));
            }
            None => {}
        }
    }

    /// From now on it is wanted to be known. Whether another deployment served this client within the `window`.
    fn note_doubt(
        &self,
        client: Option<&ClientName>,
        index: usize,
        window: Duration,
        now: Instant,
    ) -> bool {
        let mut latest = self.latest.lock();
        latest.wanted_until = Some(now + window);
        self.is_wanted.store(true, Relaxed);
        latest.seen.retain(|(_, _, at)| *at + window >= now);
        let mut seen = latest.seen.iter();
        seen.any(|(of, at, _)| of.as_ref() == client && *at != index)
    }
}
