//! A finished request as spans: one of the request, below it one of each attempt.
//!
//! Names and values are those of OpenTelemetry's conventions for HTTP and for generative AI (`gen_ai.*`), as of
//! autumn 2026; what they have no word for is `forebay.*`. Tokens stand at the request alone, so that adding them up
//! over spans counts them once.

use std::time::{Duration, SystemTime};

use http::Version;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span::SpanKind, status::StatusCode};

use super::{attributes::Attributes, gen_ai, places::Places};
use crate::{
    domain::{trace::Trace, usage::Usage},
    telemetry::record::{AnswerEnd, AttemptRecord, Record},
};

/// In a span's flags beside those of `traceparent`: whether its parent was somewhere else is known, and so it is.
const PARENT_IS_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;

/// All spans of a request, its own first. None where its trace isn't kept.
pub(super) fn spans(record: &Record, places: &Places) -> Vec<Span> {
    let Some(trace) = record.trace.as_deref().filter(|trace| trace.is_sampled()) else {
        return Vec::new();
    };
    let mut spans = vec![of_request(record, trace, places)];
    let attempts = record.attempts.iter().enumerate();
    spans.extend(attempts.filter_map(|(i, _)| of_attempt(record, i, trace, places)));
    spans
}

fn of_request(record: &Record, trace: &Trace, places: &Places) -> Span {
    let operation = gen_ai::operation(record.operation);
    let model = record.model.as_ref().map(|model| model.as_str());
    let mut about = Attributes::default();
    about
        .some_text(
            "http.request.method",
            record
                .method
                .as_ref()
                .map(|_| method(record).unwrap_or("_OTHER")),
        )
        .some_text("url.path", record.path.as_deref())
        .text("network.protocol.version", version(record.version))
        .some_text(
            "client.address",
            record.client_address.map(|it| it.to_string()),
        )
        .text("forebay.request_id", &*record.request_id)
        .some_text(
            "forebay.client",
            record.client.as_ref().map(|it| it.as_str()),
        )
        .some_text("forebay.refusal", record.refusal)
        .text("forebay.end", record.end.as_str());
    if let Some(status) = record.status {
        about.number("http.response.status_code", status);
    }
    if let Some(operation) = operation {
        about
            .text("gen_ai.operation.name", operation)
            .text("gen_ai.provider.name", gen_ai::provider(record, places))
            .some_text("gen_ai.request.model", model)
            .some_text("openai.api.type", gen_ai::api_type(record.operation));
    }
    if record.stream {
        about.flag("gen_ai.request.stream", true);
        if let Some(first) = record.time_to_first_byte {
            about.real("gen_ai.response.time_to_first_chunk", first.as_secs_f64());
        }
    }
    if let Some(usage) = &record.usage {
        tokens(usage, &mut about);
    }
    if let Some(last) = record.attempts.last() {
        about.text("forebay.instance", last.instance.as_str());
        about.text("forebay.deployment", last.deployment.as_str());
    }
    let error = error_of_request(record);
    about.some_text("error.type", error.as_deref());
    let name = match (operation, model) {
        (Some(operation), Some(model)) => format!("{operation} {model}"),
        (Some(operation), None) => operation.to_owned(),
        // Paths are the client's: there could be any number of them.
        (None, _) => method(record).unwrap_or("HTTP").to_owned(),
    };
    let parent = trace.parent.map_or_else(Vec::new, |it| it.bytes().to_vec());
    let remote = if parent.is_empty() {
        0
    } else {
        PARENT_IS_REMOTE
    };
    Span {
        parent_span_id: parent,
        flags: u32::from(trace.flags()) | PARENT_IS_KNOWN | remote,
        name,
        kind: SpanKind::Server.into(),
        attributes: about.0,
        status: error.map(|_| failed()),
        ..span(
            record,
            trace,
            trace.span.bytes(),
            (Duration::ZERO, record.duration),
        )
    }
}

/// The request's method, if it is one of HTTP's: any other word is the client's own, and there could be any number of them.
fn method(record: &Record) -> Option<&str> {
    let known = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    let said = record.method.as_ref()?.as_str();
    known.contains(&said).then_some(said)
}

/// The attempt of this number.
fn of_attempt(record: &Record, number: usize, trace: &Trace, places: &Places) -> Option<Span> {
    let attempt = record.attempts.get(number)?;
    let mut about = Attributes::default();
    let method = if record.status == Some(101) {
        "GET"
    } else {
        "POST"
    };
    about
        .text("http.request.method", method)
        .text("forebay.instance", attempt.instance.as_str())
        .text("forebay.deployment", attempt.deployment.as_str())
        .text("forebay.outcome", attempt.outcome)
        .some_text("forebay.spilled_to", attempt.spilled_to.as_deref());
    if let Some(place) = places.get(&attempt.instance) {
        about
            .text("server.address", &*place.host)
            .number("server.port", place.port)
            .text("gen_ai.provider.name", place.provider);
    }
    about
        .some_text("gen_ai.operation.name", gen_ai::operation(record.operation))
        .some_text(
            "gen_ai.request.model",
            record.model.as_ref().map(|it| it.as_str()),
        );
    if let Some(status) = attempt.status {
        about.number("http.response.status_code", status);
    }
    if number > 0 {
        about.number("http.request.resend_count", number as u64);
    }
    let error = error_of_attempt(attempt);
    about.some_text("error.type", error.as_deref());
    let is_last = number + 1 == record.attempts.len();
    let end = match is_last && record.refusal.is_none() {
        // Its answer is the request's.
        true => record.duration,
        false => attempt.began + attempt.took,
    };
    Some(Span {
        parent_span_id: trace.span.bytes().to_vec(),
        flags: u32::from(trace.flags()) | PARENT_IS_KNOWN,
        name: format!("attempt {}/{}", attempt.instance, attempt.deployment),
        kind: SpanKind::Client.into(),
        attributes: about.0,
        status: error.map(|_| failed()),
        ..span(record, trace, attempt.span?.bytes(), (attempt.began, end))
    })
}

/// What every span has. `times`: from the request's arrival to its start and its end.
fn span(record: &Record, trace: &Trace, id: &[u8; 8], times: (Duration, Duration)) -> Span {
    let state = trace.tracestate().and_then(|it| it.to_str().ok());
    Span {
        trace_id: trace.id.bytes().to_vec(),
        span_id: id.to_vec(),
        trace_state: state.unwrap_or_default().to_owned(),
        start_time_unix_nano: nanos(record.arrived + times.0),
        end_time_unix_nano: nanos(record.arrived + times.1.max(times.0)),
        ..Span::default()
    }
}

fn tokens(usage: &Usage, about: &mut Attributes) {
    about
        .number("gen_ai.usage.input_tokens", usage.input)
        .number("gen_ai.usage.output_tokens", usage.output);
    for (key, number) in [
        ("gen_ai.usage.cache_read.input_tokens", usage.cached),
        ("gen_ai.usage.audio.input_tokens", usage.audio_input),
        ("gen_ai.usage.reasoning.output_tokens", usage.reasoning),
        ("gen_ai.usage.audio.output_tokens", usage.audio_output),
    ] {
        if number > 0 {
            about.number(key, number);
        }
    }
    if usage.estimated {
        about.flag("forebay.usage.estimated", true);
    }
    about.some_text(
        "openai.response.service_tier",
        usage.tier.map(|tier| tier.as_str()),
    );
}

/// To a server a status below 500 is no error of its own (the conventions for HTTP).
fn error_of_request(record: &Record) -> Option<String> {
    match record.status {
        Some(status @ 500..) => Some(match record.refusal {
            Some(refusal) => refusal.to_owned(),
            None => status.to_string(),
        }),
        Some(_) if record.end == AnswerEnd::Broken => Some("broken".to_owned()),
        _ => None,
    }
}

/// To a client a status from 400 on is an error, and so is all that went wrong without one.
fn error_of_attempt(attempt: &AttemptRecord) -> Option<String> {
    match (attempt.status, attempt.outcome) {
        (Some(status @ 400..), _) => Some(status.to_string()),
        (_, "served" | "client_left") => None,
        (_, outcome) => Some(outcome.to_owned()),
    }
}

fn failed() -> Status {
    Status {
        code: StatusCode::Error.into(),
        ..Status::default()
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// Since 1970.
pub(super) fn nanos(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
