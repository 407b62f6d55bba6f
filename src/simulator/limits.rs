//! What a deployment allows: Azure's two kinds of capacity, as decisions of the time they are asked at.
//!
//! A standard deployment counts tokens over a minute, by an estimate made at arrival that is never
//! corrected, and requests over one second and ten seconds, those included that it refuses (wire facts: Rate limits, Status codes). A provisioned one is a leaky bucket that is corrected when
//! the call ends. The clock comes in as an argument.

use std::time::{Duration, Instant};

use super::config::{Capacity, RequestWindows};

const MINUTE: Duration = Duration::from_secs(60);
/// Azure checks requests per minute over 1 and 10 s.
const SECOND: Duration = Duration::from_secs(1);
const TEN_SECONDS: Duration = Duration::from_secs(10);

/// Which of the limits said no; the 429's text names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Tokens,
    Calls,
}

/// What a deployment says of a request, and what its headers tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LimitState {
    Unlimited,
    Standard {
        limit_requests: u64,
        limit_tokens: u64,
        remaining_requests: u64,
        remaining_tokens: u64,
        reset_requests: Duration,
        reset_tokens: Duration,
    },
    /// Percent of the provisioned capacity in use, where that is told.
    Ptu {
        utilization: Option<f64>,
    },
}

/// A no, with the wait after which a yes is possible.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Throttled {
    pub(crate) limit: Limit,
    pub(crate) wait: Duration,
    pub(crate) limit_state: LimitState,
}

/// One deployment's capacity and what is used of it.
#[derive(Debug)]
pub(crate) enum Limiter {
    Unlimited,
    Standard(Counters),
    Ptu(Bucket),
}

impl Limiter {
    pub(crate) fn new(capacity: Capacity, now: Instant) -> Self {
        match capacity {
            Capacity::Unlimited => Self::Unlimited,
            Capacity::Standard {
                tokens_per_minute,
                requests_per_minute,
                request_windows,
                counts_refused,
            } => Self::Standard(Counters {
                tokens_per_minute,
                requests_per_minute,
                counts_refused,
                tokens: Window::new(MINUTE, now),
                requests: windows(request_windows)
                    .into_iter()
                    .map(|length| Window::new(length, now))
                    .collect(),
            }),
            Capacity::Ptu {
                tokens_per_minute,
                tells_utilization,
            } => Self::Ptu(Bucket {
                per_minute: tokens_per_minute,
                tells_utilization,
                level: 0.0,
                at: now,
            }),
        }
    }

    /// Whether a request of so many estimated tokens may come in now.
    pub(crate) fn admit(&mut self, estimate: u64, now: Instant) -> Result<LimitState, Throttled> {
        match self {
            Self::Unlimited => Ok(LimitState::Unlimited),
            Self::Standard(counters) => counters.admit(estimate, now),
            Self::Ptu(bucket) => bucket.admit(estimate, now),
        }
    }

    /// A request was refused for another reason than these limits.
    pub(crate) fn note_refused(&mut self, now: Instant) {
        if let Self::Standard(counters) = self {
            counters.roll(now);
            counters.note_refused();
        }
    }

    /// Corrects an admitted request's estimate by what it really took. Standard counters keep the estimate.
    pub(crate) fn settle(&mut self, estimate: u64, used: u64, now: Instant) {
        if let Self::Ptu(bucket) = self {
            bucket.leak(now);
            bucket.level = (bucket.level - estimate as f64 + used as f64).max(0.0);
        }
    }
}

/// A standard deployment's two counters.
#[derive(Debug)]
pub(crate) struct Counters {
    tokens_per_minute: u64,
    requests_per_minute: u64,
    counts_refused: bool,
    tokens: Window,
    /// The shortest first.
    requests: Vec<Window>,
}

fn windows(which: RequestWindows) -> Vec<Duration> {
    match which {
        RequestWindows::Both => vec![SECOND, TEN_SECONDS],
        RequestWindows::OneSecond => vec![SECOND],
        RequestWindows::TenSeconds => vec![TEN_SECONDS],
    }
}

/// What was used since `since`; starts over when its length has passed.
#[derive(Debug)]
struct Window {
    length: Duration,
    since: Instant,
    used: u64,
}

impl Window {
    fn new(length: Duration, since: Instant) -> Self {
        Self {
            length,
            since,
            used: 0,
        }
    }

    /// The share of requests per minute that falls to it, at least one.
    fn share(&self, per_minute: u64) -> u64 {
        (per_minute * self.length.as_secs() / MINUTE.as_secs()).max(1)
    }

    fn roll(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= self.length {
            (self.since, self.used) = (now, 0);
        }
    }

    fn ends_in(&self, now: Instant) -> Duration {
        (self.since + self.length).saturating_duration_since(now)
    }
}

impl Counters {
    fn roll(&mut self, now: Instant) {
        self.tokens.roll(now);
        self.requests.iter_mut().for_each(|window| window.roll(now));
    }

    fn note_refused(&mut self) {
        if self.counts_refused {
            self.requests.iter_mut().for_each(|window| window.used += 1);
        }
    }

    fn admit(&mut self, estimate: u64, now: Instant) -> Result<LimitState, Throttled> {
        self.roll(now);
        let per_minute = self.requests_per_minute;
        let full = |window: &&Window| window.used >= window.share(per_minute);
        // What has to pass before all of them have room.
        let full = self.requests.iter().rev().find(full);
        let no = match full.map(|window| window.ends_in(now)) {
            Some(wait) => Some((Limit::Calls, wait)),
            None if self.tokens.used + estimate > self.tokens_per_minute => {
                Some((Limit::Tokens, self.tokens.ends_in(now)))
            }
            None => None,
        };
        if let Some((limit, wait)) = no {
            self.note_refused();
            let limit_state = self.limit_state(now);
            return Err(Throttled {
                limit,
                wait,
                limit_state,
            });
        }
        self.tokens.used += estimate;
        self.requests.iter_mut().for_each(|window| window.used += 1);
        Ok(self.limit_state(now))
    }

    fn limit_state(&self, now: Instant) -> LimitState {
        let left = |window: &Window| {
            let share = window.share(self.requests_per_minute);
            share.saturating_sub(window.used)
        };
        let resets = self.requests.iter().map(|window| window.ends_in(now));
        LimitState::Standard {
            limit_requests: self.requests_per_minute,
            limit_tokens: self.tokens_per_minute,
            remaining_requests: self.requests.iter().map(left).min().unwrap_or_default(),
            remaining_tokens: self.tokens_per_minute.saturating_sub(self.tokens.used),
            reset_requests: resets.max().unwrap_or_default(),
            reset_tokens: self.tokens.ends_in(now),
        }
    }
}

/// A provisioned deployment's bucket: full, which is 100 %, at one minute's tokens.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_minute: u64,
    tells_utilization: bool,
    level: f64,
    at: Instant,
}

impl Bucket {
    fn leak(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level - passed * self.per_second()).max(0.0);
        self.at = self.at.max(now);
    }

    fn per_second(&self) -> f64 {
        self.per_minute as f64 / MINUTE.as_secs_f64()
    }

    fn utilization(&self) -> Option<f64> {
        let percent = self.level / self.per_minute.max(1) as f64 * 100.0;
        self.tells_utilization.then_some(percent)
    }

    /// Azure lets calls in until 100 % is reached, so that the last one may go over.
    fn admit(&mut self, estimate: u64, now: Instant) -> Result<LimitState, Throttled> {
        self.leak(now);
        let over = self.level - self.per_minute as f64;
        if over >= 0.0 {
            // A moment more than the exact time, so that coming back then is never too early.
            let wait = Duration::from_secs_f64(
                (over / self.per_second().max(f64::MIN_POSITIVE)).min(86_400.0),
            ) + Duration::from_millis(1);
            return Err(Throttled {
                limit: Limit::Tokens,
                wait,
                limit_state: LimitState::Ptu {
                    utilization: self.utilization(),
                },
            });
        }
        self.level += estimate as f64;
        Ok(LimitState::Ptu {
            utilization: self.utilization(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standard(tokens_per_minute: u64, requests_per_minute: u64, now: Instant) -> Limiter {
        Limiter::new(
            Capacity::Standard {
                tokens_per_minute,
                requests_per_minute,
                request_windows: RequestWindows::TenSeconds,
                counts_refused: true,
            },
            now,
        )
    }

    fn ptu(tokens_per_minute: u64, now: Instant) -> Limiter {
        let tells_utilization = true;
        Limiter::new(
            Capacity::Ptu {
                tokens_per_minute,
                tells_utilization,
            },
            now,
        )
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_minutes_tokens_are_given_once_a_minute() {
        let t = Instant::now();
        let mut limiter = standard(100, 600, t);
        assert!(limiter.admit(60, t).is_ok());
        let no = limiter.admit(60, t + secs(20)).unwrap_err();
        assert_eq!((no.limit, no.wait), (Limit::Tokens, secs(40)));
        assert!(limiter.admit(60, t + secs(60)).is_ok());
    }

    #[test]
    fn requests_are_counted_in_windows_of_ten_seconds() {
        let t = Instant::now();
        let mut limiter = standard(1_000_000, 12, t);
        assert!(limiter.admit(1, t).is_ok());
        assert!(limiter.admit(1, t + secs(1)).is_ok());
        let no = limiter.admit(1, t + secs(4)).unwrap_err();
        assert_eq!((no.limit, no.wait), (Limit::Calls, secs(6)));
        assert!(limiter.admit(1, t + secs(10)).is_ok());
    }

    /// By both windows; what is refused does not count.
    fn by_both(requests_per_minute: u64, now: Instant) -> Limiter {
        let capacity = Capacity::Standard {
            tokens_per_minute: 1_000,
            requests_per_minute,
            request_windows: RequestWindows::Both,
            counts_refused: false,
        };
        Limiter::new(capacity, now)
    }

    #[test]
    fn a_burst_within_a_second_is_refused_though_ten_have_room() {
        let t = Instant::now();
        let mut limiter = by_both(120, t);
        assert!(limiter.admit(1, t).is_ok() && limiter.admit(1, t).is_ok());
        let no = limiter.admit(1, t).unwrap_err();
        assert_eq!((no.limit, no.wait), (Limit::Calls, secs(1)));
        for second in 1..10 {
            assert!(limiter.admit(1, t + secs(second)).is_ok());
            assert!(limiter.admit(1, t + secs(second)).is_ok());
        }
        // Twenty of them fill the ten seconds, whose end is what counts then.
        let late = t + Duration::from_millis(9_500);
        let no = limiter.admit(1, late).unwrap_err();
        assert_eq!(no.wait, Duration::from_millis(500));
    }

    #[test]
    fn what_each_second_has_room_for_is_refused_where_ten_have_none() {
        let t = Instant::now();
        // A second's share is one at least, and ten seconds have two.
        let mut limiter = by_both(12, t);
        assert!(limiter.admit(1, t).is_ok() && limiter.admit(1, t + secs(1)).is_ok());
        let no = limiter.admit(1, t + secs(2)).unwrap_err();
        assert_eq!((no.limit, no.wait), (Limit::Calls, secs(8)));
        assert!(limiter.admit(1, t + secs(10)).is_ok());
    }

    #[test]
    fn a_refused_request_is_one_of_the_minutes_and_costs_no_tokens() {
        let t = Instant::now();
        let mut limiter = standard(100, 12, t);
        assert!(limiter.admit(101, t).is_err(), "more tokens than there are");
        limiter.note_refused(t);
        assert_eq!(limiter.admit(1, t).unwrap_err().limit, Limit::Calls);
        let mut limiter = standard(100, 600, t);
        assert!(limiter.admit(101, t).is_err());
        assert!(matches!(
            limiter.admit(100, t),
            Ok(LimitState::Standard {
                remaining_tokens: 0,
                ..
            })
        ));
    }

    #[test]
    fn a_standard_deployment_never_gives_an_estimate_back() {
        let t = Instant::now();
        let mut limiter = standard(100, 600, t);
        limiter.admit(100, t).unwrap();
        limiter.settle(100, 5, t);
        assert!(limiter.admit(1, t).is_err());
    }

    #[test]
    fn a_full_ptu_refuses_until_enough_has_leaked() {
        let t = Instant::now();
        let mut limiter = ptu(600, t); // leaks 10 a second
        assert!(
            limiter.admit(650, t).is_ok(),
            "the call that crosses 100 % still gets in"
        );
        let no = limiter.admit(1, t).unwrap_err();
        assert_eq!(no.wait, secs(5) + Duration::from_millis(1));
        assert!(limiter.admit(1, t + secs(4)).is_err());
        assert!(limiter.admit(1, t + no.wait).is_ok());
    }

    #[test]
    fn a_ptu_is_corrected_when_the_call_ends() {
        let t = Instant::now();
        let mut limiter = ptu(600, t);
        limiter.admit(600, t).unwrap();
        assert!(limiter.admit(1, t).is_err());
        limiter.settle(600, 60, t);
        assert_eq!(
            limiter.admit(60, t).unwrap(),
            LimitState::Ptu {
                utilization: Some(20.0)
            }
        );
    }

    #[test]
    fn leaking_is_continuous() {
        let t = Instant::now();
        let mut limiter = ptu(600, t);
        limiter.admit(300, t).unwrap();
        assert_eq!(
            limiter.admit(0, t + secs(15)).unwrap(),
            LimitState::Ptu {
                utilization: Some(25.0)
            }
        );
    }
}
