//! `otlp:`: where telemetry is sent.

use std::time::Duration;

use super::{
    instances::{authorities, endpoint},
    settings::span,
};
use crate::{
    config::{
        problem::Placed,
        raw,
        read::{List, Named, Reader},
        value::{HiddenHeader, Word},
    },
    domain::{
        collector::{self, Collector, Protocol},
        secret::Secret,
        trace::Sampling,
    },
};

pub(super) fn otlp(raw: raw::Otlp, reader: &mut Reader<'_>) -> Option<Collector> {
    let protocol = raw.protocol.map_or(Protocol::Grpc, Protocol::from);
    let insecure = raw.insecure_http.unwrap_or(false);
    let endpoint = raw.endpoint.0.and_then(|url| {
        if protocol == Protocol::Grpc && !url.value.0.base_path().is_empty() {
            let message = "gRPC has no path; remove it, or add protocol: http";
            reader.problem(url.place, message);
        }
        endpoint(url, insecure, None, reader)
    });
    let headers = headers(raw.headers, reader);
    let ca = authorities(raw.ca, reader);
    let mut interval = Duration::from_secs(60);
    span(
        raw.metrics.and_then(|it| it.interval),
        &mut interval,
        reader,
    );
    let sample = raw.traces.and_then(|traces| traces.sample);
    let sampling = Sampling::from_share(sample.map_or(1.0, |sample| sample.0));
    let (traces, metrics) = signals(raw.signals, reader);
    Some(Collector {
        endpoint: endpoint?,
        protocol,
        headers,
        ca,
        traces: traces.then_some(sampling),
        metrics: metrics.then_some(interval),
        resource: resource(raw.resource),
    })
}

fn headers(
    raw: Option<Named<HiddenHeader>>,
    reader: &mut Reader<'_>,
) -> Vec<(http::HeaderName, Secret)> {
    let mut headers: Vec<(http::HeaderName, Secret)> = Vec::new();
    for (name, value) in raw.into_iter().flat_map(|raw| raw.0) {
        let Some(header) = reader.take(name.place, collector::header(&name.value)) else {
            continue;
        };
        if headers.iter().any(|(other, _)| *other == header) {
            reader.problem(
                name.place,
                "this header is listed twice; remove one of the two",
            );
        }
        headers.extend(value.map(|value| (header, value.0)));
    }
    headers
}

/// Whether traces and metrics are sent.
fn signals(raw: Option<Placed<List<raw::OtlpSignal>>>, reader: &mut Reader<'_>) -> (bool, bool) {
    let Some(raw) = raw else {
        return (true, true);
    };
    let (mut traces, mut metrics) = (false, false);
    for signal in raw.items("list a signal, or remove `otlp`", reader) {
        match signal {
            raw::OtlpSignal::Traces => traces = true,
            raw::OtlpSignal::Metrics => metrics = true,
        }
    }
    (traces, metrics)
}

fn resource(raw: Option<Named<Word>>) -> Vec<(String, String)> {
    let named = raw.into_iter().flat_map(|raw| raw.0);
    named
        .filter_map(|(name, value)| Some((name.value, value?.0)))
        .collect()
}
