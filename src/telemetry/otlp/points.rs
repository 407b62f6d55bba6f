//! What the gateway counts, in the protocol's own shape: the page at `/metrics` with its names and labels, and the
//! `gen_ai.*` metrics. All of it adds up since the gateway's start, so that one that is lost costs nothing.

use std::time::SystemTime;

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
        metric::Data, number_data_point::Value,
    },
};
use prometheus::proto::{self, MetricFamily, MetricType};

use super::{attributes::Attributes, gen_ai::Named, spans::nanos};

/// Since when is counted, and when it was looked at.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) since: SystemTime,
    pub(super) now: SystemTime,
}

/// The metrics of Prometheus' page.
pub(super) fn of_page(families: &[MetricFamily], times: Times) -> Vec<Metric> {
    let metric = |family: &MetricFamily| {
        let attributes = |metric: &proto::Metric| {
            let mut about = Attributes::default();
            for label in metric.get_label() {
                about.text(label.name(), label.value());
            }
            about.0
        };
        Some(Metric {
            name: family.name().to_owned(),
            description: family.help().to_owned(),
            unit: unit(family.name()).to_owned(),
            data: Some(data(family, attributes, times)?),
            ..Metric::default()
        })
    };
    families.iter().filter_map(metric).collect()
}

/// The conventions' metrics.
pub(super) fn of_gen_ai(all: &[Named], times: Times) -> Vec<Metric> {
    let metric = |named: &Named| {
        let attributes = |metric: &proto::Metric| {
            let mut about = Attributes::default();
            for label in metric.get_label() {
                match (named.attribute(label.name()), label.value()) {
                    (_, "") => {}
                    (name @ "server.port", port) => {
                        about.number(name, port.parse().unwrap_or(0i64));
                    }
                    (name, value) => {
                        about.text(name, value);
                    }
                }
            }
            about.0
        };
        Some(Metric {
            name: named.name.to_owned(),
            description: named.family.help().to_owned(),
            unit: named.unit.to_owned(),
            data: Some(data(&named.family, attributes, times)?),
            ..Metric::default()
        })
    };
    all.iter().filter_map(metric).collect()
}

fn data(
    family: &MetricFamily,
    attributes: impl Fn(&proto::Metric) -> Vec<KeyValue>,
    times: Times,
) -> Option<Data> {
    let cumulative = AggregationTemporality::Cumulative.into();
    let number = |metric: &proto::Metric, value: f64| NumberDataPoint {
        attributes: attributes(metric),
        start_time_unix_nano: nanos(times.since),
        time_unix_nano: nanos(times.now),
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    let all = family.get_metric().iter();
    Some(match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: all
                .map(|it| number(it, it.get_counter().get_value()))
                .collect(),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        MetricType::GAUGE => Data::Gauge(Gauge {
            data_points: all
                .map(|it| number(it, it.get_gauge().get_value()))
                .collect(),
        }),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: all.map(|it| histogram(it, attributes(it), times)).collect(),
            aggregation_temporality: cumulative,
        }),
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    })
}

/// Prometheus adds the buckets up from the lowest, OpenTelemetry doesn't, and has one more for what is above them all.
fn histogram(
    metric: &proto::Metric,
    attributes: Vec<KeyValue>,
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
