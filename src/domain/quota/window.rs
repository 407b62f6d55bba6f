//! A sliding window: what was counted within the last minute.
//!
//! Each entry leaves the window a minute after it came, not with a clock's minute, so that a client never gets two minutes'
//! worth at once, as it would where a minute turns or from a bucket that was full. What comes within half a second is one
//! entry, by its latest time: never too early, and bounded in memory however many requests come.

use std::{collections::VecDeque, time::Duration};

/// Nanoseconds since the accounts were opened.
pub(super) type Nanos = u64;

/// How long a thing counts.
pub(super) const MINUTE: Nanos = 60_000_000_000;
/// What comes within it is kept as one: at most 122 entries of 16 bytes.
const GRAIN: Nanos = 500_000_000;

#[derive(Debug, Default)]
pub(super) struct Window {
    entries: VecDeque<Entry>,
    sum: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// When the latest of it came.
    at: Nanos,
    amount: u64,
}

impl Window {
    /// What counts now.
    pub(super) fn sum(&mut self, now: Nanos) -> u64 {
        while let Some(first) = self.entries.front()
            && first.at + MINUTE <= now
        {
            self.sum -= first.amount;
            self.entries.pop_front();
        }
        self.sum
    }

    /// Counts so much, and says by which time it is found again. Threads read the clock apart: what comes late counts as now.
    pub(super) fn add(&mut self, amount: u64, now: Nanos) -> Nanos {
        let now = self.entries.back().map_or(now, |last| now.max(last.at));
        match self.entries.back_mut() {
            Some(last) if last.at / GRAIN == now / GRAIN => {
                last.at = now;
                last.amount = last.amount.saturating_add(amount);
            }
            _ => self.entries.push_back(Entry { at: now, amount }),
        }
        self.sum = self.sum.saturating_add(amount);
        now
    }

    /// Takes back of what was counted `at` that time, where it still counts.
    pub(super) fn take_back(&mut self, amount: u64, at: Nanos) {
        let place = self.entries.partition_point(|entry| entry.at < at);
        let Some(entry) = self.entries.get_mut(place) else {
            return;
        };
        if entry.at / GRAIN == at / GRAIN {
            let back = amount.min(entry.amount);
            entry.amount -= back;
            self.sum -= back;
        }
    }

    /// How long until less than `most` counts, if nothing more comes.
    pub(super) fn wait(&mut self, most: u64, now: Nanos) -> Duration {
        let mut left = self.sum(now);
        for entry in &self.entries {
            if left < most {
                break;
            }
            left -= entry.amount;
            if left < most {
                return Duration::from_nanos((entry.at + MINUTE).saturating_sub(now));
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn what_came_counts_for_a_minute_and_not_longer() {
        let mut window = Window::default();
        window.add(5, 0);
        window.add(7, 30 * SECOND);
        assert_eq!(window.sum(60 * SECOND - 1), 12);
        assert_eq!(window.sum(60 * SECOND), 7);
        assert_eq!(window.sum(90 * SECOND), 0);
    }

    #[test]
    fn the_wait_is_until_enough_has_left() {
        let mut window = Window::default();
        for second in 0..10 {
            window.add(10, second * SECOND);
        }
        let now = 20 * SECOND;
        assert_eq!(window.wait(101, now), Duration::ZERO);
        assert_eq!(window.wait(100, now), Duration::from_secs(40));
        assert_eq!(window.wait(91, now), Duration::from_secs(40));
        assert_eq!(window.wait(90, now), Duration::from_secs(41));
        let then = now + window.wait(50, now).as_nanos() as Nanos;
        assert!(window.sum(then - 1) >= 50);
        assert!(window.sum(then) < 50);
    }

    #[test]
    fn what_is_taken_back_counts_no_longer_and_nothing_else_goes_with_it() {
        let mut window = Window::default();
        let first = window.add(5, SECOND);
        let second = window.add(7, SECOND + 1);
        window.add(11, 2 * SECOND);
        window.take_back(5, first);
        assert_eq!(window.sum(3 * SECOND), 18);
        window.take_back(3, second);
        assert_eq!(window.sum(3 * SECOND), 15);
        // Once it has left by itself there is nothing to take.
        assert_eq!(window.sum(61 * SECOND + 1), 11);
        window.take_back(4, second);
        assert_eq!(window.sum(61 * SECOND + 1), 11);
    }

    #[test]
    fn a_clock_read_late_counts_as_now() {
        let mut window = Window::default();
        window.add(1, 10 * SECOND);
        let at = window.add(1, 9 * SECOND);
        assert_eq!(window.sum(69 * SECOND + 1), 2);
        window.take_back(1, at);
        assert_eq!(window.sum(69 * SECOND + 1), 1);
    }

    #[test]
    fn however_much_comes_it_is_kept_in_little() {
        let mut window = Window::default();
        for at in 0..1_000_000 {
            window.add(1, at * (SECOND / 1000));
            window.sum(at * (SECOND / 1000));
        }
        assert!(window.entries.len() <= 122, "{}", window.entries.len());
        assert!(window.entries.capacity() <= 256);
    }
}
