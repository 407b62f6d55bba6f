//! When to ask for keys: plain functions of what is known, a clock's reading and a random draw in `0..1`.

use std::time::{Duration, Instant};

/// Keys are looked at again after so long at the latest: one that was withdrawn holds no longer than this.
const LATEST: Duration = Duration::from_secs(3600);
/// Nothing an issuer says makes us ask it more often than this.
const SOONEST: Duration = Duration::from_secs(300);
/// The waits between tries after failures; the last one repeats.
const WAITS: [u64; 6] = [1, 2, 5, 10, 30, 60];

/// Requests for unknown keys may cause so many fetches at once, …
const AT_ONCE: f64 = 3.0;
/// … and one more each time this has passed.
const ONE_EACH: Duration = Duration::from_secs(30);

/// How long to use the keys before looking again: up to an hour, less a draw that spreads gateways.
pub(super) fn refresh_after(max_age: Option<Duration>, draw: f64) -> Duration {
    let age = max_age.unwrap_or(LATEST).clamp(SOONEST, LATEST);
    age.mul_f64(1.0 - 0.1 * draw)
}

/// How long to wait after the `failures`-th failure in a row (from 1).
pub(super) fn retry_after(failures: u32, draw: f64) -> Duration {
    let step = (failures.saturating_sub(1) as usize).min(WAITS.len() - 1);
    Duration::from_secs(WAITS[step]).mul_f64(1.0 - 0.25 * draw)
}

/// How many fetches requests may still cause: anyone can send a token with a key id that isn't there.
#[derive(Debug)]
pub(super) struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: AT_ONCE,
            at: now,
        }
    }

    /// Whether one more is allowed now; it is counted then.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at);
        let earned = passed.as_secs_f64() / ONE_EACH.as_secs_f64();
        (self.left, self.at) = ((self.left + earned).min(AT_ONCE), now);
        let is_allowed = self.left >= 1.0;
        if is_allowed {
            self.left -= 1.0;
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_looked_at_again_within_five_minutes_and_an_hour() {
        let seconds = Duration::from_secs;
        for (max_age, longest) in [
            (None, 3600),
            (Some(0), 300),
            (Some(900), 900),
            (Some(86_400), 3600),
        ] {
            let max_age = max_age.map(seconds);
            assert_eq!(refresh_after(max_age, 0.0), seconds(longest));
            assert!(refresh_after(max_age, 0.999) >= seconds(longest).mul_f64(0.9));
        }
    }

    #[test]
    fn failures_are_followed_by_longer_waits_up_to_a_minute() {
        let waits: Vec<u64> = (0..9).map(|n| retry_after(n, 0.0).as_secs()).collect();
        assert_eq!(waits, [1, 1, 2, 5, 10, 30, 60, 60, 60]);
    }

    #[test]
    fn a_flood_of_unknown_keys_causes_three_fetches_and_then_one_each_half_minute() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let taken = |allowance: &mut Allowance, seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            (0..1000).filter(|_| allowance.take(now)).count()
        };
        assert_eq!(taken(&mut allowance, 0), 3);
        assert_eq!(taken(&mut allowance, 29), 0);
        assert_eq!(taken(&mut allowance, 30), 1);
        assert_eq!(taken(&mut allowance, 3600), 3);
        // A clock that goes back earns nothing and breaks nothing.
        assert!(!allowance.take(start));
    }
}
