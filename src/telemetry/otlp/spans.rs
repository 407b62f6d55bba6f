//! A finished request as spans: one of the request, below it one of each attempt.
//!
//! Names and values are those of OpenTelemetry's conventions for HTTP and for generative AI (`gen_ai.*`), as of
//! autumn 2026; what they have no word for is `forebay.*`. Tokens stand at the request alone, so that adding them up
//! over spans counts them once.

use std::time::{Duration, SystemTime};

use opentelemetry::{KeyValue, Value};
use opentelemetry_proto::{
    tonic::trace::v1::{Span, Status, span::SpanKind, status::StatusCode},
    transform::common::tonic::Attributes,
};

use super::gen_ai::{self, Places};
use crate::{
    domain::{trace::Trace, usage::Usage},
    telemetry::record::{AnswerEnd, AttemptRecord, Record},
};

/// In a span's flags beside those of `traceparent`: whether its parent was somewhere else is known, and so it is.
const PARENT_IS_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;

/// Those attributes that have a value: a line each.
macro_rules! attributes {
    ($($name:literal => $value:expr,)*) => {{
        let all = [$(($name, $value)),*].into_iter();
        let there = all.filter_map(|(name, value)| Some(KeyValue::new(name, value?)));
        Attributes::from(there).0
    }};
}

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
    let model = record.model.as_ref();
    let error = error_of_request(record);
    let method_or_other = || method(record).unwrap_or("_OTHER");
    let first_chunk = record.time_to_first_byte.filter(|_| record.stream);
    let last = record.attempts.last();
    let usage = record.usage.as_ref();
    let used = |tokens: fn(&Usage) -> u64| usage.map(tokens).and_then(number);
    let some_used = |tokens: fn(&Usage) -> u64| used(tokens).filter(|it| *it != Value::I64(0));
    let name = match (operation, model) {
        (Some(operation), Some(model)) => format!("{operation} {model}"),
        (Some(operation), None) => operation.to_owned(),
        // Paths are the client's: there could be any number of them.
        (None, _) => method(record).unwrap_or("HTTP").to_owned(),
    };
    let remote = trace.parent.map_or(0, |_| PARENT_IS_REMOTE);
    Span {
        parent_span_id: trace.parent.map_or_else(Vec::new, |it| it.bytes().to_vec()),
        flags: u32::from(trace.flags()) | PARENT_IS_KNOWN | remote,
        name,
        kind: SpanKind::Server.into(),
        attributes: attributes! {
            "http.request.method" => text(record.method.as_ref().map(|_| method_or_other())),
            "url.path" => text(record.path.as_ref()),
            "network.protocol.version" => text(Some(record.http_version())),
            "client.address" => text(record.client_address),
            "forebay.request_id" => text(Some(&record.request_id)),
            "forebay.client" => text(record.client.as_ref()),
            "forebay.refusal" => text(record.refusal),
            "forebay.end" => text(Some(record.end.as_str())),
            "http.response.status_code" => record.status.and_then(number),
            "gen_ai.operation.name" => text(operation),
            "gen_ai.provider.name" => text(operation.map(|_| gen_ai::provider(record, places))),
            "gen_ai.request.model" => text(model.filter(|_| operation.is_some())),
            "openai.api.type" => text(gen_ai::api_type(record.operation)),
            "gen_ai.request.stream" => record.stream.then_some(true.into()),
            "gen_ai.response.time_to_first_chunk" => first_chunk.map(|it| it.as_secs_f64().into()),
            "gen_ai.usage.input_tokens" => used(|it| it.input),
            "gen_ai.usage.output_tokens" => used(|it| it.output),
            "gen_ai.usage.cache_read.input_tokens" => some_used(|it| it.cached),
            "gen_ai.usage.audio.input_tokens" => some_used(|it| it.audio_input),
            "gen_ai.usage.reasoning.output_tokens" => some_used(|it| it.reasoning),
            "gen_ai.usage.audio.output_tokens" => some_used(|it| it.audio_output),
            "forebay.usage.estimated" => usage.filter(|it| it.estimated).map(|_| true.into()),
            "openai.response.service_tier" => text(usage.and_then(|it| it.tier).map(|it| it.as_str())),
            "forebay.instance" => text(last.map(|it| &it.instance)),
            "forebay.deployment" => text(last.map(|it| &it.deployment)),
            "error.type" => text(error.as_ref()),
        },
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
fn method(record: &Record) -> Option<&'static str> {
    let known = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    let said = record.method.as_ref()?.as_str();
    known.into_iter().find(|known| *known == said)
}

/// The attempt of this number.
fn of_attempt(record: &Record, at: usize, trace: &Trace, places: &Places) -> Option<Span> {
    let attempt = record.attempts.get(at)?;
    let place = places.get(&attempt.instance);
    let is_session = record.status == Some(101);
    let error = error_of_attempt(attempt);
    let is_last = at + 1 == record.attempts.len();
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
        attributes: attributes! {
            "http.request.method" => text(Some(if is_session { "GET" } else { "POST" })),
            "forebay.instance" => text(Some(&attempt.instance)),
            "forebay.deployment" => text(Some(&attempt.deployment)),
            "forebay.outcome" => text(Some(attempt.outcome)),
            "forebay.spilled_to" => text(attempt.spilled_to.as_ref()),
            "server.address" => text(place.map(|it| &it.host)),
            "server.port" => place.and_then(|it| number(it.port)),
            "gen_ai.provider.name" => text(place.map(|it| it.provider)),
            "gen_ai.operation.name" => text(gen_ai::operation(record.operation)),
            "gen_ai.request.model" => text(record.model.as_ref()),
            "http.response.status_code" => attempt.status.and_then(number),
            "http.request.resend_count" => number(at).filter(|_| at > 0),
            "error.type" => text(error.as_ref()),
        },
        status: error.map(|_| failed()),
        ..span(record, trace, attempt.span?.bytes(), (attempt.began, end))
    })
}

fn text(value: Option<impl ToString>) -> Option<Value> {
    Some(value?.to_string().into())
}

fn number(value: impl TryInto<i64>) -> Option<Value> {
    Some(value.try_into().unwrap_or(i64::MAX).into())
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

/// Since 1970.
pub(super) fn nanos(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
