//! How many retries a pool's requests may waste, so that a failure of all deployments does not multiply the load.
//!
//! Only moves that did not help are counted: a second or later attempt that itself ended in a fault. So a move that helps
//! costs nothing, and while one deployment serves, the breakers keep the others' faults few. Moves after a 429 cost a
//! deployment nothing, and are neither counted nor asked for here.
//!
//! All clients together have twice what one may spend, and a client no more than what leaves as much again to others:
//! one whose requests fail everywhere can't take the retries of those whose don't.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::name::ClientName;

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
    /// What clients wasted: those that did so in this window.
    clients: Vec<(Option<ClientName>, [u32; STEPS])>,
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

    /// Counts an attempt of this client's that was not its request's first, and ended in a fault.
    pub fn note_wasted(&self, client: Option<&ClientName>, now: Instant) {
        self.count(now, |counts| &mut counts.wasted);
        let mut window = self.window.lock();
        let place = window.step as usize % STEPS;
        let wasted = &mut window.wasted_by(client)[place];
        *wasted = wasted.saturating_add(1);
    }

    /// Whether a request of this client's may make a further move after a fault.
    pub fn allows(&self, client: Option<&ClientName>, now: Instant) -> bool {
        let step = self.step(now);
        let mut window = self.window.lock();
        window.slide(step);
        let sum =
            |count: fn(&Counts) -> u32| window.counts.iter().map(count).map(f64::from).sum::<f64>();
        let each = self.share * sum(|counts| counts.requests) + self.floor;
        let all = sum(|counts| counts.wasted);
        let mut clients = window.clients.iter();
        let own = clients
            .find(|(name, _)| name.as_ref() == client)
            .map_or(0.0, |(_, wasted)| {
                wasted.iter().copied().map(f64::from).sum()
            });
        own + all < 2.0 * each
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
            let place = (step - back) as usize % STEPS;
            self.counts[place] = Counts::default();
            for (_, wasted) in &mut self.clients {
                wasted[place] = 0;
            }
        }
        if passed > 0 && !self.clients.is_empty() {
            self.clients
                .retain(|(_, wasted)| wasted.iter().any(|count| *count > 0));
        }
        self.step = self.step.max(step);
    }

    fn wasted_by(&mut self, client: Option<&ClientName>) -> &mut [u32; STEPS] {
        let place = self
            .clients
            .iter()
            .position(|(name, _)| name.as_ref() == client)
            .unwrap_or_else(|| {
                self.clients.push((client.cloned(), [0; STEPS]));
                self.clients.len() - 1
            });
        &mut self.clients[place].1
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
        while budget.allows(None, now) {
            budget.note_wasted(None, now);
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
    fn one_client_leaves_as_much_to_the_others_as_it_took() {
        let (budget, t) = (Budget::new(0.2, 10), Instant::now());
        let mut clients = ["one", "two", "three"].map(ClientName::from).into_iter();
        for expected in [100, 50, 25] {
            let client = clients.next();
            let mut wasted = 0;
            while budget.allows(client.as_ref(), t) {
                budget.note_wasted(client.as_ref(), t);
                wasted += 1;
            }
            assert_eq!(wasted, expected);
        }
        let later = t + secs(10);
        assert!(budget.allows(Some(&"one".into()), later));
        budget.note_request(later);
        assert!(budget.window.lock().clients.is_empty());
    }

    #[test]
    fn what_is_older_than_ten_seconds_counts_no_longer() {
        let (budget, t) = (Budget::new(0.2, 1), Instant::now());
        assert_eq!(wasted_until_refused(&budget, t), 10);
        assert!(!budget.allows(None, t + secs(9)));
        assert_eq!(wasted_until_refused(&budget, t + secs(10)), 10);
        assert!(!budget.allows(None, t + secs(19)));
        assert!(budget.allows(None, t + secs(3600)));
    }

    #[test]
    fn a_clock_read_late_counts_as_now() {
        let (budget, t) = (Budget::new(1.0, 0), Instant::now());
        budget.note_request(t);
        budget.note_request(t + secs(5));
        budget.note_wasted(None, t + secs(3));
        assert!(budget.allows(None, t + secs(5)));
        budget.note_wasted(None, t);
        assert!(!budget.allows(None, t + secs(5)));
        assert!(!budget.allows(None, t + secs(14)));
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
                if !budget.allows(None, now) {
                    break;
                }
                attempts += 1;
                budget.note_wasted(None, now);
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
