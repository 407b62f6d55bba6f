//! Waits that nobody can mean: however one is told, the gateway comes back by itself, and clients can keep what they hear.

use crate::{
    conformance::{
        fixture::{OutcomeFixture, cases},
        row::{ForDeployment::Nothing, ForRequest::Next, Row, Shape},
        rows::{LONGEST_PAUSE, row},
    },
    harness::{Harness, error_of, status},
};

const ABSURD: [&str; 12] = [
    "99999999999999999999",
    "1e400",
    "1e19",
    "-1e9",
    "NaN",
    "inf",
    "0x10",
    "",
    "1,5",
    " 7 7 ",
    "9223372036854775808",
    "Fri, 31 Dec 9999 23:59:59 GMT",
];

#[tokio::test]
async fn no_wait_is_longer_than_the_longest_pause() {
    let mut rows = Vec::new();
    for code in [429, 503] {
        for name in ["retry-after", "retry-after-ms", "x-ratelimit-reset-tokens"] {
            rows.extend(ABSURD.map(|wait| Row {
                shapes: &[Shape::Chat],
                ..row(
                    format!("{code} {name}: {wait}"),
                    status(code, &[(name, wait)]),
                    Next,
                    "",
                    Nothing,
                )
            }));
        }
    }
    let cases = cases(&rows);
    let fixture = OutcomeFixture::open(&cases).await;
    for case in &cases {
        let told = fixture.play(case).await.told.unwrap();
        let name = &case.row.deployment;
        assert_eq!(
            (told.status, fixture.asked("second", case)),
            (200, 1),
            "{name}: {told:?}"
        );
    }
    for (model, state) in fixture.states().await {
        let wait = state["retry_in_seconds"].as_f64().unwrap_or_default();
        assert!((0.0..=LONGEST_PAUSE).contains(&wait), "{model}: {state}");
    }
}

#[tokio::test]
async fn a_client_never_hears_of_a_wait_that_ends_its_own_retries() {
    for wait in ["86400", "99999999999999999999", "0"] {
        let harness = Harness::open(&[("only", 1, 1)]).await;
        harness.fault("only", status(429, &[("retry-after", wait)]));
        let response = harness.chat().await;
        let number = |name: &str| -> u64 {
            let value = response.headers()[name].to_str().unwrap();
            value.parse().unwrap()
        };
        let (seconds, milliseconds) = (number("retry-after"), number("retry-after-ms"));
        assert!(milliseconds > 900, "{wait}: {milliseconds}");
        assert!((1..=120).contains(&seconds), "{wait}: {seconds}");
        assert!(
            (1..=120_000).contains(&milliseconds),
            "{wait}: {milliseconds}"
        );
        error_of(response, 429, "429").await;
    }
}

/// Its own retries would be over within a tenth of a second.
#[tokio::test]
async fn a_client_is_not_sent_back_at_once_where_no_time_was_named() {
    let none_left = [
        ("x-ratelimit-limit-tokens", "-1"),
        ("x-ratelimit-remaining-tokens", "-1"),
        ("x-ratelimit-reset-tokens", "0"),
    ];
    for (more, seconds) in [("", 10), ("breaker: { unsaid_pause: 3s }", 3)] {
        let harness = Harness::open_with(&[("only", 1, 1)], more).await;
        harness.fault("only", status(429, &none_left));
        let response = harness.chat().await;
        assert_eq!(response.headers()["retry-after"], seconds.to_string());
        error_of(response, 429, "429").await;
    }
}
