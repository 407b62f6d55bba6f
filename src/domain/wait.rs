//! When to come back: a deployment's own word, wherever in an answer it stands (wire facts: Response headers,
//! Error bodies). What can't be read counts as not there, and the next source is asked.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

/// How the messages of 429s begin what they say of the time (wire facts: Error bodies), in lower case.
const PHRASES: [&str; 3] = ["retry after ", "try again in ", "wait "];
/// The two limits that Azure counts, as its headers name them; both spellings have been seen.
const LIMITS: [[[&str; 2]; 2]; 2] = [
    [
        [
            "x-ratelimit-remaining-requests",
            "x-rate-limit-remaining-requests",
        ],
        ["x-ratelimit-reset-requests", "x-rate-limit-reset-requests"],
    ],
    [
        [
            "x-ratelimit-remaining-tokens",
            "x-rate-limit-remaining-tokens",
        ],
        ["x-ratelimit-reset-tokens", "x-rate-limit-reset-tokens"],
    ],
];

/// How long a head asks to be left alone, by its own words for that: `retry-after-ms`, else `Retry-After` in seconds
/// or as a date. A date is counted from the answer's own `Date`, since clocks differ; from `now` where there is none.
/// One that has passed means no wait.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let milliseconds = text(headers, "retry-after-ms").and_then(|text| units(text, 1e-3));
    milliseconds.or_else(|| {
        let text = text(headers, "retry-after")?;
        units(text, 1.0).or_else(|| until(text, headers, now))
    })
}

/// How long the head of a 429 asks to wait: `retry-after-ms`, else `Retry-After`, else `x-ratelimit-reset-*`. A
/// `Retry-After` of no time at all counts where nothing else names a time.
pub fn after_throttle(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let said = retry_after(headers, now);
    match said {
        Some(wait) if !wait.is_zero() => said,
        _ => reset(headers).or(said),
    }
}

/// The time that a message asks for, as in "Please retry after 7 seconds".
pub fn in_message(message: &str) -> Option<Duration> {
    let message = message.to_ascii_lowercase();
    let spans = |phrase: &&str| message.split(*phrase).skip(1).find_map(leading_span);
    PHRASES.iter().find_map(spans).map(|(wait, _)| wait)
}

fn until(date: &str, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let date = httpdate::parse_http_date(date).ok()?;
    let sent = text(headers, "date").and_then(|sent| httpdate::parse_http_date(sent).ok());
    Some(date.duration_since(sent.unwrap_or(now)).unwrap_or_default())
}

/// Until the limit that is used up is lifted; where none is known to be, until those are of which nobody knows. A reset
/// within no time says nothing in a 429.
fn reset(headers: &HeaderMap) -> Option<Duration> {
    let any = |names: [&str; 2]| names.into_iter().find_map(|name| text(headers, name));
    let limits = LIMITS.map(|[left, reset]| {
        let wait = any(reset).and_then(whole_span);
        let left: Option<i64> = any(left).and_then(|left| left.parse().ok());
        (left.map(|left| left <= 0), wait.filter(|it| !it.is_zero()))
    });
    let longest = |used_up: Option<bool>| {
        let such = limits.iter().filter(|(is, _)| *is == used_up);
        such.filter_map(|(_, wait)| *wait).max()
    };
    let some_is = limits.iter().any(|(used_up, _)| *used_up == Some(true));
    let known = longest(Some(true)).or_else(|| longest(None));
    // Azure also refuses what is larger than what is left.
    known.or_else(|| longest(Some(false)).filter(|_| !some_is))
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

/// Seconds, or a duration as OpenAI writes them: `7`, `7s`, `120ms`, `6m0s`, `1m30.5s`.
fn whole_span(text: &str) -> Option<Duration> {
    let (span, rest) = leading_span(text)?;
    rest.is_empty().then_some(span)
}

/// The span of time that a text begins with, and what follows it: a number and its unit, and more of them as long as the
/// units get smaller (`7m12s`, `1 minute and 5 seconds`). A number without a unit is one of seconds.
fn leading_span(text: &str) -> Option<(Duration, &str)> {
    let (number, mut rest) = number(text)?;
    let Some((mut unit, after)) = unit(rest) else {
        return Some((units(number, 1.0)?, rest));
    };
    let mut span = units(number, unit)?;
    rest = after;
    while let Some((part, smaller, after)) = smaller_part(rest, unit) {
        span = span.checked_add(part)?;
        (unit, rest) = (smaller, after);
    }
    Some((span, rest))
}

/// What a span goes on with.
fn smaller_part(text: &str, unit_before: f64) -> Option<(Duration, f64, &str)> {
    let trimmed = text.trim_start();
    let (number, rest) = number(trimmed.strip_prefix("and ").unwrap_or(trimmed))?;
    let (unit, rest) = unit(rest).filter(|(unit, _)| *unit < unit_before)?;
    Some((units(number, unit)?, unit, rest))
}

/// The digits that a text begins with; a full stop behind them ends its sentence.
fn number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let number = text[..end.unwrap_or(text.len())].trim_end_matches('.');
    (!number.is_empty()).then(|| (number, &text[number.len()..]))
}

/// The unit that a text begins with, in seconds.
fn unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphabetic());
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    let seconds = match word {
        "ns" => 1e-9,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
        "ms" => 1e-3,
        "s" | "sec" | "secs" => 1.0,
        "m" | "min" | "mins" => 60.0,
        "h" | "hr" | "hrs" => 3600.0,
        "d" => 86_400.0,
        _ if word.starts_with("milli") => 1e-3,
        _ if word.starts_with("second") => 1.0,
        _ if word.starts_with("minute") => 60.0,
        _ if word.starts_with("hour") => 3600.0,
        _ if word.starts_with("day") => 86_400.0,
        _ => return None,
    };
    Some((seconds, rest))
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
            (&[("x-rate-limit-reset-tokens", "55")], Some(55_000)),
            (
                &[
                    ("x-rate-limit-reset-tokens", "55"),
                    ("x-ratelimit-remaining-requests", "20"),
                    ("x-ratelimit-reset-requests", "99"),
                ],
                Some(55_000),
            ),
            (&[("x-ratelimit-reset-tokens", "1m30.951s")], Some(90_951)),
            (&[("x-ratelimit-reset-tokens", "12 parsecs")], None),
        ] {
            let wait = after_throttle(&headers(pairs), now).map(|wait| wait.as_millis());
            assert_eq!(wait, wait_ms, "{pairs:?}");
        }
    }

    #[test]
    fn a_reset_within_no_time_beside_a_limit_that_is_used_up_says_nothing() {
        for (pairs, wait_ms) in [
            (
                &[
                    ("x-ratelimit-remaining-tokens", "-1"),
                    ("x-ratelimit-reset-tokens", "0"),
                ][..],
                None,
            ),
            (&[("x-ratelimit-reset-tokens", "0s")], None),
            (
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "0"),
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "42"),
                ],
                Some(42_000),
            ),
            (
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "0"),
                    ("x-ratelimit-remaining-tokens", "900"),
                    ("x-ratelimit-reset-tokens", "42"),
                ],
                None,
            ),
            // The request was larger than what is left.
            (
                &[
                    ("x-ratelimit-remaining-tokens", "900"),
                    ("x-ratelimit-reset-tokens", "42"),
                ],
                Some(42_000),
            ),
            (
                &[("retry-after", "0"), ("x-ratelimit-reset-tokens", "42")],
                Some(42_000),
            ),
            (
                &[("retry-after", "0"), ("x-ratelimit-reset-tokens", "0")],
                Some(0),
            ),
        ] {
            let wait = after_throttle(&headers(pairs), SystemTime::UNIX_EPOCH);
            assert_eq!(wait.map(|it| it.as_millis()), wait_ms, "{pairs:?}");
        }
    }

    #[test]
    fn a_date_is_counted_from_the_answers_own_since_clocks_differ() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 07:00:00 GMT").unwrap();
        for (sent, back, wait_s) in [
            // An hour ahead of us, and an hour behind.
            (
                "Sun, 22 Nov 2026 08:00:00 GMT",
                "Sun, 22 Nov 2026 08:00:20 GMT",
                20,
            ),
            (
                "Sun, 22 Nov 2026 06:00:00 GMT",
                "Sun, 22 Nov 2026 06:00:20 GMT",
                20,
            ),
            (
                "Sun, 22 Nov 2026 06:00:00 GMT",
                "Sun, 22 Nov 2026 05:59:00 GMT",
                0,
            ),
            ("yesterday", "Sun, 22 Nov 2026 07:00:07 GMT", 7),
        ] {
            let head = headers(&[("date", sent), ("retry-after", back)]);
            let wait = retry_after(&head, now);
            assert_eq!(wait, Some(Duration::from_secs(wait_s)), "{sent} {back}");
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
            ("Please try again in 7m12s.", Some(432_000)),
            ("Please try again in 6m0s. Contact us", Some(360_000)),
            ("Please try again in 1h2m3.5s.", Some(3_723_500)),
            ("Please try again in 1 minute and 5 seconds.", Some(65_000)),
            ("Please try again in 500\u{b5}s.", Some(0)),
            ("Please retry after 7 seconds 3 times", Some(7000)),
            ("Please wait 5 before retrying", Some(5000)),
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
