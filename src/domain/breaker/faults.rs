//! A deployment's latest faults: too many of them, too close together? And its latest doubts: failures of requests that
//! nobody served, each of which could be its request's own.

use std::{collections::VecDeque, time::Instant};

use super::settings::Settings;
use crate::domain::name::ClientName;

/// Whose request failed, where nobody served it.
#[derive(Clone, Copy, Debug)]
pub struct Doubter<'a> {
    /// `None`: a client without a name.
    pub client: Option<&'a ClientName>,
    /// Another deployment of the pool served this client a little while ago.
    pub is_served_elsewhere: bool,
    /// There is no other client.
    pub is_alone: bool,
}

/// A window that slides over attempts and over time. An attempt that is no fault costs one addition.
#[derive(Debug, Default)]
pub(in crate::domain) struct Faults {
    /// How many attempts were judged.
    judged: u64,
    /// The latest faults, no more than it takes: which attempt each was, and when it ended.
    latest: VecDeque<(u64, Instant)>,
    /// Never more than it takes.
    doubts: Vec<Doubt>,
    /// How many there were since somebody was served.
    in_a_row: u32,
}

#[derive(Debug)]
struct Doubt {
    attempt: u64,
    at: Instant,
    client: Option<ClientName>,
}

impl Faults {
    /// An attempt that was none.
    pub(in crate::domain) fn pass_by(&mut self) {
        self.judged += 1;
        self.in_a_row = 0;
    }

    /// Whether they are too many with this one. Among many that were served a few don't count, however many they are.
    pub(in crate::domain) fn add(&mut self, settings: &Settings, now: Instant) -> bool {
        let enough = u64::from(settings.faults.max(1));
        self.judged += 1;
        self.latest.push_back((self.judged, now));
        if (self.latest.len() as u64) < enough {
            return false;
        }
        let Some((attempt, at)) = self.latest.pop_front() else {
            return false;
        };
        self.judged - attempt < 2 * enough && now.saturating_duration_since(at) <= settings.window
    }

    /// Whether requests of different clients failed so often that it can't be theirs. Whatever one client asks, it can't
    /// bring that about alone: it counts for half of what it takes, unless others served it meanwhile. Where there is no other
    /// client that it could harm, twice as many do, if nobody was served between.
    pub(super) fn doubt(&mut self, by: Doubter<'_>, settings: &Settings, now: Instant) -> bool {
        let enough = settings.faults.max(2) as usize;
        self.judged += 1;
        self.in_a_row = self.in_a_row.saturating_add(1);
        if by.is_alone && self.in_a_row >= settings.faults.saturating_mul(2) {
            return true;
        }
        let judged = self.judged;
        self.doubts.retain(|doubt| {
            judged - doubt.attempt < 2 * enough as u64
                && now.saturating_duration_since(doubt.at) <= settings.window
        });
        let most = if by.is_served_elsewhere {
            enough
        } else {
            enough.div_ceil(2)
        };
        let is_its = |doubt: &Doubt| doubt.client.as_ref() == by.client;
        if self.doubts.iter().filter(|doubt| is_its(doubt)).count() >= most
            && let Some(oldest) = self.doubts.iter().position(is_its)
        {
            self.doubts.remove(oldest);
        }
        self.doubts.push(Doubt {
            attempt: judged,
            at: now,
            client: by.client.cloned(),
        });
        self.doubts.len() >= enough
    }
}
