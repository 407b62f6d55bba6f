//! Where the members of the outermost object stand that matter of a body which is here as a whole.

use std::ops::Range;

/// What they are called, but for the model, which the scan itself finds.
const NAMES: [&str; 11] = [
    "stream",
    "background",
    "conversation",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
    "best_of",
    "stream_options",
    "data_sources",
    "dataSources",
];

/// Reads along with a scan.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    found: Vec<(&'static str, Range<usize>)>,
    /// The one whose value is read, or due.
    due: Option<&'static str>,
    start: usize,
    /// A name was too long to be read, or stands twice.
    is_unsure: bool,
}

impl Members {
    pub(super) fn key(&mut self, key: &str) {
        self.due = NAMES.into_iter().find(|name| *name == key);
        self.is_unsure |= self.due.is_some_and(|name| self.place(name).is_some());
    }

    pub(super) fn long_key(&mut self) {
        self.is_unsure = true;
    }

    pub(super) fn begin_value(&mut self, at: usize) {
        self.start = at;
    }

    /// Behind a value, and the space that may follow it.
    pub(super) fn end_value(&mut self, at: usize) {
        if let Some(name) = self.due.take() {
            self.found.push((name, self.start..at));
        }
    }

    /// Where each one's value stands; `None`: that can't be said for sure, or a value is no text.
    pub(super) fn places(mut self, body: &[u8]) -> Option<Self> {
        for (_, at) in &mut self.found {
            let value = body.get(at.clone())?.trim_ascii_end();
            std::str::from_utf8(value).ok()?;
            at.end = at.start + value.len();
        }
        (!self.is_unsure).then_some(self)
    }

    pub(super) fn place(&self, name: &str) -> Option<Range<usize>> {
        let mut found = self.found.iter();
        let (_, at) = found.find(|(found, _)| *found == name)?;
        Some(at.clone())
    }
}
