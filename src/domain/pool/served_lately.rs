//! Which clients were served where, while there are doubts about deployments.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::domain::name::ClientName;

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
    pub(super) fn note(&self, client: Option<&ClientName>, index: usize, now: Instant) {
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
    pub(super) fn note_doubt(
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
