//! How many retries a pool's requests may waste, so that a failure of all deployments does not multiply the load.
//!
//! Only moves that did not help are counted: a second or later attempt that itself ended in a fault. So a move that helps
//! costs nothing, and while one deployment serves, the breakers keep the others' faults few. Moves after a 429 cost a
//! deployment nothing, and are neither counted nor asked for here.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// The window slides by so long at a time.
const STEP: Duration = Duration::from_secs(1);
const STEPS: usize = 10;

/// A pool's allowance, measured over the last ten seconds.
#[derive(Debug)]
pub struct Budget {
    /// Wasted moves for each request.
    share: f64,
    /// Wasted moves in a window, however few requests there are.
    floor: f64,
    base: OnceLock<Instant>,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    /// The latest step that something was counted in.
    step: u64,
    counts: [Counts; STEPS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u32,
    wasted: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(0.2, 10)
    }
}

impl Budget {
    /// `share`: of the requests; `floor`: a second.
    pub fn new(share: f64, floor: u32) -> Self {
        Self {
            share,
            floor: f64::from(floor) * STEPS as f64,
            base: OnceLock::new(),
            window: Mutex::default(),
        }
    }

    /// Counts a request, once, before its first attempt.
    pub fn note_request(&self, now: Instant) {
        self.count(now, |counts| &mut counts.requests);
    }

    /// Counts an attempt that was not its request's first, and ended in a fault.
    pub fn note_wasted(&self, now: Instant) {
        self.count(now, |counts| &mut counts.wasted);
    }

    /// Whether a request may make a further move after a fault.
    pub fn allows(&self, now: Instant) -> bool {
        let step = self.step(now);
        let mut window = self.window.lock();
        window.slide(step);
        let sum =
            |count: fn(&Counts) -> u32| window.counts.iter().map(count).map(f64::from).sum::<f64>();
        sum(|counts| counts.wasted) < self.share * sum(|counts| counts.requests) + self.floor
    }

    fn count(&self, now: Instant, number: impl FnOnce(&mut Counts) -> &mut u32) {
        let step = self.step(now);
        let mut window = self.window.lock();
        window.slide(step);
        let place = window.step as usize % STEPS;
        let number = number(&mut window.counts[place]);
        *number = number.saturating_add(1);
    }

    fn step(&self, now: Instant) -> u64 {
        let base = *self.base.get_or_init(|| now);
        now.saturating_duration_since(base).as_secs() / STEP.as_secs()
    }
}

impl Window {
    /// Forgets what is older than the window. Threads read the clock apart, so a step may come late: it counts as the latest.
    fn slide(&mut self, step: u64) {
        let passed = step.saturating_sub(self.step).min(STEPS as u64);
        for back in 0..passed {
            self.counts[(step - back) as usize % STEPS] = Counts::default();
        }
        self.step = self.step.max(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn wasted_until_refused(budget: &Budget, now: Instant) -> u32 {
        let mut wasted = 0;
        while budget.allows(now) {
            budget.note_wasted(now);
            wasted += 1;
        }
        wasted
    }

    #[test]
    fn the_floor_and_a_share_of_the_requests_may_be_wasted() {
        let (budget, t) = (Budget::new(0.2, 10), Instant::now());
        for _ in 0..1000 {
            budget.note_request(t);
        }
        assert_eq!(wasted_until_refused(&budget, t), 100 + 200);
    }

    #[test]
    fn what_is_older_than_ten_seconds_counts_no_longer() {
        let (budget, t) = (Budget::new(0.2, 1), Instant::now());
        assert_eq!(wasted_until_refused(&budget, t), 10);
        assert!(!budget.allows(t + secs(9)));
        assert_eq!(wasted_until_refused(&budget, t + secs(10)), 10);
        assert!(!budget.allows(t + secs(19)));
        assert!(budget.allows(t + secs(3600)));
    }

    #[test]
    fn a_clock_read_late_counts_as_now() {
        let (budget, t) = (Budget::new(1.0, 0), Instant::now());
        budget.note_request(t);
        budget.note_request(t + secs(5));
        budget.note_wasted(t + secs(3));
        assert!(budget.allows(t + secs(5)));
        budget.note_wasted(t);
        assert!(!budget.allows(t + secs(5)));
        assert!(!budget.allows(t + secs(14)));
    }

    #[test]
    fn where_everything_fails_attempts_stay_near_requests() {
        let (budget, t) = (Budget::default(), Instant::now());
        let (mut requests, mut attempts) = (0_u32, 0_u32);
        for milliseconds in 0..600_000 {
            let now = t + Duration::from_millis(milliseconds);
            budget.note_request(now);
            (requests, attempts) = (requests + 1, attempts + 1);
            for _ in 1..4 {
                if !budget.allows(now) {
                    break;
                }
                attempts += 1;
                budget.note_wasted(now);
            }
        }
        // A share of 20 %, the floor of 10 a second, and what a window that slides by a tenth may be ahead.
        let most = f64::from(requests) * 1.2 + 600.0 * 10.0 + 500.0;
        assert!(f64::from(attempts) <= most, "{attempts} > {most}");
        assert!(
            f64::from(attempts) > f64::from(requests) * 1.19,
            "{attempts}"
        );
    }
}
