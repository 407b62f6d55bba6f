//! When to come back: a deployment's own word, wherever in an answer it stands (DESIGN.md 5; AZURE.md fact 3, sections
//! 4 and 6). What can't be read counts as not there, and the next source is asked.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

/// The wait after a 429 that names none (DESIGN.md 5).
pub const UNSAID: Duration = Duration::from_secs(10);

/// How the messages of 429s begin what they say of the time (AZURE.md 6), in lower case.
const PHRASES: [&str; 3] = ["retry after ", "try again in ", "wait "];
/// The two limits that Azure counts, as its headers name them.
const LIMITS: [[&str; 2]; 2] = [
    [
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    ],
    ["x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
];

/// How long a head asks to be left alone, by its own words for that: `retry-after-ms`, else `Retry-After` in seconds
/// or as a date. `now` is for dates; one that has passed means no wait.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let milliseconds = text(headers, "retry-after-ms").and_then(|text| units(text, 1e-3));
    milliseconds.or_else(|| {
        let text = text(headers, "retry-after")?;
        units(text, 1.0).or_else(|| {
            let date = httpdate::parse_http_date(text).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        })
    })
}

/// How long the head of a 429 asks to wait: `retry-after-ms`, else `Retry-After`, else `x-ratelimit-reset-*`.
pub fn after_throttle(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    retry_after(headers, now).or_else(|| reset(headers))
}

/// The seconds that a message asks for, as in "Please retry after 7 seconds".
pub fn in_message(message: &str) -> Option<Duration> {
    let message = message.to_ascii_lowercase();
    let spans = |phrase: &&str| message.split(*phrase).skip(1).find_map(leading_span);
    PHRASES.iter().find_map(spans)
}

/// Until the limit that is used up is lifted; where none is known to be, until both are.
fn reset(headers: &HeaderMap) -> Option<Duration> {
    let waits = LIMITS.map(|[left, reset]| {
        let wait = text(headers, reset).and_then(spans);
        (text(headers, left) == Some("0"), wait)
    });
    let used_up = waits.iter().filter(|(used_up, _)| *used_up);
    let longest = used_up.filter_map(|(_, wait)| *wait).max();
    longest.or_else(|| waits.iter().filter_map(|(_, wait)| *wait).max())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.trim())
}

/// A number that may have a fraction, of units of so many seconds.
fn units(text: &str, seconds: f64) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

/// Seconds, or a duration as OpenAI writes them: `7`, `7s`, `120ms`, `6m0s`.
fn spans(text: &str) -> Option<Duration> {
    units(text, 1.0).or_else(|| humantime::parse_duration(text).ok())
}

/// The number that a text begins with, of the unit that follows; of seconds if none does.
fn leading_span(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = unit.trim_start();
    let seconds = match () {
        () if unit.starts_with("ms") || unit.starts_with("milli") => 1e-3,
        () if unit.starts_with("min") => 60.0,
        () if unit.starts_with("hour") => 3600.0,
        () if unit.starts_with("day") => 86_400.0,
        () => 1.0,
    };
    units(number.trim_end_matches('.'), seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                name.parse().unwrap(),
                http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_heads_wait_is_milliseconds_then_seconds_then_a_date_then_the_limits_reset() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 07:00:00 GMT").unwrap();
        for (pairs, wait_ms) in [
            (
                &[("retry-after-ms", "1500"), ("retry-after", "7")][..],
                Some(1500),
            ),
            (&[("retry-after-ms", "1500.5")], Some(1500)),
            (
                &[("retry-after-ms", "soon"), ("retry-after", "7")],
                Some(7000),
            ),
            (
                &[("retry-after-ms", "-1"), ("retry-after", "7")],
                Some(7000),
            ),
            (&[("retry-after", "0.25")], Some(250)),
            (
                &[("retry-after", "Sun, 22 Nov 2026 07:00:09 GMT")],
                Some(9000),
            ),
            (
                &[("retry-after", "Sunday, 22-Nov-26 07:00:09 GMT")],
                Some(9000),
            ),
            (&[("retry-after", "Sun, 22 Nov 2026 06:00:00 GMT")], Some(0)),
            (&[("retry-after", "86400")], Some(86_400_000)),
            (&[("retry-after", "0")], Some(0)),
            (&[("retry-after", "-5")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "inf")], None),
            (&[("retry-after", "1e300")], None),
            (&[("retry-after", "\u{fffd}")], None),
            (
                &[("retry-after", "later"), ("x-ratelimit-reset-tokens", "12")],
                Some(12_000),
            ),
            (
                &[("retry-after", "3"), ("x-ratelimit-reset-tokens", "12")],
                Some(3000),
            ),
            (
                &[
                    ("x-ratelimit-reset-requests", "1s"),
                    ("x-ratelimit-reset-tokens", "6m0s"),
                ],
                Some(360_000),
            ),
            (&[("x-ratelimit-reset-requests", "120ms")], Some(120)),
            (
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "2"),
                    ("x-ratelimit-remaining-tokens", "900"),
                    ("x-ratelimit-reset-tokens", "50"),
                ],
                Some(2000),
            ),
            (&[("x-ratelimit-reset-tokens", "-3")], None),
            (&[], None),
        ] {
            let wait = after_throttle(&headers(pairs), now).map(|wait| wait.as_millis());
            assert_eq!(wait, wait_ms, "{pairs:?}");
        }
    }

    #[test]
    fn only_its_own_words_close_what_did_not_throttle() {
        let reset = headers(&[("x-ratelimit-reset-tokens", "12")]);
        assert_eq!(retry_after(&reset, SystemTime::UNIX_EPOCH), None);
    }

    #[test]
    fn a_message_may_say_the_wait_in_its_own_words() {
        for (message, wait_ms) in [
            (
                "… have exceeded token rate limit … Please retry after 7 seconds. Please go here …",
                Some(7000),
            ),
            (
                "Rate limit is exceeded. Try again in 33 seconds.",
                Some(33_000),
            ),
            (
                "Rate limit of 4 per 60s exceeded for UserByModelByMinute. Please wait 19 seconds before retrying.",
                Some(19_000),
            ),
            ("Please try again in 20ms.", Some(20)),
            ("Please try again in 1.5s.", Some(1500)),
            ("please retry after 1 day", Some(86_400_000)),
            (
                "Please wait a little, or retry after 2 minutes",
                Some(120_000),
            ),
            ("Please retry after", None),
            ("Please retry after some seconds", None),
            ("Please retry after 1.2.3 seconds", None),
            ("high demand", None),
        ] {
            let wait = in_message(message).map(|wait| wait.as_millis());
            assert_eq!(wait, wait_ms, "{message}");
        }
    }
}
