//! When to ask for a token: plain functions of what is known and a random draw in `0..1`.

use std::time::{Duration, Instant};

/// Long-lived tokens are renewed at least this long before their end.
const AHEAD: Duration = Duration::from_secs(300);

/// Nothing asks more often than this, however short a token lives.
const SOONEST: Duration = Duration::from_secs(1);

/// Nothing is left alone longer than this, however long it lives.
const LATEST: Duration = Duration::from_secs(24 * 3600);

/// The waits between tries after failures, as IMDS asks for them (wire facts: Tokens); the last one repeats.
const WAITS: [u64; 5] = [0, 2, 6, 14, 30];

/// No authority's word keeps us from trying for longer than this.
const LONGEST: Duration = Duration::from_secs(300);

/// Refused tokens are replaced at most this often: a missing role refuses every token there is.
const FORCED_APART: Duration = Duration::from_secs(10);

/// How long to use a token that lives for `left` before asking for the next: half to three quarters of it, and
/// for one that lives longer than ten minutes no later than five before its end.
///
/// The draw spreads gateways that started together, so that they don't ask together ever after.
pub(super) fn renew_after(left: Duration, draw: f64) -> Duration {
    let point = left.mul_f64(0.5 + 0.25 * draw);
    let latest = if left > 2 * AHEAD { left - AHEAD } else { left };
    point.min(latest).clamp(SOONEST, LATEST)
}

/// How long to wait after the `failures`-th failure in a row (from 1) before trying again.
///
/// `refused`: the authority understood and said no, so hurry is pointless. `asked`: the wait it asked for.
pub(super) fn retry_after(
    failures: u32,
    refused: bool,
    asked: Option<Duration>,
    draw: f64,
) -> Duration {
    let last = WAITS.len() - 1;
    let step = if refused {
        last
    } else {
        (failures.saturating_sub(1) as usize).min(last)
    };
    let wait = Duration::from_secs(WAITS[step]).max(asked.unwrap_or_default().min(LONGEST));
    wait + (wait / 4 + Duration::from_millis(250)).mul_f64(draw)
}

/// Whether a fresh token may be asked for ahead of its time at `now`, when that was done before at `last`.
pub(super) fn may_force(last: Instant, now: Instant) -> bool {
    now.saturating_duration_since(last) >= FORCED_APART
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: [f64; 4] = [0.0, 0.3, 0.7, 0.999];

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn a_token_is_renewed_in_the_third_quarter_of_its_life() {
        for (life, draw) in [5, 60, 3600, 86_400]
            .into_iter()
            .flat_map(|l| DRAWS.map(|d| (secs(l), d)))
        {
            let after = renew_after(life, draw);
            assert!(
                after >= life / 2 && after <= life * 3 / 4,
                "{life:?} {draw}"
            );
        }
    }

    #[test]
    fn a_long_token_is_renewed_five_minutes_before_its_end_at_the_latest() {
        for draw in DRAWS {
            assert!(renew_after(secs(660), draw) <= secs(360));
        }
    }

    #[test]
    fn a_token_about_to_end_is_not_asked_for_in_a_tight_loop() {
        assert_eq!(renew_after(secs(0), 0.5), secs(1));
        assert_eq!(renew_after(Duration::from_millis(300), 0.5), secs(1));
    }

    #[test]
    fn a_token_that_lives_for_ever_is_renewed_daily() {
        assert_eq!(renew_after(Duration::MAX, 0.999), LATEST);
    }

    #[test]
    fn failures_are_tried_again_on_the_schedule_of_imds() {
        let waits = [1, 2, 3, 4, 5, 6, 100].map(|n| retry_after(n, false, None, 0.0));
        assert_eq!(waits, [0, 2, 6, 14, 30, 30, 30].map(secs));
        for draw in DRAWS {
            assert!(retry_after(1, false, None, draw) < Duration::from_millis(250));
            assert!(retry_after(5, false, None, draw) < secs(38));
        }
    }

    #[test]
    fn a_refusal_is_not_hurried() {
        assert_eq!(retry_after(1, true, None, 0.0), secs(30));
    }

    #[test]
    fn the_authoritys_own_wait_is_kept_within_reason() {
        let after = |asked| retry_after(1, false, Some(secs(asked)), 0.0);
        assert_eq!([after(9), after(86_400)], [secs(9), LONGEST]);
    }

    #[test]
    fn a_fresh_token_is_forced_once_in_ten_seconds() {
        let t = Instant::now();
        assert!(!may_force(t, t + secs(9)) && may_force(t, t + secs(10)));
    }
}
