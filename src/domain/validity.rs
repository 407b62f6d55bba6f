//! How long a certificate holds, and what an operator should hear of it.

use std::time::{Duration, SystemTime};

/// The time a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from: SystemTime,
    pub until: SystemTime,
}

/// How a certificate stands at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateStanding {
    NotYet,
    Good,
    /// Whatever renews it should have done so by now.
    EndsSoon {
        left: Duration,
    },
    Ended,
}

/// A certificate with less time left than this should have been renewed, however long it is for.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

impl Validity {
    /// Short-lived certificates are renewed late: for them the last fifth of their time is soon.
    pub fn standing(&self, now: SystemTime) -> CertificateStanding {
        if now < self.from {
            return CertificateStanding::NotYet;
        }
        let Ok(left) = self.until.duration_since(now) else {
            return CertificateStanding::Ended;
        };
        let whole = self.until.duration_since(self.from).unwrap_or_default();
        if left < SOON.min(whole / 5) {
            CertificateStanding::EndsSoon { left }
        } else {
            CertificateStanding::Good
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn of(hours: u32) -> (SystemTime, Validity) {
        let from = SystemTime::UNIX_EPOCH + 1000 * HOUR;
        let until = from + hours * HOUR;
        (from, Validity { from, until })
    }

    #[test]
    fn a_certificate_of_three_months_ends_soon_two_weeks_before_its_end() {
        let (from, year) = of(90 * 24);
        for (hours, standing) in [
            (0, CertificateStanding::Good),
            (75 * 24, CertificateStanding::Good),
            (
                77 * 24,
                CertificateStanding::EndsSoon {
                    left: 13 * 24 * HOUR,
                },
            ),
            (
                90 * 24,
                CertificateStanding::EndsSoon {
                    left: Duration::ZERO,
                },
            ),
            (90 * 24 + 1, CertificateStanding::Ended),
        ] {
            assert_eq!(year.standing(from + hours * HOUR), standing, "{hours}");
        }
        assert_eq!(year.standing(from - HOUR), CertificateStanding::NotYet);
    }

    #[test]
    fn one_of_a_day_ends_soon_in_its_last_fifth() {
        let (from, day) = of(24);
        assert_eq!(day.standing(from + 19 * HOUR), CertificateStanding::Good);
        assert_eq!(
            day.standing(from + 20 * HOUR),
            CertificateStanding::EndsSoon { left: 4 * HOUR }
        );
    }
}
