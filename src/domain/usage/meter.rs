//! Reads what an answer used while it passes.

use http::{HeaderMap, StatusCode, header};

use super::{
    char_estimate::CharEstimate,
    memo::Memo,
    output_count::{OutputCount, Words},
    report::{Report, is_sound},
    scan::Scan,
    schema::Container,
    token_counts::Usage,
};
use crate::domain::{
    event_stream::{Part, is_encoded, is_event_stream},
    route::Operation,
};

/// Reads one answer on its way, plain or as a stream of events, in pieces cut anywhere. It keeps no text: its size is all
/// the memory it takes, however long the answer is.
///
/// A finished answer, and one that broke off, come to `meter.usage().unwrap_or_else(|| meter.estimate(input))`.
#[derive(Clone, Debug)]
pub struct Meter {
    form: Form,
    scan: Scan,
    report: Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Events,
    /// A transcript in plain text.
    Words,
}

impl Meter {
    /// `None` where nothing can be read: an error, compressed content, sound.
    pub fn of(operation: Operation, status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        if !status.is_success() || is_encoded(headers) {
            return None;
        }
        let is_stream = is_event_stream(headers);
        let form = match is_stream {
            true => Form::Events,
            false => plain(operation, headers)?,
        };
        let output = match form {
            Form::Json => OutputCount::Characters(CharEstimate::default()),
            Form::Events | Form::Words => OutputCount::Words(Words::default()),
        };
        Some(Self {
            form,
            scan: Scan::of(Container::outermost(operation, is_stream)),
            report: Report::with(output),
        })
    }

    /// Whether the answer is a stream, whose events are read one by one.
    pub fn reads_events(&self) -> bool {
        self.form == Form::Events
    }

    /// Takes in the next piece of an answer that is no stream.
    pub fn read(&mut self, piece: &[u8], memo: &mut Memo) {
        let Self { form, scan, report } = self;
        match form {
            Form::Json => read_answer(piece, scan, report, memo),
            Form::Words => report.text(piece),
            Form::Events => {}
        }
    }

    /// Takes in the next part of a stream.
    pub fn part(&mut self, part: &Part<'_>, memo: &mut Memo) {
        let Self { scan, report, .. } = self;
        match part {
            Part::Data(data) => scan.push(data, report, memo),
            Part::NewLine => scan.push(b"\n", report, memo),
            Part::Name(name) if is_sound(name) => report.kind(name),
            Part::Event(_) => {
                scan.restart();
                report.end_event();
            }
            Part::Name(_) | Part::Large { .. } | Part::LineFeed => {}
        }
    }

    /// What the deployment itself has reported, its last word: `None` where it has not, where its report can't be trusted,
    /// and where output has come since.
    pub fn usage(&self) -> Option<Usage> {
        self.report.usage(self.reads_events())
    }

    /// Whether a report was there that could not be believed.
    pub fn was_disbelieved(&self) -> bool {
        self.report.was_disbelieved()
    }

    /// Whether the answer says that the work goes on, and what it will use is not known yet.
    pub fn is_unfinished(&self) -> bool {
        self.report.is_unfinished()
    }

    /// What has passed so far: whatever the deployment has reported, and of the rest an estimate. `input` is the prompt's,
    /// for the case that it has not reported any.
    pub fn estimate(&self, input: u64) -> Usage {
        self.report.estimate(input)
    }
}

/// Reads more of an answer that is no stream. To weigh its output takes ten times as long as all the rest, and is for
/// nothing where its report comes in the same piece, as in most: so it is left out at first.
fn read_answer(piece: &[u8], scan: &mut Scan, report: &mut Report, memo: &mut Memo) {
    let before = (scan.clone(), report.clone());
    report.withhold();
    scan.push(piece, report, memo);
    if report.lacks_output() {
        (*scan, *report) = before;
        scan.push(piece, report, memo);
    }
}

/// How an answer that is no stream is read.
fn plain(operation: Operation, headers: &HeaderMap) -> Option<Form> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return Some(Form::Json);
    };
    let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    let is_heard = matches!(
        operation,
        Operation::AudioTranscriptions | Operation::AudioTranslations
    );
    match kind {
        kind if kind.contains("json") => Some(Form::Json),
        kind if is_heard && (kind.starts_with("text/") || kind.contains("subrip")) => {
            Some(Form::Words)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
