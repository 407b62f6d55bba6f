//! Where a 429 has its wait: every source, and what is none.

use forebay::simulator::{FaultKind, Wording};

use super::{
    super::row::{Does, ForDeployment::Closed, ForRequest::Next, Row},
    LONGEST_PAUSE, closed, row,
};
use crate::harness::status;

/// A 429 with these headers.
fn told(headers: &[(&str, &str)], seconds: f64) -> Row {
    let says = |(name, value): &(&str, &str)| format!("`{name}: {value}`");
    let said: Vec<_> = headers.iter().map(says).collect();
    let deployment = match said.as_slice() {
        [] => "429 without a wait".to_owned(),
        said => format!("429, {}", said.join(" and ")),
    };
    row(
        deployment,
        status(429, headers),
        Next,
        "throttled",
        closed(seconds),
    )
}

/// Where a 429 has its wait, and what is no wait.
pub(super) fn waits() -> Vec<Row> {
    const MS: &str = "retry-after-ms";
    const AFTER: &str = "retry-after";
    const TOKENS: &str = "x-ratelimit-reset-tokens";
    let ahead = Row {
        does: Does::NamesDate(47),
        after: Closed {
            seconds: 47.0,
            off_by: 1.0,
        },
        ..named("429, `retry-after` a date 47 s ahead", told(&[], 47.0))
    };
    let full = told(&[(AFTER, "46"), ("x-ms-spillover-error", "429")], 46.0);
    vec![
        told(&[(MS, "45000")], 45.0),
        told(&[(AFTER, "46")], 46.0),
        told(&[(AFTER, "46.5")], 46.5),
        ahead,
        told(&[(MS, "45000"), (AFTER, "90")], 45.0),
        told(&[(TOKENS, "48")], 48.0),
        told(&[("x-ratelimit-reset-requests", "49")], 49.0),
        told(&[("x-rate-limit-reset-tokens", "53")], 53.0),
        told(&[(AFTER, "46"), (TOKENS, "90")], 46.0),
        named(
            "429, `retry-after: 46`, of a deployment whose own spillover is full too (as Azure told it before June 2026)",
            full,
        ),
        told(&[], 10.0),
        told(&[(AFTER, "0")], 0.0),
        told(&[(AFTER, "Sun, 06 Nov 1994 08:49:37 GMT")], 0.0),
        told(&[(AFTER, "-5")], 10.0),
        told(&[(AFTER, "soon")], 10.0),
        told(
            &[("x-ratelimit-remaining-tokens", "-1"), (TOKENS, "0")],
            10.0,
        ),
        told(&[(MS, "soon"), (AFTER, "46")], 46.0),
        told(&[(AFTER, "86400")], LONGEST_PAUSE),
    ]
}

fn named(deployment: &str, row: Row) -> Row {
    Row {
        deployment: deployment.to_owned(),
        ..row
    }
}

/// Each of Azure's wordings, without any header.
pub(super) fn words() -> Vec<Row> {
    let told = |message: &str, wording, seconds| {
        let fault = FaultKind::ThrottleInWords {
            wording,
            seconds: 50,
        };
        row(
            format!("429, \"{message}\""),
            fault,
            Next,
            "throttled",
            closed(seconds),
        )
    };
    vec![
        told(
            "… Please retry after 50 seconds. …",
            Wording::RetryAfter,
            50.0,
        ),
        told(
            "Rate limit is exceeded. Try again in 50 seconds.",
            Wording::TryAgain,
            50.0,
        ),
        told(
            "Your requests to … Please retry after 50 seconds. …",
            Wording::YourRequests,
            50.0,
        ),
        told(
            "Rate limit of 8000 per 60s exceeded … Please wait 50 seconds …",
            Wording::PleaseWait,
            50.0,
        ),
        told("… high demand …", Wording::HighDemand, 10.0),
    ]
}
