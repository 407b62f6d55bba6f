//! What one event of a stream says: output, nothing yet, or an error; and what the error means (wire facts: Error bodies, Streams).
//!
//! Chat and completions are known by their `choices`, Responses by their events' types; anything else that can be read
//! is taken for output.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memmem::Finder;
use serde_json::{Map, Value};

use super::stream_head::StreamHead;
use crate::domain::{
    event_stream::Event,
    outcome::{Fault, Outcome, lightest, says_set_up},
    wait,
};

static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("error"));
static FAILED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("response.failed"));

/// How the types begin of answers that such an event ends.
const FAMILIES: [&str; 5] = [
    "response.",
    "transcript.text.",
    "speech.audio.",
    "image_generation.",
    "image_edit.",
];

/// What comes before a response's first output, and says nothing of how it goes.
const PREAMBLES: [&str; 4] = [
    "response.created",
    "response.queued",
    "response.in_progress",
    "keepalive",
];

/// How a stream says that it is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// That is not known: any clean end will do.
    #[default]
    Unknown,
    /// Chat and completions: by `[DONE]`, or by a reason why it is finished.
    Chat,
    /// By an event of a certain type.
    Typed,
}

impl Form {
    pub(super) fn of_type(kind: &str) -> Self {
        let is_known = FAMILIES.iter().any(|family| kind.starts_with(family));
        if is_known { Self::Typed } else { Self::Unknown }
    }
}

pub(super) enum Meaning {
    /// Nothing of the model is in it.
    Nothing,
    /// It can't be read.
    Odd,
    Output,
    /// The response failed; why, an event that follows may say.
    Failed,
    Error(Told),
}

/// An error as it was told: the object that holds its code, its type and its message.
pub(super) struct Told(Value);

/// Whether reading an event closely is worth while for one who looks for errors, in a chat or elsewhere.
pub(super) fn may_be_error(event: &Event<'_>, is_chat: bool) -> bool {
    event.name == b"error"
        || event.name == b"response.failed"
        || ERROR.find(event.data).is_some()
        || !is_chat && FAILED.find(event.data).is_some()
}

/// What an event says, and which form of answer it shows.
pub(super) fn meaning(event: &Event<'_>) -> (Meaning, Form) {
    match event.data {
        b"[DONE]" => return (Meaning::Output, Form::Unknown),
        b"" if !event.is_odd => return (Meaning::Nothing, Form::Unknown),
        _ => {}
    }
    let data = match serde_json::from_slice(event.data) {
        Ok(Value::Object(data)) if !event.is_odd => data,
        _ => return (Meaning::Odd, Form::Unknown),
    };
    let name = std::str::from_utf8(event.name).unwrap_or_default();
    match data.get("type").and_then(Value::as_str) {
        _ if name == "error" => (of_response("error", &data), Form::Unknown),
        Some(kind) => (of_response(kind, &data), Form::of_type(kind)),
        None if data.contains_key("choices") => (of_chat(data), Form::Chat),
        None if data.contains_key("error") => (of_chat(data), Form::Unknown),
        None => (of_response(name, &data), Form::of_type(name)),
    }
}

fn of_chat(mut data: Map<String, Value>) -> Meaning {
    if let Some(error) = data.remove("error").filter(|error| !error.is_null()) {
        return Meaning::Error(Told(error));
    }
    match data.get("choices") {
        Some(Value::Array(choices)) if !choices.iter().any(has_output) => Meaning::Nothing,
        _ => Meaning::Output,
    }
}

fn has_output(choice: &Value) -> bool {
    let is_there = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    let delta = choice.get("delta").and_then(Value::as_object);
    let mut members = delta.into_iter().flatten();
    members.any(|(name, value)| name != "role" && is_there(value))
        || ["text", "finish_reason"]
            .iter()
            .any(|name| choice.get(name).is_some_and(is_there))
}

fn of_response(kind: &str, data: &Map<String, Value>) -> Meaning {
    let error = |error: Option<&Value>| error.filter(|error| !error.is_null()).cloned();
    match kind {
        "response.failed" => match error(data.get("response").and_then(|it| it.get("error"))) {
            Some(error) => Meaning::Error(Told(error)),
            None => Meaning::Failed,
        },
        "error" => {
            let nested = error(data.get("error"));
            Meaning::Error(Told(nested.unwrap_or_else(|| data.clone().into())))
        }
        kind if PREAMBLES.contains(&kind) => Meaning::Nothing,
        kind if kind.starts_with("response.") => Meaning::Output,
        _ => match error(data.get("error")) {
            Some(error) => Meaning::Error(Told(error)),
            None => Meaning::Output,
        },
    }
}

impl Told {
    /// By whichever of its words says most of where the fault lies.
    pub(super) fn outcome(&self, head: &StreamHead, now: SystemTime) -> Outcome {
        let words = ["code", "type", "status"].map(|name| word(self.0.get(name)));
        let message = self.0.get("message").and_then(Value::as_str);
        if says_set_up(&words[0], message.unwrap_or_default()) {
            return Outcome::IdentityUnfit;
        }
        match lightest(&words, now) {
            Some(Outcome::Throttled { .. }) => self.throttled(head, now),
            Some(Outcome::Faulted { fault, .. }) => self.faulted(fault, head, now),
            Some(outcome) => outcome,
            None if head.is_exhausted => self.throttled(head, now),
            None => self.faulted(Fault::Status, head, now),
        }
    }

    fn throttled(&self, head: &StreamHead, now: SystemTime) -> Outcome {
        let message = self.0.get("message").and_then(Value::as_str);
        let named = |wait: &Duration| !wait.is_zero();
        let wait = (head.wait.filter(named))
            .or_else(|| wait::after_throttle(&self.headers(), now).filter(named))
            .or_else(|| message.and_then(wait::in_message))
            .or(head.wait);
        Outcome::Throttled { wait }
    }

    fn faulted(&self, fault: Fault, head: &StreamHead, now: SystemTime) -> Outcome {
        let said = || wait::retry_after(&self.headers(), now);
        let wait = head.wait.or_else(said);
        Outcome::Faulted { fault, wait }
    }

    /// The headers of the answer that stands behind the error, where it brings them along.
    fn headers(&self) -> HeaderMap {
        let headers = self.0.get("headers").and_then(Value::as_object);
        let pair = |(name, value): (&String, &Value)| {
            let name = HeaderName::try_from(name.as_str()).ok()?;
            Some((name, HeaderValue::try_from(word(Some(value))).ok()?))
        };
        headers.into_iter().flatten().filter_map(pair).collect()
    }
}

/// Text or a number as a word in lower case; else nothing.
fn word(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.to_ascii_lowercase(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}
