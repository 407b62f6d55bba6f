//! The members of one priority: which of them, by weight?

use std::ops::Range;

use super::{
    draws::Draws,
    ready::{Moment, Ready, WHOLE},
    tried::Tried,
};
use crate::domain::deployment::Deployment;

/// How often to guess before counting. Where half of a tier is out, fifteen guesses of sixteen are spared the count.
const GUESSES: usize = 4;

#[derive(Debug)]
pub(super) struct Tier {
    members: Range<usize>,
    /// For each, the weights up to it and with it.
    sums: Vec<u64>,
}

pub(super) enum Pick {
    /// None of them can be asked.
    None,
    Member(usize),
    /// All that can be asked have just returned, so this request should rather go to a later tier.
    LetBy(usize),
}

impl Tier {
    /// The tiers of deployments that are sorted by priority.
    pub(super) fn all(deployments: &[Deployment]) -> Vec<Self> {
        let mut first = 0;
        let tiers = deployments.chunk_by(|a, b| a.priority == b.priority);
        let tier = |tier: &[Deployment]| {
            let members = first..first + tier.len();
            first = members.end;
            let mut sum = 0;
            let sums = tier.iter().map(|deployment| {
                sum += u64::from(deployment.weight.get());
                sum
            });
            Self {
                members,
                sums: sums.collect(),
            }
        };
        tiers.map(tier).collect()
    }

    pub(super) fn pick(
        &self,
        ready: &Ready,
        tried: &Tried<'_>,
        now: Moment,
        draws: &mut Draws,
    ) -> Pick {
        if ready.any_ramps(now) {
            return self.ramping(ready, tried, now, draws);
        }
        let able = |index: usize| ready.is_ready(index, now) && !tried.has(index);
        let guessed = if self.members.len() > GUESSES {
            self.guess(able, draws)
        } else {
            None
        };
        match guessed {
            Some(index) => Pick::Member(index),
            None => self.count(able, |_| 1, draws),
        }
    }

    /// With all shares whole: draws among all of them, and takes what can be asked. The shares come out as if only
    /// those had been in the draw.
    fn guess(&self, able: impl Fn(usize) -> bool, draws: &mut Draws) -> Option<usize> {
        let total = *self.sums.last()?;
        let mut guesses = (0..GUESSES).map(|_| {
            let drawn = draws.below(total);
            self.members.start + self.sums.partition_point(|sum| *sum <= drawn)
        });
        guesses.find(|index| able(*index))
    }

    /// Some shares still grow. Where all of them do, they together get no more than the largest.
    fn ramping(&self, ready: &Ready, tried: &Tried<'_>, now: Moment, draws: &mut Draws) -> Pick {
        let able = |index: usize| ready.is_ready(index, now) && !tried.has(index);
        let share = |index: usize| ready.share(index, now);
        let largest = self
            .members
            .clone()
            .filter(|index| able(*index))
            .map(share)
            .max();
        let keeps = draws.below(WHOLE) < largest.unwrap_or(WHOLE);
        match self.count(able, share, draws) {
            Pick::Member(index) if !keeps => Pick::LetBy(index),
            pick => pick,
        }
    }

    /// Looks at each of them twice: for the sum, and for the one that the draw falls to.
    fn count(
        &self,
        able: impl Fn(usize) -> bool,
        share: impl Fn(usize) -> u64,
        draws: &mut Draws,
    ) -> Pick {
        let part = |index: usize| {
            if able(index) {
                self.weight(index) * share(index)
            } else {
                0
            }
        };
        let total: u64 = self.members.clone().map(part).sum();
        if total == 0 {
            return Pick::None;
        }
        let mut left = draws.below(total);
        let falls_here = |index: &usize| {
            let part = part(*index);
            let here = left < part;
            left = left.saturating_sub(part);
            here
        };
        // What was ready at the first look may be gone at the second; the caller looks again then.
        match self.members.clone().find(falls_here) {
            Some(index) => Pick::Member(index),
            None => self
                .members
                .clone()
                .find(|index| able(*index))
                .map_or(Pick::None, Pick::Member),
        }
    }

    fn weight(&self, index: usize) -> u64 {
        let place = index - self.members.start;
        let before = place.checked_sub(1).map_or(0, |place| self.sums[place]);
        self.sums[place] - before
    }
}
