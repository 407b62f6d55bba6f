//! A deployment's latest faults: too many of them, too close together?

use std::{collections::VecDeque, time::Instant};

use super::Settings;

/// A window that slides over attempts and over time. An attempt that is no fault costs one addition.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// How many attempts were judged.
    judged: u64,
    /// The latest faults, no more than it takes: which attempt each was, and when it ended.
    latest: VecDeque<(u64, Instant)>,
}

impl Faults {
    /// An attempt that was none.
    pub(super) fn pass_by(&mut self) {
        self.judged += 1;
    }

    /// Whether they are too many with this one. Among many that were served a few don't count, however many they are.
    pub(super) fn add(&mut self, settings: &Settings, now: Instant) -> bool {
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
}
