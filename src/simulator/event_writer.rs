//! The events of a streamed answer: who writes them, and what each counts as.

use super::{faults::StreamError, recorder::Spent};

/// One event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// Part of the frame around the output: sent without waiting.
    Frame,
    /// Output: waits its turn, and counts as so many tokens.
    Output(u64),
    /// What is counted before the first word: tokens thought, and tokens spoken beside what is written.
    Before { thought: u64, spoken: u64 },
}

impl EventKind {
    /// What it counts as.
    pub(crate) fn spent(self) -> Spent {
        match self {
            Self::Frame => Spent::default(),
            Self::Output(completion_tokens) => Spent {
                completion_tokens,
                ..Spent::default()
            },
            Self::Before { thought, spoken } => Spent {
                completion_tokens: thought + spoken,
                reasoning_tokens: thought,
                audio_completion_tokens: spoken,
                ..Spent::default()
            },
        }
    }
}

/// A stream's events, each worked out when its turn comes.
pub(crate) trait EventWriter: Send {
    /// Writes the event of that number, closing blank line included; `None` after the last.
    fn event(&mut self, at: usize, out: &mut Vec<u8>) -> Option<EventKind>;
    /// An error in mid-stream as this API says it, without its closing blank line.
    fn error_event(&self, error: &StreamError) -> String;
}
