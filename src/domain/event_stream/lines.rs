//! The lines of a stream, as they come: fields, their values, and where an event ends.

use std::{mem, ops::Range};

use memchr::memchr2;

use super::event::Part;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// The longest beginning of a line that matters: a byte order mark and a field's name.
const LONGEST: usize = 3 + "event".len();
/// The longest event's name that is kept.
pub(super) const LONGEST_NAME: usize = 48;

/// How far a stream has been read.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    line: Line,
    /// The last byte was a CR: a LF that follows belongs to it.
    after_cr: bool,
    /// The last line end that is known was CR and LF.
    is_crlf: bool,
    /// A line has come: a byte order mark has its place before the first only.
    has_begun: bool,
    /// An event has come.
    has_event: bool,
    /// The last line was empty, and had another one before it.
    is_behind_event: bool,
    /// The beginning of the line.
    field: Text<LONGEST>,
    name: Text<LONGEST_NAME>,
    /// How much of the event came before the piece being read.
    before: usize,
    /// Where in the event its first line of data stands.
    data: Range<usize>,
    lines_of_data: usize,
    is_odd: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    /// Its field is not known yet.
    #[default]
    Field,
    /// A field whose value has not begun: one space in front of it is not part of it.
    Value {
        is_data: bool,
    },
    Data,
    Name,
    /// A comment or another field.
    Other,
}

/// What is known of an event when it has ended.
pub(super) struct Ended {
    pub(super) data: Range<usize>,
    pub(super) lines_of_data: usize,
    pub(super) is_odd: bool,
    is_first: bool,
}

impl Ended {
    /// Its lines of data, joined.
    pub(super) fn joined(&self, raw: &[u8]) -> Vec<u8> {
        let mut data = Vec::with_capacity(raw.len());
        let mut join = |part: Part<'_>| match part {
            Part::Data(more) => data.extend_from_slice(more),
            Part::NewLine => data.push(b'\n'),
            _ => {}
        };
        let mut lines = Lines {
            has_begun: !self.is_first,
            ..Lines::default()
        };
        if lines.read(raw, &mut join).is_none() {
            lines.finish(&mut join);
        }
        data
    }
}

impl Lines {
    /// Reads on to the end of the event under way: gives how much that is, if its end is in here.
    pub(super) fn read(&mut self, piece: &[u8], take: &mut impl FnMut(Part<'_>)) -> Option<usize> {
        let mut at = 0;
        if let (true, Some(first)) = (self.after_cr, piece.first()) {
            (self.after_cr, self.is_crlf) = (false, *first == b'\n');
            at = usize::from(self.is_crlf);
        }
        while at < piece.len() {
            let rest = &piece[at..];
            let end = memchr2(b'\n', b'\r', rest);
            let length = end.unwrap_or(rest.len());
            self.part(&rest[..length], self.before + at, take);
            at += length;
            if end.is_none() {
                break;
            }
            let is_blank = self.end_line(self.before + at, take);
            at += self.line_end(&piece[at..]);
            if is_blank {
                return Some(at);
            }
        }
        self.before += piece.len();
        None
    }

    /// How long the line end is that stands here.
    fn line_end(&mut self, rest: &[u8]) -> usize {
        match rest {
            [b'\r'] => self.after_cr = true,
            _ => self.is_crlf = rest.starts_with(b"\r\n"),
        }
        1 + usize::from(rest.starts_with(b"\r\n"))
    }

    /// More of one line, which begins at this place in its event.
    fn part(&mut self, mut part: &[u8], mut at: usize, take: &mut impl FnMut(Part<'_>)) {
        while let Some(first) = part.first() {
            match self.line {
                Line::Field => {
                    self.begin(*first, take);
                    (part, at) = (&part[1..], at + 1);
                }
                Line::Value { is_data } => {
                    self.line = if is_data { Line::Data } else { Line::Name };
                    let value = part.strip_prefix(b" ").unwrap_or(part);
                    at += part.len() - value.len();
                    part = value;
                    self.note_data(at);
                }
                Line::Data => return take(Part::Data(part)),
                Line::Name => return self.name.add(part),
                Line::Other => return,
            }
        }
    }

    /// One byte of a field's name, or the colon behind it.
    fn begin(&mut self, byte: u8, take: &mut impl FnMut(Part<'_>)) {
        if byte != b':' {
            if self.field.is_full() {
                (self.line, self.is_odd) = (Line::Other, true);
            }
            return self.field.add(&[byte]);
        }
        self.line = match self.field() {
            b"data" => Line::Value { is_data: true },
            b"event" => Line::Value { is_data: false },
            field => {
                self.is_odd |= !is_known(field);
                Line::Other
            }
        };
        self.begin_value(take);
    }

    fn begin_value(&mut self, take: &mut impl FnMut(Part<'_>)) {
        match self.line {
            Line::Value { is_data: true } => {
                if self.lines_of_data > 0 {
                    take(Part::NewLine);
                }
                self.lines_of_data += 1;
            }
            Line::Value { is_data: false } => self.name.length = 0,
            _ => {}
        }
    }

    /// The first line of data begins here, if it is one.
    fn note_data(&mut self, at: usize) {
        if self.line == Line::Data && self.lines_of_data == 1 {
            self.data = at..at;
        }
    }

    fn field(&self) -> &[u8] {
        let field = self.field.bytes();
        match self.has_begun {
            true => field,
            false => field.strip_prefix(BYTE_ORDER_MARK).unwrap_or(field),
        }
    }

    /// A line ends at this place in its event. Whether it was empty, so that the event ends with it.
    fn end_line(&mut self, at: usize, take: &mut impl FnMut(Part<'_>)) -> bool {
        let mut is_blank = false;
        if self.line == Line::Field {
            match self.field() {
                b"" => is_blank = true,
                b"data" => self.line = Line::Value { is_data: true },
                b"event" => self.line = Line::Value { is_data: false },
                field => self.is_odd |= !is_known(field),
            }
            self.begin_value(take);
        }
        match self.line {
            Line::Data if self.lines_of_data == 1 => self.data.end = at,
            Line::Value { is_data: true } if self.lines_of_data == 1 => self.data = at..at,
            Line::Name => take(Part::Name(self.name.bytes())),
            _ => {}
        }
        self.is_behind_event = is_blank && self.has_begun;
        (self.line, self.field.length, self.has_begun) = (Line::Field, 0, true);
        is_blank
    }

    /// The stream is over: what has come of a line is all of it.
    pub(super) fn finish(&mut self, take: &mut impl FnMut(Part<'_>)) {
        self.after_cr = false;
        if self.line != Line::Field || self.field.length > 0 {
            self.end_line(self.before, take);
        }
    }

    /// The event under way is over, and another one begins.
    pub(super) fn end_event(&mut self) -> Ended {
        self.before = 0;
        Ended {
            is_first: !mem::replace(&mut self.has_event, true),
            data: mem::take(&mut self.data),
            lines_of_data: mem::take(&mut self.lines_of_data),
            is_odd: mem::take(&mut self.is_odd),
        }
    }

    /// An event has passed that ended with two LFs.
    pub(super) fn skip_event(&mut self) {
        (self.has_begun, self.has_event, self.is_behind_event) = (true, true, true);
        (self.after_cr, self.is_crlf) = (false, false);
    }

    /// Whether nothing has come, or an event last, with all that belongs to its end.
    pub(super) fn is_between_events(&self) -> bool {
        (self.is_behind_event || !self.has_begun) && !self.wants_line_feed()
    }

    /// Takes the LF that belongs to the CR which was the last byte, where that is it.
    pub(super) fn take_line_feed(&mut self, first: Option<&u8>) -> bool {
        let is_it = self.after_cr && first == Some(&b'\n');
        if is_it {
            (self.after_cr, self.is_crlf) = (false, true);
        }
        is_it
    }

    /// Whether a LF is due, to end the line as the one before it ended.
    pub(super) fn wants_line_feed(&self) -> bool {
        self.after_cr && self.is_crlf
    }

    /// The name of the event under way, or of the one that has just ended.
    pub(super) fn name(&self) -> &[u8] {
        self.name.bytes()
    }

    pub(super) fn forget_name(&mut self) {
        self.name.length = 0;
    }
}

/// Whether it is the name of a field that says nothing here; a comment has none.
fn is_known(field: &[u8]) -> bool {
    matches!(field, b"" | b"id" | b"retry")
}

/// A short text, as far as it has come; of a longer one its beginning.
#[derive(Clone, Debug)]
struct Text<const MOST: usize> {
    bytes: [u8; MOST],
    length: u8,
}

impl<const MOST: usize> Default for Text<MOST> {
    fn default() -> Self {
        let bytes = [0; MOST];
        Self { bytes, length: 0 }
    }
}

impl<const MOST: usize> Text<MOST> {
    fn add(&mut self, more: &[u8]) {
        let room = &mut self.bytes[usize::from(self.length)..];
        let kept = more.len().min(room.len());
        room[..kept].copy_from_slice(&more[..kept]);
        self.length += kept as u8;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn is_full(&self) -> bool {
        usize::from(self.length) == MOST
    }
}
