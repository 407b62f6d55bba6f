//! What a stream is made of.

use std::ops::Range;

/// What a piece of a stream shows, in order.
pub enum Part<'a> {
    /// A line that names the event: it stands before or behind its data.
    Name(&'a [u8]),
    /// More of an event's data.
    Data(&'a [u8]),
    /// The line end between two of its lines of data.
    NewLine,
    /// An event is over. Its data have been shown.
    Event(Event<'a>),
    /// More of an event that is too large to be held: what was held of it so far, and where in the piece the rest stands.
    Large { held: &'a [u8], at: Range<usize> },
    /// The LF of a line end whose CR was the end of the last event, and of the last piece.
    LineFeed,
}

/// One event, whole.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// All of it, with its line ends; empty where it was too large to be held.
    pub raw: &'a [u8],
    /// Where that begins in the piece, if all of it stands there.
    pub(super) at: Option<usize>,
    /// Empty where it has none. Of a longer one the beginning.
    pub name: &'a [u8],
    /// Its lines of data, joined; empty where it is too large.
    pub data: &'a [u8],
    /// Where its data begin in `raw`, if they stand there in one line.
    pub(super) data_at: Option<usize>,
    pub has_data: bool,
    /// A line of it is of no kind that events have.
    pub is_odd: bool,
    /// Its data were not kept.
    pub is_too_large: bool,
    /// The stream ended before its empty line.
    pub is_unended: bool,
}

impl Event<'_> {
    /// Whether there is anything in it but comments and its name.
    pub fn says_something(&self) -> bool {
        self.has_data || self.is_odd || self.is_too_large
    }

    /// Where a part of its data stands in all of it. `None`: the data are not in one line.
    pub fn place_of(&self, part: Range<usize>) -> Option<Range<usize>> {
        let at = self.data_at?;
        Some(at + part.start..at + part.end)
    }
}
