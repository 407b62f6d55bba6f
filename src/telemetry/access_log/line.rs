//! A record as a line: JSON for machines, a short text for a person at a terminal.

use std::{io::Write, net::IpAddr};

use http::Version;
use serde::Serialize;

use crate::{
    domain::{
        price::Cost,
        usage::{Tier, Usage},
    },
    telemetry::record::{AttemptRecord, Record, Stamp, Text, ms},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Text,
}

/// Appends the record's line, its line break included.
pub(super) fn append(record: &Record, format: Format, text: &mut Vec<u8>) {
    let before = text.len();
    let written = match format {
        Format::Json => serde_json::to_writer(&mut *text, &JsonLine::of(record)).is_ok(),
        Format::Text => append_text(record, text).is_ok(),
    };
    match written {
        true => text.push(b'\n'),
        // Neither can fail into memory; half a line must not stay all the same.
        false => text.truncate(before),
    }
}

/// The line's fields, in this order. All are always there; `null` where there is no value. Times are
/// milliseconds, sizes bytes.
#[derive(Serialize)]
struct JsonLine<'a> {
    /// Of arrival.
    time: Stamp,
    request_id: &'a str,
    client: Option<&'a str>,
    model: Option<&'a str>,
    operation: &'static str,
    stream: bool,
    method: Option<&'a str>,
    path: Option<&'a str>,
    http: &'static str,
    address: Option<IpAddr>,
    client_address: Option<IpAddr>,
    status: Option<u16>,
    end: &'static str,
    refusal: Option<&'static str>,
    detail: Option<&'static str>,
    attempts: Vec<JsonAttempt<'a>>,
    usage: Option<JsonUsage>,
    /// Exact, as a decimal number.
    cost: Option<Text<Cost>>,
    currency: Option<&'a str>,
    request_bytes: u64,
    response_bytes: u64,
    first_byte_ms: Option<f64>,
    duration_ms: f64,
    overhead_ms: Option<f64>,
}

#[derive(Serialize)]
struct JsonAttempt<'a> {
    instance: &'a str,
    deployment: &'a str,
    outcome: &'static str,
    status: Option<u16>,
    spilled_to: Option<&'a str>,
    ms: f64,
}

/// In tokens. `cached` and `audio_input` are part of `input`, `reasoning` and `audio_output` of `output`.
#[derive(Serialize)]
struct JsonUsage {
    input: u64,
    cached: u64,
    audio_input: u64,
    output: u64,
    reasoning: u64,
    audio_output: u64,
    tier: Option<&'static str>,
    estimated: bool,
}

impl JsonUsage {
    fn of(usage: &Usage) -> Self {
        Self {
            input: usage.input,
            cached: usage.cached,
            audio_input: usage.audio_input,
            output: usage.output,
            reasoning: usage.reasoning,
            audio_output: usage.audio_output,
            tier: usage.tier.map(Tier::as_str),
            estimated: usage.estimated,
        }
    }
}

impl<'a> JsonLine<'a> {
    fn of(record: &'a Record) -> Self {
        Self {
            time: Stamp(record.arrived),
            request_id: &record.request_id,
            client: record.client.as_ref().map(|c| c.as_str()),
            model: record.model.as_ref().map(|m| m.as_str()),
            operation: record.operation(),
            stream: record.stream,
            method: record.method.as_ref().map(|method| method.as_str()),
            path: record.path.as_deref(),
            http: version(record.version),
            address: record.address,
            client_address: record.client_address,
            status: record.status,
            end: record.end.as_str(),
            refusal: record.refusal,
            detail: record.detail,
            attempts: record.attempts.iter().map(JsonAttempt::of).collect(),
            usage: record.usage.as_ref().map(JsonUsage::of),
            cost: record.cost.map(Text),
            currency: record.cost.as_ref().map(|cost| cost.currency.as_str()),
            request_bytes: record.request_bytes,
            response_bytes: record.response_bytes,
            first_byte_ms: record.time_to_first_byte.map(ms),
            duration_ms: ms(record.duration),
            overhead_ms: record.overhead.map(ms),
        }
    }
}

impl<'a> JsonAttempt<'a> {
    fn of(attempt: &'a AttemptRecord) -> Self {
        Self {
            instance: attempt.instance.as_str(),
            deployment: attempt.deployment.as_str(),
            outcome: attempt.outcome,
            status: attempt.status,
            spilled_to: attempt.spilled_to.as_deref(),
            ms: ms(attempt.took),
        }
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

/// `TIME STATUS METHOD PATH client model: east/gpt-4o throttled 20ms, west/gpt-4o served 31ms; 900ms`
fn append_text(record: &Record, text: &mut Vec<u8>) -> std::io::Result<()> {
    let time = humantime::format_rfc3339_millis(record.arrived);
    write!(text, "{time} ")?;
    match record.status {
        Some(status) => write!(text, "{status}")?,
        None => write!(text, "---")?,
    }
    // Escaped: a client's path must not steer a terminal.
    let path = record.path.as_deref().unwrap_or("-").escape_debug();
    let method = record.method.as_ref().map_or("-", |method| method.as_str());
    let (client, model) = (record.client(), record.model());
    write!(text, " {method} {path} {client} {model}:")?;
    for attempt in &record.attempts {
        let (instance, deployment) = (&attempt.instance, &attempt.deployment);
        let (outcome, took) = (attempt.outcome, attempt.took.as_millis());
        write!(text, " {instance}/{deployment} {outcome} {took}ms,")?;
    }
    if let Some(refusal) = record.refusal {
        write!(text, " {refusal}")?;
        if let Some(detail) = record.detail {
            write!(text, " ({detail})")?;
        }
        text.push(b',');
    }
    let (end, took) = (record.end.as_str(), record.duration.as_millis());
    write!(text, " {end} {took}ms")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::telemetry::record::tests::record;

    fn line(record: &Record, format: Format) -> String {
        let mut text = Vec::new();
        append(record, format, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_json_line_tells_the_whole_story() {
        let line = line(&record(), Format::Json);
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1);
        let attempt = |instance, outcome, status| json!({"instance": instance, "deployment": "gpt-4o", "outcome": outcome, "status": status, "spilled_to": null, "ms": 20.0});
        let story = json!({
            "time": "2023-11-14T22:13:20.123Z", "request_id": "r-1", "client": "app", "model": "gpt-4o",
            "operation": "chat", "stream": true, "method": "POST", "path": "/v1/chat/completions", "http": "1.1",
            "address": "127.0.0.1", "client_address": "192.0.2.1", "status": 200, "end": "complete", "refusal": null, "detail": null,
            "attempts": [attempt("east", "throttled", 429), attempt("west", "served", 200)],
            "usage": {"input": 30, "cached": 10, "audio_input": 0, "output": 12, "reasoning": 4, "audio_output": 0, "tier": null, "estimated": false},
            "cost": null, "currency": null, "request_bytes": 1024, "response_bytes": 2048, "first_byte_ms": 41.5, "duration_ms": 900.0,
            "overhead_ms": 0.12,
        });
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), story);
    }

    #[test]
    fn what_is_not_known_is_null_and_never_missing() {
        let full = line(&record(), Format::Json);
        let mut record = record();
        (record.client, record.model, record.status) = (None, None, None);
        (record.address, record.time_to_first_byte, record.overhead) = (None, None, None);
        (record.method, record.path, record.client_address) = (None, None, None);
        let (full, bare): (Value, Value) = (
            serde_json::from_str(&full).unwrap(),
            serde_json::from_str(&line(&record, Format::Json)).unwrap(),
        );
        let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&full), keys(&bare));
        assert!(bare["client"].is_null() && bare["status"].is_null());
    }

    #[test]
    fn a_path_cannot_start_a_line_or_steer_a_terminal() {
        let mut record = record();
        record.path = Some("/v1\n\u{1b}[2J\"".into());
        for format in [Format::Json, Format::Text] {
            let line = line(&record, format);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(!line.contains('\u{1b}'));
        }
    }

    #[test]
    fn a_text_line_names_every_attempt() {
        assert_eq!(
            line(&record(), Format::Text),
            "2023-11-14T22:13:20.123Z 200 POST /v1/chat/completions app gpt-4o: \
             east/gpt-4o throttled 20ms, west/gpt-4o served 20ms, complete 900ms\n"
        );
    }
}
