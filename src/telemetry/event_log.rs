//! The gateway's own log as JSON: a line an event, each with `time`, `level`, `event` and `message` first.
//!
//! `event` is a name that stays, whatever becomes of the words: alerts go by it. What libraries say has `library` there, and
//! is told apart by `target`.

use std::{fmt, time::SystemTime};

use serde_json::Value;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Where an event gives itself no name.
const LIBRARY: &str = "library";

/// The form of its lines.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        let name = fields.event.as_deref().unwrap_or(LIBRARY);
        write!(
            writer,
            "{{\"time\":\"{time}\",\"level\":\"{}\",\"event\":{},\"message\":{}",
            metadata.level(),
            text(name),
            text(&fields.message)
        )?;
        for (name, value) in &fields.others {
            write!(writer, ",{}:{value}", text(name))?;
        }
        let target = fields.target.as_deref().unwrap_or(metadata.target());
        writeln!(writer, ",\"target\":{}}}", text(target))
    }
}

fn text(text: &str) -> Value {
    Value::from(text)
}

/// An event's fields, in the order in which they were given.
#[derive(Default)]
struct Fields {
    event: Option<String>,
    message: String,
    /// Of a library that logs without events.
    target: Option<String>,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn take(&mut self, name: &'static str, value: Value) {
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        match name {
            "event" => self.event = Some(text(value)),
            "message" => self.message = text(value),
            "log.target" => self.target = Some(text(value)),
            // Where in its source that stands says nothing to operators.
            "log.module_path" | "log.file" | "log.line" => {}
            _ => self.others.push((name, value)),
        }
    }
}

/// The methods that take a value as JSON has it.
macro_rules! takes {
    ($($method:ident($type:ty))*) => {$(
        fn $method(&mut self, field: &Field, value: $type) {
            self.take(field.name(), value.into());
        }
    )*};
}

impl Visit for Fields {
    takes! { record_f64(f64) record_i64(i64) record_u64(u64) record_bool(bool) record_str(&str) }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field.name(), format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::Value;
    use tracing_subscriber::prelude::*;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What stands in the log after that.
    fn logged(say: impl FnOnce()) -> Vec<String> {
        let written = Written::default();
        let to = written.clone();
        let lines = tracing_subscriber::fmt::layer()
            .event_format(Json)
            .with_writer(move || to.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), say);
        let bytes = written.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_is_one_object_that_begins_with_time_level_and_event() {
        let why = "a \"quoted\"\nreason";
        let lines = logged(|| {
            tracing::warn!(event = "circuit_open", instance = %"east", status = 503, why, retry_in_seconds = 9.5, "503 from {}", "east");
            tracing::info!(target: "pingora_core", "a library's own words");
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        let time = line["time"].as_str().unwrap();
        let begins = format!(
            "{{\"time\":\"{time}\",\"level\":\"WARN\",\"event\":\"circuit_open\",\"message\":\"503 from east\","
        );
        assert!(lines[0].starts_with(&begins), "{}", lines[0]);
        assert!(time.ends_with('Z') && time.len() == 24, "{time}");
        assert_eq!(
            (&line["status"], &line["why"], &line["retry_in_seconds"]),
            (&503.into(), &why.into(), &9.5.into())
        );
        assert_eq!(line["instance"], "east");
        assert!(line["target"].as_str().unwrap().contains("event_log"));
        let line: Value = serde_json::from_str(&lines[1]).unwrap();
        assert_eq!(
            (&line["event"], &line["target"]),
            (&LIBRARY.into(), &"pingora_core".into())
        );
    }
}
