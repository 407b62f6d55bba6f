//! When each member may be asked, as plain numbers side by side, so that choosing takes no lock.
//!
//! A member's numbers are written under its lock, after each change of its breaker or its term; those stay the judges.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::credential_validity::CredentialValidity;
use crate::domain::breaker::{Breaker, Readiness, Settings};

/// A whole share.
pub(super) const WHOLE: u64 = 1000;

/// Not before somebody says so, or without an end.
const UNKNOWN: u64 = u64::MAX;

/// Nanoseconds since the first moment that the pool was used at, which is 1, as is all before it; 0 stands for nothing.
#[derive(Clone, Copy)]
pub(super) struct Moment(u64);

#[derive(Debug)]
pub(super) struct Ready {
    settings: Settings,
    base: OnceLock<Instant>,
    /// From when on each may be asked: 0 while nothing is against it.
    from: Vec<AtomicU64>,
    /// When the credential for each ends: [`UNKNOWN`] while no end is known.
    ends: Vec<AtomicU64>,
    /// When the share of each began to grow, 0 if never.
    ramp_since: Vec<AtomicU64>,
    /// From then on no share is growing any more.
    ramps_until: AtomicU64,
    /// From then on every kind of work may be asked of everybody.
    bars_until: AtomicU64,
}

impl Ready {
    pub(super) fn new(members: usize, settings: Settings) -> Self {
        let all = |number| (0..members).map(|_| AtomicU64::new(number)).collect();
        Self {
            settings,
            base: OnceLock::new(),
            from: all(0),
            ends: all(UNKNOWN),
            ramp_since: all(0),
            ramps_until: AtomicU64::new(0),
            bars_until: AtomicU64::new(0),
        }
    }

    pub(super) fn moment(&self, at: Instant) -> Moment {
        let base = *self.base.get_or_init(|| at);
        Moment(at.saturating_duration_since(base).as_nanos() as u64 + 1)
    }

    pub(super) fn is_ready(&self, index: usize, now: Moment) -> bool {
        self.from[index].load(Relaxed) <= now.0 && now.0 < self.ends[index].load(Relaxed)
    }

    /// Whether some share is not whole now.
    pub(super) fn any_ramps(&self, now: Moment) -> bool {
        now.0 < self.ramps_until.load(Relaxed)
    }

    /// Whether some kind of work is not to be asked of somebody now.
    pub(super) fn any_bars(&self, now: Moment) -> bool {
        now.0 < self.bars_until.load(Relaxed)
    }

    pub(super) fn note_bar(&self, until: Instant) {
        self.bars_until.fetch_max(self.moment(until).0, Relaxed);
    }

    /// The part of its share that a member gets now, in thousandths; never none.
    pub(super) fn share(&self, index: usize, now: Moment) -> u64 {
        match self.ramp_since[index].load(Relaxed) {
            0 => WHOLE,
            since => {
                let returned = Duration::from_nanos(now.0.saturating_sub(since));
                (self.settings.share(returned) * WHOLE as f64) as u64
            }
        }
    }

    /// Takes over what a member's breaker and its term say. To be called under that member's lock.
    pub(super) fn refresh(&self, index: usize, breaker: &Breaker, validity: &CredentialValidity) {
        let ends = validity.ends.map_or(UNKNOWN, |at| self.moment(at).0);
        put(&self.ends[index], ends);
        let from = match breaker.readiness() {
            Readiness::Ready => 0,
            Readiness::From(at) => self.moment(at).0,
            Readiness::Unknown => UNKNOWN,
        };
        put(&self.from[index], from);
        let ramp_since = breaker.ramp_since().map_or(0, |at| self.moment(at).0);
        if put(&self.ramp_since[index], ramp_since) && ramp_since > 0 {
            let until = ramp_since.saturating_add(self.settings.ramp.as_nanos() as u64);
            self.ramps_until.fetch_max(until, Relaxed);
        }
    }
}

/// Writes only what is new, so that the other cores keep what they have read. Whether it was.
fn put(number: &AtomicU64, new: u64) -> bool {
    let changed = number.load(Relaxed) != new;
    if changed {
        number.store(new, Relaxed);
    }
    changed
}
