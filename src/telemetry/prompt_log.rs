//! The prompts of those clients whose operator wants them kept: one JSON line a request, redacted and cut to size.
//!
//! Off the request path: a request gives a handle of its body, which is not copied, and goes on. What waits for the writer
//! is bounded in bytes; beyond that a prompt is dropped and counted. For any other client nothing ever comes here.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use serde::Serialize;

use super::{
    line_log::{LineLog, LogTarget, Script, append_line},
    metrics::Metrics,
    record::Stamp,
};
use crate::domain::{
    name::{ClientName, ModelName},
    redaction::{Excerpt, Redaction},
};

/// The log's name in metrics and messages.
pub const NAME: &str = "prompts";

/// A request that is about to be sent to a deployment.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// When the request arrived.
    pub arrived: SystemTime,
    pub request_id: Arc<str>,
    pub client: ClientName,
    pub model: ModelName,
    pub operation: &'static str,
    /// The body as the client sent it, as far as it is kept.
    pub body: Bytes,
    /// Whether that is all of it.
    pub is_whole: bool,
}

/// What is kept of a prompt.
#[derive(Clone, Debug)]
pub struct Rules {
    pub redaction: Redaction,
    /// The longest text, in bytes, once it is redacted.
    pub max_bytes: usize,
}

/// The prompts' log.
#[derive(Debug)]
pub struct PromptLog {
    log: LineLog<Waiting>,
    waiting: Arc<AtomicUsize>,
    most_waiting: usize,
}

/// A prompt on its way to the writer; counted in bytes until it is dropped.
#[derive(Debug)]
struct Waiting {
    prompt: Prompt,
    bytes: usize,
    waiting: Arc<AtomicUsize>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl PromptLog {
    /// `most_waiting`: what the bodies that wait for the writer may hold together, in bytes. Fails where the file can't
    /// be opened, or not be closed to others.
    pub fn open(
        place: LogTarget,
        rules: Rules,
        most_waiting: usize,
        metrics: &Metrics,
    ) -> io::Result<Self> {
        Ok(Self {
            log: LineLog::file(NAME, place, Lines(rules), metrics.log(NAME))?,
            waiting: Arc::default(),
            most_waiting,
        })
    }

    /// Takes a prompt. Never waits: where the writer can't keep up it is dropped and counted.
    pub fn write(&self, prompt: Prompt) {
        let bytes = prompt.body.len();
        let before = self.waiting.fetch_add(bytes, Ordering::AcqRel);
        let waiting = Waiting {
            prompt,
            bytes,
            waiting: Arc::clone(&self.waiting),
        };
        // One that is larger than all of the room may pass alone.
        if before > 0 && before.saturating_add(bytes) > self.most_waiting {
            self.log.drop_line()
        } else {
            self.log.write(waiting)
        }
    }

    /// Writes what was taken so far, and ends.
    pub fn close(&self) {
        self.log.close();
    }
}

struct Lines(Rules);

/// All is always there; `null` where there is no value.
#[derive(Serialize)]
struct Line<'a> {
    /// Of arrival.
    time: Stamp,
    /// As in the access log.
    request_id: &'a str,
    client: &'a str,
    model: &'a str,
    operation: &'static str,
    /// Of the body, as far as it was kept.
    bytes: usize,
    /// Only the body's beginning was kept: the rest was passed on as it came.
    partial: bool,
    /// It was longer than `max_bytes`.
    truncated: bool,
    /// A text, since what was cut is no JSON any more; `null`: no JSON came, like a form, and nothing of it is kept.
    body: Option<&'a str>,
}

impl Script for Lines {
    type Entry = Waiting;

    fn append(&mut self, entry: &Waiting, text: &mut Vec<u8>) {
        let prompt = &entry.prompt;
        let Rules {
            redaction,
            max_bytes,
        } = &self.0;
        let excerpt = redaction.json(&prompt.body, *max_bytes);
        let line = Line {
            time: Stamp(prompt.arrived),
            request_id: &prompt.request_id,
            client: prompt.client.as_str(),
            model: prompt.model.as_str(),
            operation: prompt.operation,
            bytes: prompt.body.len(),
            partial: !prompt.is_whole,
            truncated: excerpt.as_ref().is_some_and(|it| it.is_cut),
            body: excerpt.as_ref().map(|Excerpt { text, .. }| text.as_str()),
        };
        append_line(text, |text| serde_json::to_writer(text, &line));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{domain::redaction::Pattern, telemetry::line_log::Readers};

    fn prompt(body: impl Into<Bytes>, is_whole: bool) -> Prompt {
        Prompt {
            arrived: SystemTime::UNIX_EPOCH,
            request_id: "r-1".into(),
            client: "app".into(),
            model: "gpt-4o".into(),
            operation: "chat/completions",
            body: body.into(),
            is_whole,
        }
    }

    fn line(prompt: Prompt, max_bytes: usize) -> Value {
        let redaction = Redaction::new([Pattern::parse("secret").unwrap()]);
        let mut lines = Lines(Rules {
            redaction,
            max_bytes,
        });
        let (waiting, bytes) = (Arc::default(), 0);
        let entry = Waiting {
            prompt,
            bytes,
            waiting,
        };
        let mut text = Vec::new();
        lines.append(&entry, &mut text);
        assert!(text.ends_with(b"}\n") && text.iter().filter(|b| **b == b'\n').count() == 1);
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn a_line_says_whose_prompt_it_is_and_what_is_missing_of_it() {
        let body = "{\"a\":\n\"a s\\u0065cret\"}";
        let whole = json!({
            "time": "1970-01-01T00:00:00.000Z", "request_id": "r-1", "client": "app", "model": "gpt-4o",
            "operation": "chat/completions", "bytes": body.len(), "partial": false, "truncated": false,
            "body": "{\"a\":\n\"a [redacted]\"}",
        });
        assert_eq!(line(prompt(body, true), 99), whole);
        let cut = line(prompt(body, false), 5);
        assert_eq!(
            (&cut["partial"], &cut["truncated"], &cut["body"]),
            (&true.into(), &true.into(), &"{\"a\":".into())
        );
        let form = line(prompt("--x\r\nsecret", true), 99);
        assert_eq!((&form["body"], &form["bytes"]), (&Value::Null, &11.into()));
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_and_what_is_beyond_is_counted() {
        let metrics = Metrics::new();
        let place = LogTarget {
            path: "/dev/null".into(),
            rotation: None,
            readers: Readers::Owner,
        };
        let rules = Rules {
            redaction: Redaction::default(),
            max_bytes: 10,
        };
        let log = PromptLog::open(place, rules, 100, &metrics).unwrap();
        let dropped = metrics.log(NAME).dropped;
        // As if that much were on its way.
        log.waiting.store(60, Ordering::Release);
        log.write(prompt(vec![b' '; 40], true));
        assert_eq!(dropped.get(), 0);
        log.log.flush();
        assert_eq!(log.waiting.load(Ordering::Acquire), 60);
        log.write(prompt(vec![b' '; 41], true));
        assert_eq!(
            (dropped.get(), log.waiting.load(Ordering::Acquire)),
            (1, 60)
        );
        // Alone, however large.
        log.waiting.store(0, Ordering::Release);
        log.write(prompt(vec![b' '; 1000], true));
        log.log.flush();
        assert_eq!((dropped.get(), log.waiting.load(Ordering::Acquire)), (1, 0));
    }
}
