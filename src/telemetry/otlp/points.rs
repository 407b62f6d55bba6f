//! What the gateway counts, in the protocol's own shape: the page at `/metrics` with its names and labels, and the
//! `gen_ai.*` metrics. All of it adds up since the gateway's start, so that one that is lost costs nothing.
//!
//! Made by hand: the SDK's metrics (`metrics::data`) can be filled by its own instruments alone.

use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry_proto::{
    tonic::{
        common::v1::KeyValue as Attribute,
        metrics::v1::{
            AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
            Sum, metric::Data, number_data_point::Value,
        },
    },
    transform::common::tonic::Attributes,
};
use prometheus::proto::{self, LabelPair, MetricFamily, MetricType};

use super::{gen_ai, spans::nanos};

/// Since when is counted, and when it was looked at.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) since: SystemTime,
    pub(super) now: SystemTime,
}

/// The metrics of Prometheus' page.
pub(super) fn of_page(families: &[MetricFamily], times: Times) -> Vec<Metric> {
    let metric = |family: &MetricFamily| {
        let (name, unit) = (family.name(), unit(family.name()));
        metric(family, (name, unit), times, |label| {
            Some(KeyValue::new(
                label.name().to_owned(),
                label.value().to_owned(),
            ))
        })
    };
    families.iter().filter_map(metric).collect()
}

/// The conventions' metrics.
pub(super) fn of_gen_ai(families: &[MetricFamily], times: Times) -> Vec<Metric> {
    let attribute = |label: &LabelPair| match (gen_ai::name(label.name()), label.value()) {
        (_, "") => None,
        (name @ "server.port", port) => Some(KeyValue::new(name, port.parse().unwrap_or(0i64))),
        (name, value) => Some(KeyValue::new(name, value.to_owned())),
    };
    let metric = |family: &MetricFamily| {
        let name = gen_ai::name(family.name());
        let unit = if name.contains("token") {
            "{token}"
        } else {
            "s"
        };
        metric(family, (name, unit), times, attribute)
    };
    families.iter().filter_map(metric).collect()
}

fn metric(
    family: &MetricFamily,
    (name, unit): (&str, &str),
    times: Times,
    attribute: impl Fn(&LabelPair) -> Option<KeyValue>,
) -> Option<Metric> {
    let attributes =
        |it: &proto::Metric| Attributes::from(it.get_label().iter().filter_map(&attribute)).0;
    let number = |metric: &proto::Metric, value: f64| NumberDataPoint {
        attributes: attributes(metric),
        start_time_unix_nano: nanos(times.since),
        time_unix_nano: nanos(times.now),
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let all = family.get_metric().iter();
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: all
                .map(|it| number(it, it.get_counter().get_value()))
                .collect(),
            aggregation_temporality,
            is_monotonic: true,
        }),
        MetricType::GAUGE => Data::Gauge(Gauge {
            data_points: all
                .map(|it| number(it, it.get_gauge().get_value()))
                .collect(),
        }),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: all.map(|it| histogram(it, attributes(it), times)).collect(),
            aggregation_temporality,
        }),
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    Some(Metric {
        name: name.to_owned(),
        description: family.help().to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

/// Prometheus adds the buckets up from the lowest, OpenTelemetry doesn't, and has one more for what is above them all.
fn histogram(
    metric: &proto::Metric,
    attributes: Vec<Attribute>,
    times: Times,
) -> HistogramDataPoint {
    let histogram = metric.get_histogram();
    let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
    let buckets = histogram.get_bucket().iter();
    for bucket in buckets.filter(|bucket| bucket.upper_bound().is_finite()) {
        bounds.push(bucket.upper_bound());
        counts.push(bucket.cumulative_count().saturating_sub(below));
        below = bucket.cumulative_count();
    }
    // Counted while others were being read, there may be fewer in all than in the buckets.
    let count = histogram.get_sample_count().max(below);
    counts.push(count - below);
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: nanos(times.since),
        time_unix_nano: nanos(times.now),
        count,
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: counts,
        explicit_bounds: bounds,
        ..HistogramDataPoint::default()
    }
}

/// By Prometheus' way of naming.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        Some("ratio") => "1",
        Some("tokens") => "{token}",
        _ => "",
    }
}
