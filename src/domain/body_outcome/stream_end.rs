//! Whether a stream has come to its own end: a transfer that ends well may have been cut off all the same, by something
//! between us and the model, and most clients take any clean end for a whole answer (wire facts: How clients read streams).

use std::{borrow::Cow, sync::LazyLock};

use memchr::memmem::Finder;
use serde::{Deserialize, de::IgnoredAny};

use super::event_meaning::{Form, Meaning, meaning};
use crate::domain::event_stream::Event;

const FINISH: &[u8] = br#""finish_reason""#;

static FINISHES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(FINISH));

/// What ends the answers whose events have types.
const LAST: [&[u8]; 6] = [
    b"response.completed",
    b"response.incomplete",
    b"transcript.text.done",
    b"speech.audio.done",
    b"image_generation.completed",
    b"image_edit.completed",
];
/// How far a stream's end has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StreamEnd {
    form: Form,
    /// How far before its end a chunk of a chat said last that its answer is not finished. One writer writes all of them, so
    /// that most say it there.
    unfinished: usize,
    /// Something came that is no event as we know them.
    pub(super) is_odd: bool,
    is_whole: bool,
    /// The model has finished, or may have, and has said nothing since.
    is_finished: bool,
    /// It ended inside an event.
    is_cut: bool,
}

impl StreamEnd {
    /// What form an event has shown the stream to be of.
    pub(super) fn take_form(&mut self, form: Form) {
        if self.form == Form::Unknown {
            self.form = form;
        }
    }

    pub(super) fn is_chat(&self) -> bool {
        self.form == Form::Chat
    }

    /// Takes note of an event.
    pub(super) fn see(&mut self, event: &Event<'_>) {
        let is_named_last = !event.name.is_empty() && LAST.contains(&event.name);
        if event.data == b"[DONE]" || is_named_last {
            self.is_whole = true;
            return;
        }
        match self.form {
            Form::Chat => self.see_chat(event),
            // What is too large to be read may be the last: a transcript with all that is known of its words.
            Form::Typed if event.name.is_empty() => {
                self.is_finished = event.is_too_large;
                self.is_whole |= is_last(event.data);
            }
            Form::Typed | Form::Unknown => {}
        }
        if event.is_unended {
            self.is_cut = !is_json(event.data);
        }
    }

    fn see_chat(&mut self, event: &Event<'_>) {
        if self.gives_reason(event.data) {
            self.is_finished = true;
        } else if self.is_finished {
            // Of several answers one may be finished and another go on; what is only said about one is no more of it.
            self.is_finished = !is_output(event);
        }
    }

    /// Whether a chunk says why an answer is finished.
    fn gives_reason(&mut self, data: &[u8]) -> bool {
        let usual = data.len().saturating_sub(self.unfinished);
        if is_unfinished(&data[usual..]) && FINISHES.find(&data[..usual]).is_none() {
            return false;
        }
        for at in FINISHES.find_iter(data) {
            if is_finished(&data[at..]) {
                return true;
            }
            self.unfinished = data.len() - at;
        }
        false
    }

    /// Whether nothing is missing if only the transfer's end is.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether the stream may end here.
    pub(super) fn may_end(&self) -> bool {
        self.is_whole
            || match self.form {
                Form::Unknown => self.is_odd || !self.is_cut,
                Form::Chat => self.is_finished && !self.is_cut,
                Form::Typed => self.is_finished && !self.is_cut,
            }
    }
}

/// Whether this member, written as usual, says that an answer is not finished.
fn is_unfinished(member: &[u8]) -> bool {
    let value = member.strip_prefix(FINISH).unwrap_or_default();
    value.starts_with(b":null") || value.starts_with(b": null")
}

/// Whether this member, however it is written, says why an answer is finished.
fn is_finished(member: &[u8]) -> bool {
    let mut value = member[FINISH.len()..]
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace());
    value.next() == Some(&b':') && value.next() == Some(&b'"')
}

// What follows takes much of the stack, and most events need none of it.

#[inline(never)]
fn is_output(event: &Event<'_>) -> bool {
    matches!(meaning(event).0, Meaning::Output)
}

#[inline(never)]
fn is_json(data: &[u8]) -> bool {
    let value: Result<IgnoredAny, _> = serde_json::from_slice(data);
    value.is_ok()
}

/// Whether an event without a name says by its type that it is the last one.
#[inline(never)]
fn is_last(data: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    let typed: Result<Typed<'_>, _> = serde_json::from_slice(data);
    typed.is_ok_and(|typed| LAST.contains(&typed.kind.as_bytes()))
}
