//! How long an answer takes and how long it is: draws from log-normal distributions.
//!
//! Chance comes in as an argument, so the same seed gives the same waits.

use std::{f64::consts::TAU, time::Duration};

use super::config::{self, Pause, Spread};

/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874;

/// A log-normal distribution; one whose median is zero is always zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogNormal {
    median: f64,
    sigma: f64,
}

impl LogNormal {
    pub(crate) const ZERO: Self = Self {
        median: 0.0,
        sigma: 0.0,
    };

    pub(crate) fn new(median: f64, p99: f64) -> Self {
        let sigma = if median > 0.0 && p99 > median {
            (p99 / median).ln() / Z99
        } else {
            0.0
        };
        Self {
            median: median.max(0.0),
            sigma,
        }
    }

    pub(crate) fn is_zero(self) -> bool {
        self.median == 0.0
    }

    pub(crate) fn draw(self, rng: &mut fastrand::Rng) -> f64 {
        if self.sigma == 0.0 {
            return self.median;
        }
        // Box-Muller; 1 - u keeps the logarithm's argument above zero.
        let normal = (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (TAU * rng.f64()).cos();
        self.median * (self.sigma * normal).exp()
    }
}

impl From<Spread<f64>> for LogNormal {
    fn from(spread: Spread<f64>) -> Self {
        Self::new(spread.median, spread.p99.unwrap_or(spread.median))
    }
}

impl From<Spread<Pause>> for LogNormal {
    /// In seconds.
    fn from(spread: Spread<Pause>) -> Self {
        let p99 = spread.p99.unwrap_or(spread.median);
        Self::new(spread.median.0.as_secs_f64(), p99.0.as_secs_f64())
    }
}

/// The rhythm in which a deployment's tokens come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenTiming {
    first: LogNormal,
    between: LogNormal,
}

impl TokenTiming {
    /// No wait at all.
    pub(crate) const NONE: Self = Self {
        first: LogNormal::ZERO,
        between: LogNormal::ZERO,
    };

    pub(crate) fn new(latency: &config::Latency) -> Self {
        let read = |spread: Option<Spread<Pause>>| spread.map_or(LogNormal::ZERO, LogNormal::from);
        Self {
            first: read(latency.first_token),
            between: read(latency.between_tokens),
        }
    }

    /// The wait before the token of that number, counted from 0.
    pub(crate) fn before(self, token: u64, rng: &mut fastrand::Rng) -> Duration {
        seconds(if token == 0 {
            self.first.draw(rng)
        } else {
            self.between.draw(rng)
        })
    }

    /// The wait for a whole answer of so many tokens.
    pub(crate) fn whole(self, tokens: u64, rng: &mut fastrand::Rng) -> Duration {
        let mut total = self.first.draw(rng);
        if !self.between.is_zero() {
            total += (1..tokens).map(|_| self.between.draw(rng)).sum::<f64>();
        }
        seconds(total)
    }
}

/// An hour is longer than any test waits, and keeps a wild draw from overflowing.
fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, 3600.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_draws_are_below_the_median_and_one_in_a_hundred_above_p99() {
        let (spread, mut rng) = (LogNormal::new(0.3, 1.0), fastrand::Rng::with_seed(7));
        let mut draws: Vec<f64> = (0..20_000).map(|_| spread.draw(&mut rng)).collect();
        draws.sort_by(f64::total_cmp);
        assert!(
            (draws[10_000] - 0.3).abs() < 0.01,
            "median {}",
            draws[10_000]
        );
        assert!((draws[19_800] - 1.0).abs() < 0.08, "p99 {}", draws[19_800]);
    }

    #[test]
    fn no_latency_is_no_wait_at_all() {
        let timing = TokenTiming::new(&config::Latency::default());
        assert_eq!(
            timing.whole(500, &mut fastrand::Rng::with_seed(1)),
            Duration::ZERO
        );
    }

    #[test]
    fn the_same_seed_draws_the_same_waits() {
        let spread = LogNormal::new(0.02, 0.06);
        let draw = || spread.draw(&mut fastrand::Rng::with_seed(3));
        assert_eq!(draw(), draw());
    }
}
