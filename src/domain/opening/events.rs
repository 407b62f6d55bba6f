//! Splits a stream into its events as server-sent events are defined: lines end with LF, CRLF or CR, an event with an
//! empty line. Pieces may be cut anywhere, also inside a character or between CR and LF.

use std::sync::LazyLock;

use memchr::{memchr, memchr2, memmem::Finder};

/// The largest event that is read; of a larger one only its name is, and its end is looked for.
const LARGEST: usize = 64 << 10;
/// The largest buffer that is kept from one event to the next.
const KEPT: usize = 4 << 10;

static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("error"));
static FAILED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("response.failed"));

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One event, whole.
pub(super) struct Event<'a> {
    /// Empty where it has none.
    pub(super) name: &'a [u8],
    /// Its data lines, joined; empty where it is too large to be read.
    pub(super) data: &'a [u8],
    /// A line of it is of no kind that events have.
    pub(super) is_odd: bool,
    /// Its data were not kept.
    pub(super) is_too_large: bool,
    /// The stream ended before its empty line.
    pub(super) is_unended: bool,
}

/// What has come of the event that is not whole yet. The buffers are used again for each.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The line that is not whole yet.
    line: Vec<u8>,
    /// The last byte was a CR: a LF that follows belongs to it.
    after_cr: bool,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    is_odd: bool,
    is_too_large: bool,
    /// Nothing more comes.
    is_at_end: bool,
    /// A line has come: a byte order mark has its place before the first only.
    has_begun: bool,
}

impl Event<'_> {
    /// Whether reading it closely is worth while for one who looks for errors, in a chat or elsewhere.
    pub(super) fn may_be_error(&self, is_chat: bool) -> bool {
        self.name == b"error"
            || self.name == b"response.failed"
            || ERROR.find(self.data).is_some()
            || !is_chat && FAILED.find(self.data).is_some()
    }
}

impl Events {
    /// Takes in the next piece and gives each event that it makes whole; at the `end` also one without its empty line.
    pub(super) fn read(&mut self, piece: &[u8], end: bool, mut take: impl FnMut(Event<'_>)) {
        let mut rest = piece;
        if let (true, Some(first)) = (self.after_cr, piece.first()) {
            self.after_cr = false;
            if *first == b'\n' {
                rest = &piece[1..];
            }
        }
        loop {
            if self.is_between() {
                rest = skim(rest, &mut take);
            }
            let Some(at) = memchr2(b'\n', b'\r', rest) else {
                break;
            };
            let (line, after) = (&rest[..at], &rest[at + 1..]);
            rest = after;
            if piece[piece.len() - after.len() - 1] == b'\r' {
                self.after_cr = after.is_empty();
                rest = after.strip_prefix(b"\n").unwrap_or(after);
            }
            self.end_line(line, &mut take);
        }
        self.keep(rest);
        if end {
            // What still comes of an event came without its end.
            self.is_at_end = true;
            self.end_line(b"", &mut take);
            self.end_event(&mut take);
        }
    }

    /// Whether nothing has come of the next event, and something of the stream.
    fn is_between(&self) -> bool {
        let is_new = self.line.is_empty() && self.name.is_empty() && !self.has_data;
        is_new && self.has_begun && !self.is_odd && !self.is_too_large
    }

    /// Keeps the beginning of a line.
    fn keep(&mut self, part: &[u8]) {
        let room = LARGEST.saturating_sub(self.line.len());
        self.is_too_large |= part.len() > room;
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn end_line(&mut self, line: &[u8], take: &mut impl FnMut(Event<'_>)) {
        if self.line.is_empty() {
            return self.take_line(line, take);
        }
        self.keep(line);
        let mut whole = std::mem::take(&mut self.line);
        self.take_line(&whole, take);
        empty(&mut whole);
        self.line = whole;
    }

    fn take_line(&mut self, line: &[u8], take: &mut impl FnMut(Event<'_>)) {
        let line = match std::mem::replace(&mut self.has_begun, true) {
            true => line,
            false => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line),
        };
        if line.is_empty() {
            return self.end_event(take);
        }
        let (field, value) = match memchr(b':', line) {
            // A comment.
            Some(0) => return,
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => self.add_data(value),
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            b"id" | b"retry" => {}
            _ => self.is_odd = true,
        }
    }

    fn add_data(&mut self, value: &[u8]) {
        if self.data.len() + value.len() > LARGEST {
            self.is_too_large = true;
            return;
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
    }

    fn end_event(&mut self, take: &mut impl FnMut(Event<'_>)) {
        if self.is_too_large {
            self.data.clear();
            self.is_odd = false;
        }
        if self.is_too_large || self.has_data || self.is_odd {
            take(Event {
                name: &self.name,
                data: &self.data,
                is_odd: self.is_odd,
                is_too_large: self.is_too_large,
                is_unended: self.is_at_end,
            });
        }
        empty(&mut self.name);
        empty(&mut self.data);
        (self.has_data, self.is_odd, self.is_too_large) = (false, false, false);
    }
}

/// Gives whole events of the usual form where they stand. What is left begins with another.
fn skim<'a>(mut piece: &'a [u8], take: &mut impl FnMut(Event<'_>)) -> &'a [u8] {
    while let Some((event, rest)) = usual(piece) {
        take(event);
        piece = rest;
    }
    piece
}

/// An event of one line of data, under its name or without one, and what is behind it.
fn usual(piece: &[u8]) -> Option<(Event<'_>, &[u8])> {
    let line = |piece| Some(<[u8]>::split_at(piece, memchr2(b'\n', b'\r', piece)?));
    let (name, rest) = match piece.strip_prefix(b"event: ") {
        Some(named) => {
            line(named).and_then(|(name, end)| Some((name, end.strip_prefix(b"\n")?)))?
        }
        None => (&b""[..], piece),
    };
    let (data, end) = line(rest.strip_prefix(b"data: ")?)?;
    let rest = end.strip_prefix(b"\n\n")?;
    let event = Event {
        name,
        data,
        is_odd: false,
        is_too_large: false,
        is_unended: false,
    };
    (data.len() <= LARGEST).then_some((event, rest))
}

/// Empties a buffer, and gives back what a large event took: most are small, and there are many streams.
fn empty(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > KEPT {
        *buffer = Vec::new();
    }
}
