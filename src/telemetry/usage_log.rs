//! Usage records: one flat JSON line for each request that may have cost something, for billing and data warehouses.
//!
//! A request has one when its client and its model are known: also one that was refused after that, with nothing in its
//! columns for tokens. What came from nobody known, or asked for no model, concerns nobody's bill; the access log has it.

use std::{io, sync::Arc, time::Duration};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Result, Value};

use super::{
    json_object::{Object, members},
    line_log::{LineLog, LogTarget, Script, append_line},
    metrics::Metrics,
    record::{Record, Stamp, Text, capacity_word},
};
use crate::domain::{price::Cost, usage::Tier};

/// The usage records' log, and its name in metrics and messages.
pub type UsageLog = LineLog<Arc<Record>>;
pub const NAME: &str = "usage";

/// Fails where the file can't be opened.
pub fn open(place: LogTarget, metrics: &Metrics) -> io::Result<UsageLog> {
    LineLog::file(NAME, place, Lines, metrics.log(NAME))
}

/// Whether a request has a usage record.
pub fn concerns(record: &Record) -> bool {
    record.client.is_some() && record.model.is_some()
}

/// What a record's columns are, as a JSON Schema (2020-12).
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let schema = settings
        .into_generator()
        .into_root_schema_for::<UsageRecord<'static>>();
    schema.to_value()
}

/// Writes each record as a line.
pub struct Lines;

impl Script for Lines {
    type Entry = Arc<Record>;

    fn append(&mut self, record: &Arc<Record>, text: &mut Vec<u8>) {
        let columns = UsageRecord::from_record(record);
        append_line(text, |text| {
            Object::write(text, |line| columns.append(line))
        });
    }
}

/// Changes when a column changes its meaning or is removed. New columns may be added at any time.
const VERSION: u32 = 1;

/// Forebay's usage record of one request. Every column is always present; without a value it is null.
#[derive(JsonSchema)]
struct UsageRecord<'a> {
    /// 1. Changes when a column changes its meaning.
    schema_version: u32,
    /// When the request arrived (RFC 3339, UTC, milliseconds).
    #[schemars(with = "String", extend("format" = "date-time"))]
    time: Stamp,
    /// The `x-request-id` that the client got; unique.
    request_id: &'a str,
    /// A name in `clients`.
    client: &'a str,
    /// A name in `models`.
    model: &'a str,
    /// The model's version, if the config has one.
    model_version: Option<&'a str>,
    /// The end of the path, like `chat/completions`.
    operation: &'static str,
    /// Whether the request asked for a stream.
    stream: bool,
    /// The status code sent to the client; null if it disconnected before.
    status: Option<u16>,
    /// How the answer ended.
    #[schemars(extend("enum" = ["complete", "broken", "client_left", "idle"]))]
    end: &'static str,
    /// Why the gateway itself rejected the request, if it did.
    refusal: Option<&'static str>,
    /// The instance of the last attempt, a name in `instances`; null without an attempt.
    instance: Option<&'a str>,
    /// The deployment of the last attempt.
    deployment: Option<&'a str>,
    /// How that deployment's capacity is billed.
    #[schemars(extend("enum" = ["standard", "provisioned", null]))]
    deployment_type: Option<&'static str>,
    /// The `priority` of that deployment.
    priority: Option<u32>,
    /// The deployment that Azure's own spillover used, as Azure reported it.
    spilled_to: Option<&'a str>,
    /// The number of attempts.
    attempts: u32,
    /// The number of failed attempts before the last that Azure may bill; their usage is not in this record.
    maybe_billed_attempts: u32,
    /// The service tier in the answer.
    #[schemars(extend("enum" = ["default", "priority", "flex", "scale", "other", null]))]
    service_tier: Option<&'static str>,
    /// Input tokens (prompt); null if none were counted, for example without an answer.
    input_tokens: Option<u64>,
    /// Cached input tokens, part of `input_tokens`.
    cached_tokens: Option<u64>,
    /// Audio input tokens, part of `input_tokens`.
    audio_input_tokens: Option<u64>,
    /// Output tokens (answer).
    output_tokens: Option<u64>,
    /// Reasoning tokens, part of `output_tokens`.
    reasoning_tokens: Option<u64>,
    /// Audio output tokens, part of `output_tokens`.
    audio_output_tokens: Option<u64>,
    /// Whether some of the tokens are estimated, not reported by the deployment.
    estimated: bool,
    /// The exact cost of the tokens by `prices`; null without a price.
    #[schemars(with = "Option<String>", extend("pattern" = r"^[0-9]+([.][0-9]{1,12})?$"))]
    cost: Option<Text<Cost>>,
    /// The cost's currency (ISO 4217).
    #[schemars(with = "Option<String>")]
    currency: Option<&'a str>,
    /// Size of the request body.
    request_bytes: u64,
    /// Size of the answer's body.
    response_bytes: u64,
    /// Time from arrival to the answer's first byte, in milliseconds.
    #[schemars(with = "Option<f64>")]
    first_byte_ms: Option<Duration>,
    /// Time from arrival to the answer's last byte, in milliseconds.
    #[schemars(with = "f64")]
    duration_ms: Duration,
    /// Latency added by the gateway, in milliseconds.
    #[schemars(with = "Option<f64>")]
    overhead_ms: Option<Duration>,
}

impl<'a> UsageRecord<'a> {
    fn from_record(record: &'a Record) -> Self {
        let (last, usage) = (record.attempts.last(), record.usage.as_ref());
        let before = record.attempts.split_last().map_or(&[][..], |(_, it)| it);
        let maybe_billed = before.iter().filter(|attempt| attempt.may_be_billed);
        Self {
            schema_version: VERSION,
            time: Stamp(record.arrived),
            request_id: &record.request_id,
            client: record.client(),
            model: record.model(),
            model_version: record.model_version.as_deref(),
            operation: record.operation(),
            stream: record.stream,
            status: record.status,
            end: record.end.as_str(),
            refusal: record.refusal,
            instance: last.map(|attempt| attempt.instance.as_str()),
            deployment: last.map(|attempt| attempt.deployment.as_str()),
            deployment_type: last.map(|attempt| capacity_word(attempt.capacity)),
            priority: last.map(|attempt| attempt.priority.get()),
            spilled_to: last.and_then(|attempt| attempt.spilled_to.as_deref()),
            attempts: count(record.attempts.len()),
            maybe_billed_attempts: count(maybe_billed.count()),
            service_tier: usage.and_then(|usage| usage.tier).map(Tier::as_str),
            input_tokens: usage.map(|usage| usage.input),
            cached_tokens: usage.map(|usage| usage.cached),
            audio_input_tokens: usage.map(|usage| usage.audio_input),
            output_tokens: usage.map(|usage| usage.output),
            reasoning_tokens: usage.map(|usage| usage.reasoning),
            audio_output_tokens: usage.map(|usage| usage.audio_output),
            estimated: usage.is_some_and(|usage| usage.estimated),
            cost: record.cost.map(Text),
            currency: record.cost.as_ref().map(|cost| cost.currency.as_str()),
            request_bytes: record.request_bytes,
            response_bytes: record.response_bytes,
            first_byte_ms: record.time_to_first_byte,
            duration_ms: record.duration,
            overhead_ms: record.overhead,
        }
    }

    /// Writes the columns, in their order.
    fn append(&self, line: &mut Object<'_>) -> Result<()> {
        members!(
            line,
            self,
            schema_version,
            time,
            request_id,
            client,
            model,
            model_version,
            operation,
            stream,
            status,
            end,
            refusal,
            instance,
            deployment,
            deployment_type,
            priority,
            spilled_to,
            attempts,
            maybe_billed_attempts,
            service_tier,
            input_tokens,
            cached_tokens,
            audio_input_tokens,
            output_tokens,
            reasoning_tokens,
            audio_output_tokens,
            estimated,
            cost,
            currency,
            request_bytes,
            response_bytes,
        );
        line.ms("first_byte_ms", self.first_byte_ms)?;
        line.ms("duration_ms", self.duration_ms)?;
        line.ms("overhead_ms", self.overhead_ms)
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
