//! What the metrics page says after this and that.

mod bounded;

use std::time::Duration;

use super::*;
use crate::telemetry::record::{AnswerEnd, tests::record};

/// The value of the line that starts with `series`, where the page has one.
fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let page = String::from_utf8(metrics.render()).unwrap();
    let line = page
        .lines()
        .find_map(|l| l.strip_prefix(series)?.strip_prefix(' '))?;
    line.parse().ok()
}

const EAST: &str = r#"{deployment="gpt-4o",instance="east",model="gpt-4o"}"#;

fn east(metrics: &Metrics) -> Arc<DeploymentMetrics> {
    metrics.deployment(&"gpt-4o".into(), &"east".into(), &"gpt-4o".into())
}

#[test]
fn a_request_that_failed_over_is_counted_once_and_each_attempt_once() {
    let metrics = Metrics::new();
    metrics.account(&record());
    for series in [
        r#"forebay_requests_total{client="app",code="200",model="gpt-4o",operation="chat"}"#,
        r#"forebay_attempts_total{deployment="gpt-4o",instance="east",model="gpt-4o",outcome="throttled"}"#,
        r#"forebay_attempts_total{deployment="gpt-4o",instance="west",model="gpt-4o",outcome="served"}"#,
        r#"forebay_failovers_total{cause="throttled",deployment="gpt-4o",instance="east",model="gpt-4o"}"#,
        r#"forebay_request_duration_seconds_count{deployment="gpt-4o",instance="west",model="gpt-4o"}"#,
        r#"forebay_time_to_first_token_seconds_count{deployment="gpt-4o",instance="west",model="gpt-4o"}"#,
        r#"forebay_overhead_seconds_bucket{model="gpt-4o",le="0.00025"}"#,
    ] {
        assert_eq!(value(&metrics, series), Some(1.0), "{series}");
    }
    for (kind, number) in [("input", 30.0), ("cached", 10.0), ("output", 12.0)] {
        let labels = r#"client="app",deployment="gpt-4o",instance="west",model="gpt-4o""#;
        let series = format!(r#"forebay_tokens_total{{{labels},type="{kind}"}}"#);
        assert_eq!(value(&metrics, &series), Some(number), "{series}");
    }
    let page = String::from_utf8(metrics.render()).unwrap();
    assert!(!page.contains(r#"cause="served""#) && !page.contains("forebay_refusals_total{"));
}

#[test]
fn a_refused_stranger_is_counted_under_none_and_has_no_time() {
    let metrics = Metrics::new();
    let mut record = record();
    (record.client, record.model) = (None, None);
    (record.operation, record.refusal) = ("", Some("unknown_key"));
    (record.status, record.attempts) = (Some(401), Vec::new());
    metrics.account(&record);
    for series in [
        r#"forebay_requests_total{client="none",code="401",model="none",operation="other"}"#,
        r#"forebay_refusals_total{client="none",reason="unknown_key"}"#,
    ] {
        assert_eq!(value(&metrics, series), Some(1.0), "{series}");
    }
    let page = String::from_utf8(metrics.render()).unwrap();
    assert!(!page.contains("forebay_request_duration_seconds_count"));
}

#[test]
fn a_client_that_left_before_its_answer_is_counted_as_499() {
    let metrics = Metrics::new();
    let mut record = record();
    (record.status, record.end) = (None, AnswerEnd::ClientLeft);
    metrics.account(&record);
    let series =
        r#"forebay_requests_total{client="app",code="499",model="gpt-4o",operation="chat"}"#;
    assert_eq!(value(&metrics, series), Some(1.0));
}

#[test]
fn what_a_deployment_has_not_reported_is_not_there() {
    let metrics = Metrics::new();
    let east = east(&metrics);
    let utilization = format!("forebay_deployment_utilization_ratio{EAST}");
    assert_eq!(value(&metrics, &utilization), None);
    east.say_utilization(0.75);
    east.say_remaining_tokens(9000);
    east.say_remaining_requests(9);
    assert_eq!(value(&metrics, &utilization), Some(0.75));
    let tokens = format!("forebay_deployment_remaining_tokens{EAST}");
    assert_eq!(value(&metrics, &tokens), Some(9000.0));
}

#[test]
fn a_deployment_is_available_until_told_otherwise() {
    let metrics = Metrics::new();
    let east = east(&metrics);
    let available = format!("forebay_deployment_available{EAST}");
    let pause = format!("forebay_deployment_pause_seconds{EAST}");
    assert_eq!(value(&metrics, &available), Some(1.0));
    east.say_state(false, Duration::from_millis(2500));
    assert_eq!(value(&metrics, &available), Some(0.0));
    assert_eq!(value(&metrics, &pause), Some(2.5));
}

#[test]
fn what_is_under_way_is_counted_while_its_guard_lives() {
    let metrics = Metrics::new();
    let inflight = format!("forebay_deployment_inflight{EAST}");
    let guards = (metrics.enter(), east(&metrics).enter());
    assert_eq!(value(&metrics, "forebay_requests_inflight"), Some(1.0));
    assert_eq!(value(&metrics, &inflight), Some(1.0));
    drop(guards);
    assert_eq!(value(&metrics, "forebay_requests_inflight"), Some(0.0));
    assert_eq!(value(&metrics, &inflight), Some(0.0));
}

#[test]
fn an_identitys_failures_never_count_backwards() {
    let metrics = Metrics::new();
    let failures = r#"forebay_identity_failures_total{identity="vm"}"#;
    let expiry = r#"forebay_identity_token_expiry_timestamp_seconds{identity="vm"}"#;
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    metrics.identity(&"vm".into(), Some(end), 3);
    metrics.identity(&"vm".into(), Some(end), 2);
    assert_eq!(value(&metrics, failures), Some(3.0));
    assert_eq!(value(&metrics, expiry), Some(1_700_000_000.0));
    metrics.identity(&"vm".into(), None, 5);
    assert_eq!(value(&metrics, failures), Some(5.0));
    assert_eq!(value(&metrics, expiry), Some(0.0));
}

#[test]
fn only_the_config_in_force_is_shown() {
    let metrics = Metrics::new();
    metrics.config("aa");
    metrics.config("bb");
    assert_eq!(
        value(&metrics, r#"forebay_config_hash{hash="bb"}"#),
        Some(1.0)
    );
    assert_eq!(value(&metrics, r#"forebay_config_hash{hash="aa"}"#), None);
}

#[test]
fn every_name_has_a_help_text_and_a_fitting_end() {
    let metrics = Metrics::new();
    metrics.account(&record());
    for family in metrics.registry.gather() {
        let counts = family.get_field_type() == prometheus::proto::MetricType::COUNTER;
        assert_eq!(
            counts,
            family.name().ends_with("_total"),
            "{}",
            family.name()
        );
        assert!(!family.help().is_empty(), "{}", family.name());
    }
}
