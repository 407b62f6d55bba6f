//! The access log: one line per request, from its [`Record`]: JSON for machines, a short text for a person at a terminal.

use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
};

use super::{
    json_object::{Object, members},
    line_log::{LineLog, LogTarget, Script, append_line},
    metrics::Metrics,
    record::{AttemptRecord, Record, Stamp, Text},
};
use crate::domain::usage::{Tier, Usage};

/// The access log, and its name in metrics and messages.
pub type AccessLog = LineLog<Arc<Record>>;
pub const NAME: &str = "access";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Text,
}

/// To a file, or to stderr: text on a terminal, JSON elsewhere. Fails where the file can't be opened.
pub fn open(file: Option<LogTarget>, metrics: &Metrics) -> io::Result<AccessLog> {
    let metrics = metrics.log(NAME);
    match file {
        Some(place) => LineLog::file(NAME, place, Format::Json, metrics),
        None if io::stderr().is_terminal() => LineLog::stderr(NAME, Format::Text, metrics),
        None => LineLog::stderr(NAME, Format::Json, metrics),
    }
}

impl Script for Format {
    type Entry = Arc<Record>;

    fn append(&mut self, record: &Arc<Record>, text: &mut Vec<u8>) {
        match self {
            Self::Json => append_line(text, |text| append_json(record, text)),
            Self::Text => append_line(text, |text| append_text(record, text)),
        }
    }
}

/// The line's members, in this order. All are always there; `null` where there is no value. Times are milliseconds, sizes
/// bytes.
fn append_json(record: &Record, text: &mut Vec<u8>) -> serde_json::Result<()> {
    Object::write(text, |line| {
        // Of arrival.
        line.member("time", &Stamp(record.arrived))?;
        line.member("request_id", &*record.request_id)?;
        line.member("client", &record.client.as_ref().map(|it| it.as_str()))?;
        line.member("model", &record.model.as_ref().map(|it| it.as_str()))?;
        line.member("operation", record.operation())?;
        line.member("stream", &record.stream)?;
        line.member("method", &record.method.as_ref().map(|it| it.as_str()))?;
        line.member("path", &record.path)?;
        line.member("http", record.http_version())?;
        line.member("address", &record.address)?;
        line.member("client_address", &record.client_address)?;
        line.member("status", &record.status)?;
        line.member("end", record.end.as_str())?;
        line.member("refusal", &record.refusal)?;
        line.member("detail", &record.detail)?;
        line.objects("attempts", &record.attempts, append_attempt)?;
        line.object("usage", record.usage.as_ref(), append_usage)?;
        // Exact, as a decimal number.
        line.member("cost", &record.cost.map(Text))?;
        line.member(
            "currency",
            &record.cost.as_ref().map(|it| it.currency.as_str()),
        )?;
        line.member("request_bytes", &record.request_bytes)?;
        line.member("response_bytes", &record.response_bytes)?;
        line.ms("first_byte_ms", record.time_to_first_byte)?;
        line.ms("duration_ms", record.duration)?;
        line.ms("overhead_ms", record.overhead)
    })
}

fn append_attempt(attempt: &AttemptRecord, to: &mut Object<'_>) -> serde_json::Result<()> {
    to.member("instance", attempt.instance.as_str())?;
    to.member("deployment", attempt.deployment.as_str())?;
    to.member("outcome", attempt.outcome)?;
    to.member("status", &attempt.status)?;
    to.member("spilled_to", &attempt.spilled_to)?;
    to.ms("ms", attempt.took)
}

/// In tokens. `cached` and `audio_input` are part of `input`, `reasoning` and `audio_output` of `output`.
fn append_usage(usage: &Usage, to: &mut Object<'_>) -> serde_json::Result<()> {
    members!(
        to,
        usage,
        input,
        cached,
        audio_input,
        output,
        reasoning,
        audio_output
    );
    to.member("tier", &usage.tier.map(Tier::as_str))?;
    to.member("estimated", &usage.estimated)
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

    fn line(record: &Record, mut format: Format) -> String {
        let mut text = Vec::new();
        format.append(&Arc::new(record.clone()), &mut text);
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
