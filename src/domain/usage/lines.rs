//! Finds the data of a stream's events without keeping any of it, so that an event may be of any size. Lines end with
//! LF, CRLF or CR, an event with an empty line; pieces may be cut anywhere.

use memchr::memchr2;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// The longest beginning that matters: a byte order mark and a field's name.
const LONGEST: usize = 3 + "event".len();
/// The longest event's name that is kept.
const LONGEST_NAME: usize = 48;

/// What a piece of a stream is made of.
pub(super) enum Part<'a> {
    /// More of an event's data.
    Data(&'a [u8]),
    /// The end of one of its lines.
    LineEnd,
    /// An event's name.
    Name(&'a [u8]),
    EventEnd,
}

/// How far a stream has been read.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    line: Line,
    /// The last byte was a CR: a LF that follows belongs to it.
    after_cr: bool,
    /// The beginning of the line, or the event's name, as far as it has come.
    word: [u8; LONGEST_NAME],
    length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Its field is not known yet.
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

impl Default for Lines {
    fn default() -> Self {
        Self {
            line: Line::Field,
            after_cr: false,
            word: [0; LONGEST_NAME],
            length: 0,
        }
    }
}

impl Lines {
    /// Takes in the next piece and gives what it is made of.
    pub(super) fn read(&mut self, piece: &[u8], mut take: impl FnMut(Part<'_>)) {
        let mut rest = piece;
        while let Some(first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            if let (Line::Field, 0) = (self.line, self.length)
                && let Some((line, value)) = usual(rest)
            {
                (self.line, rest) = (line, value);
                continue;
            }
            let end = memchr2(b'\n', b'\r', rest);
            self.part(&rest[..end.unwrap_or(rest.len())], &mut take);
            let Some(end) = end else { return };
            self.end_line(&mut take);
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
        }
    }

    /// More of one line.
    fn part(&mut self, mut part: &[u8], take: &mut impl FnMut(Part<'_>)) {
        while let Some(first) = part.first() {
            match self.line {
                Line::Field => {
                    self.begin(*first);
                    part = &part[1..];
                }
                Line::Value { is_data } => {
                    self.line = if is_data { Line::Data } else { Line::Name };
                    part = part.strip_prefix(b" ").unwrap_or(part);
                }
                Line::Data => return take(Part::Data(part)),
                Line::Name => return self.keep(part),
                Line::Other => return,
            }
        }
    }

    /// One byte of a field's name, or the colon behind it.
    fn begin(&mut self, byte: u8) {
        if byte != b':' {
            self.keep(&[byte]);
            if self.length > LONGEST {
                self.line = Line::Other;
            }
            return;
        }
        let field = &self.word[..self.length];
        self.line = match field.strip_prefix(BYTE_ORDER_MARK).unwrap_or(field) {
            b"data" => Line::Value { is_data: true },
            b"event" => Line::Value { is_data: false },
            _ => Line::Other,
        };
        self.length = 0;
    }

    fn keep(&mut self, part: &[u8]) {
        let room = &mut self.word[self.length..];
        let kept = part.len().min(room.len());
        room[..kept].copy_from_slice(&part[..kept]);
        self.length += kept;
    }

    fn end_line(&mut self, take: &mut impl FnMut(Part<'_>)) {
        match self.line {
            Line::Field if self.length == 0 => take(Part::EventEnd),
            Line::Data => take(Part::LineEnd),
            Line::Name => take(Part::Name(&self.word[..self.length])),
            Line::Field | Line::Value { .. } | Line::Other => {}
        }
        (self.line, self.length) = (Line::Field, 0);
    }
}

/// What a line is that begins as most do, and its value as far as it has come.
fn usual(rest: &[u8]) -> Option<(Line, &[u8])> {
    let data = rest.strip_prefix(b"data: ").map(|data| (Line::Data, data));
    data.or_else(|| Some((Line::Name, rest.strip_prefix(b"event: ")?)))
}
