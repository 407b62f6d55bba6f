//! Hours, days and months as a calendar has them, in the zone that the operator names: a day there has 23 hours once a year.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use jiff::{RoundMode, Timestamp, ToSpan, Unit, Zoned, ZonedRound, tz::TimeZone};

use crate::domain::limit::Limit;

/// A length of time that tokens are counted over, from its calendar beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    Hour,
    Day,
    Month,
}

impl Period {
    /// The limit on its tokens.
    pub fn limit(self) -> Limit {
        match self {
            Self::Hour => Limit::TokensPerHour,
            Self::Day => Limit::TokensPerDay,
            Self::Month => Limit::TokensPerMonth,
        }
    }

    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    /// The word in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The period of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.as_str() == word)
    }
}

/// One hour, day or month: from, and to before. In seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: i64,
    pub end: i64,
}

/// The zone whose hours, days and months count.
#[derive(Clone, PartialEq, Eq)]
pub struct Calendar {
    zone: TimeZone,
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calendar({})", self.name())
    }
}

impl Default for Calendar {
    fn default() -> Self {
        Self {
            zone: TimeZone::UTC,
        }
    }
}

impl Calendar {
    /// The zone of this name, like `Europe/Berlin`; `None` if there is none.
    pub fn for_zone(name: &str) -> Option<Self> {
        let zone = TimeZone::get(name).ok()?;
        Some(Self { zone })
    }

    /// The zone's name.
    pub fn name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The period that `now`, in seconds since 1970, is in.
    pub fn span(&self, period: Period, now: i64) -> Span {
        self.span_in_zone(period, now).unwrap_or_else(|| {
            // Only beyond the years that a calendar knows.
            let length = match period {
                Period::Hour => 3600,
                Period::Day => 24 * 3600,
                Period::Month => 30 * 24 * 3600,
            };
            let start = now.div_euclid(length) * length;
            Span {
                start,
                end: start + length,
            }
        })
    }

    fn span_in_zone(&self, period: Period, now: i64) -> Option<Span> {
        let now = Timestamp::from_second(now)
            .ok()?
            .to_zoned(self.zone.clone());
        let (start, end): (Zoned, Zoned) = match period {
            Period::Hour => {
                let whole = ZonedRound::new()
                    .smallest(Unit::Hour)
                    .mode(RoundMode::Trunc);
                let start = now.round(whole).ok()?;
                let mut end = start.checked_add(1.hour()).ok()?;
                // On Lord Howe clocks go back by half an hour: that hour has ninety minutes.
                while end <= now {
                    end = end.checked_add(30.minutes()).ok()?;
                }
                (start, end)
            }
            Period::Day => (
                now.start_of_day().ok()?,
                now.tomorrow().ok()?.start_of_day().ok()?,
            ),
            Period::Month => {
                let first = now.first_of_month().ok()?;
                let next = first.checked_add(1.month()).ok()?;
                (first.start_of_day().ok()?, next.start_of_day().ok()?)
            }
        };
        let second = |time: &Zoned| time.timestamp().as_second();
        Some(Span {
            start: second(&start),
            end: second(&end),
        })
    }

    /// A time, in seconds since 1970, for people: RFC 3339, and the zone.
    pub fn say(&self, time: i64) -> String {
        match Timestamp::from_second(time) {
            Ok(time) => {
                let zoned = time.to_zoned(self.zone.clone());
                format!(
                    "{} ({})",
                    zoned.strftime("%Y-%m-%dT%H:%M:%S%:z"),
                    self.name()
                )
            }
            Err(_) => "the end of time".into(),
        }
    }
}

/// Seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// The time that is so many seconds after 1970.
pub(super) fn time(seconds: i64) -> SystemTime {
    let seconds = u64::try_from(seconds).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    fn span(zone: &str, period: Period, now: &str) -> Span {
        Calendar::for_zone(zone).unwrap().span(period, at(now))
    }

    fn from_to(start: &str, end: &str) -> Span {
        Span {
            start: at(start),
            end: at(end),
        }
    }

    #[test]
    fn periods_begin_where_the_zones_calendar_says() {
        for (zone, period, now, start, end) in [
            (
                "UTC",
                Period::Hour,
                "2026-11-22T16:59:59Z",
                "2026-11-22T16:00:00Z",
                "2026-11-22T17:00:00Z",
            ),
            (
                "Asia/Kolkata",
                Period::Hour,
                "2026-11-22T16:20:00Z",
                "2026-11-22T15:30:00Z",
                "2026-11-22T16:30:00Z",
            ),
            (
                "Europe/Berlin",
                Period::Day,
                "2026-11-22T23:30:00Z",
                "2026-11-22T23:00:00Z",
                "2026-11-23T23:00:00Z",
            ),
            (
                "Europe/Berlin",
                Period::Month,
                "2026-11-30T23:00:00Z",
                "2026-11-30T23:00:00Z",
                "2026-12-31T23:00:00Z",
            ),
            (
                "America/New_York",
                Period::Month,
                "2028-02-29T12:00:00Z",
                "2028-02-01T05:00:00Z",
                "2028-03-01T05:00:00Z",
            ),
        ] {
            assert_eq!(span(zone, period, now), from_to(start, end), "{zone} {now}");
        }
    }

    #[test]
    fn days_on_which_clocks_are_changed_are_as_long_as_they_are() {
        let hours = |span: Span| (span.end - span.start) / 3600;
        let berlin = |now| hours(span("Europe/Berlin", Period::Day, now));
        assert_eq!(berlin("2026-03-29T12:00:00Z"), 23);
        assert_eq!(berlin("2026-10-25T12:00:00Z"), 25);
        assert_eq!(berlin("2026-10-26T12:00:00Z"), 24);
        // Where it falls on midnight, the day begins at one.
        let cairo = span("Africa/Cairo", Period::Day, "2026-04-24T12:00:00Z");
        assert_eq!(hours(cairo), 23);
    }

    #[test]
    fn each_hour_of_a_night_with_two_of_the_same_name_is_its_own() {
        let berlin = |now| span("Europe/Berlin", Period::Hour, now);
        let first = from_to("2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z");
        let second = from_to("2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z");
        assert_eq!(berlin("2026-10-25T00:30:00Z"), first);
        assert_eq!(berlin("2026-10-25T01:30:00Z"), second);
    }

    #[test]
    fn every_moment_of_some_years_is_in_its_period() {
        for zone in [
            "UTC",
            "Europe/Berlin",
            "Australia/Lord_Howe",
            "Asia/Kathmandu",
            "America/Sao_Paulo",
        ] {
            let calendar = Calendar::for_zone(zone).unwrap();
            let mut now = at("2026-01-01T00:00:00Z");
            while now < at("2028-01-01T00:00:00Z") {
                for period in Period::ALL {
                    let span = calendar.span(period, now);
                    assert!(
                        span.start <= now && now < span.end,
                        "{zone} {period:?} {now}: {span:?}"
                    );
                    assert_eq!(calendar.span(period, span.start).start, span.start);
                }
                now += 1237;
            }
        }
    }

    #[test]
    fn a_time_is_said_with_its_offset_and_zone() {
        let berlin = Calendar::for_zone("Europe/Berlin").unwrap();
        let said = berlin.say(at("2026-12-01T00:00:00+01:00"));
        assert_eq!(said, "2026-12-01T00:00:00+01:00 (Europe/Berlin)");
        assert_eq!(
            Calendar::default().say(0),
            "1970-01-01T00:00:00+00:00 (UTC)"
        );
        assert!(Calendar::for_zone("Europe/Atlantis").is_none());
        // A clock gone mad still gets an answer.
        let _ = berlin.span(Period::Month, i64::MAX / 2);
    }
}
