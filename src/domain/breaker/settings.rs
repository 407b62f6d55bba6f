//! When a deployment is left alone, for how long, and how it returns: plain arithmetic over the config's numbers.

use std::time::Duration;

/// `breaker:` in the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// So many faults among twice as many attempts, all within `window`, set a deployment aside.
    pub faults: u32,
    pub window: Duration,
    /// How long the first time; doubled each time that a trial fails.
    pub pause: Duration,
    /// The longest a deployment is left alone, whatever it said: then one trial asks again (conf/README.md: Cooldown).
    pub longest_pause: Duration,
    /// How long after a 429 that names no time.
    pub unsaid_pause: Duration,
    /// How long the share of a deployment that returned takes to grow to its whole.
    pub ramp: Duration,
}

/// How much of its share a deployment gets at the start of its ramp.
const FIRST_SHARE: f64 = 0.1;

impl Default for Settings {
    fn default() -> Self {
        Self {
            faults: 5,
            window: Duration::from_secs(30),
            pause: Duration::from_secs(10),
            longest_pause: Duration::from_secs(120),
            unsaid_pause: Duration::from_secs(10),
            ramp: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// The part of its share that a deployment gets so long after its return; 1 is all of it.
    pub(in crate::domain) fn share(&self, returned: Duration) -> f64 {
        if returned >= self.ramp {
            return 1.0;
        }
        FIRST_SHARE + (1.0 - FIRST_SHARE) * returned.as_secs_f64() / self.ramp.as_secs_f64()
    }

    /// The pause after so many failed trials, up to a tenth longer, so that many gateways don't return at once.
    pub(in crate::domain) fn pause(&self, failed_trials: u32, draw: u64) -> Duration {
        let doubled = 2_u32.saturating_pow(failed_trials);
        let pause = self.pause.saturating_mul(doubled).min(self.longest_pause);
        let part = draw as f64 / u64::MAX as f64;
        (pause + (pause / 10).mul_f64(part)).min(self.longest_pause)
    }
}
