//! Takes out of a chat's stream what is in it only because the gateway asked for usage where its client did not: the
//! chunk with the usage, and the `"usage":null` of the others (AZURE.md 10). All else goes out byte for byte, and no
//! event later than when it is whole.
//!
//! Usage that comes beside output stays: some servers say it there whether they were asked or not.

use std::{borrow::Cow, ops::Range, sync::LazyLock};

use bytes::Bytes;
use memchr::{memchr2, memmem::Finder, memrchr};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The largest event that is held until it is whole; a larger one passes as it comes.
const LARGEST: usize = 64 << 10;
/// A buffer of no more bytes than this is kept for the next event.
pub const KEPT: usize = 320;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// How Azure ends each chunk but the one with the usage.
const NO_USAGE: &[u8] = br#","usage":null}"#;

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("usage"));

/// One stream on its way.
#[derive(Debug, Default)]
pub struct Trim {
    /// What has come of the event that is not whole yet.
    held: Vec<u8>,
    /// Something of the present line has come.
    in_line: bool,
    /// The last byte was a CR: a LF that follows belongs to it.
    after_cr: bool,
    /// The event under way is too large to be held.
    passes: bool,
    /// The last whole event was taken out.
    was_dropped: bool,
}

impl Trim {
    /// Takes in the next piece, and gives what goes out now. Of a piece in which nothing is changed no byte is copied.
    pub fn pass(&mut self, piece: Bytes, end: bool) -> Bytes {
        let mut out = Out::new(&piece);
        let mut from = 0;
        if self.after_cr && self.is_between() && piece.first() == Some(&b'\n') {
            // Of the line end that made the last event whole.
            self.after_cr = false;
            from = 1;
            if !self.was_dropped {
                out.add(0..1);
            }
        }
        while let Some((length, is_one_line)) = self.event_end(&piece[from..]) {
            let event = from..from + length;
            from = event.end;
            if std::mem::take(&mut self.passes) {
                out.add(event);
                self.was_dropped = false;
            } else if self.held.is_empty() {
                self.was_dropped = put(&piece[event.clone()], is_one_line, |kept| {
                    out.add(event.start + kept.start..event.start + kept.end);
                });
            } else {
                self.held.extend_from_slice(&piece[event]);
                self.put_held(&mut out);
            }
        }
        self.keep(&piece, from, &mut out);
        if end {
            self.put_held(&mut out);
        }
        out.take()
    }

    /// Whether an event has not begun yet.
    fn is_between(&self) -> bool {
        self.held.is_empty() && !self.passes && !self.in_line
    }

    fn keep(&mut self, piece: &Bytes, from: usize, out: &mut Out<'_>) {
        let rest = &piece[from..];
        if !self.passes && self.held.len() + rest.len() > LARGEST {
            out.copy(&self.held);
            self.held = Vec::new();
            self.passes = true;
        }
        match self.passes {
            true => out.add(from..piece.len()),
            false => self.held.extend_from_slice(rest),
        }
    }

    fn put_held(&mut self, out: &mut Out<'_>) {
        let held = std::mem::take(&mut self.held);
        self.was_dropped = put(&held, is_one_line(&held), |kept| out.copy(&held[kept]));
        if held.capacity() <= KEPT {
            self.held = held;
            self.held.clear();
        }
    }

    /// Just behind the end of the event under way, if that is in here, and whether no more than one line of it is.
    fn event_end(&mut self, bytes: &[u8]) -> Option<(usize, bool)> {
        let (mut at, mut lines) = (0, 0);
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            at = usize::from(bytes[0] == b'\n');
        }
        while let Some(length) = line_length(&bytes[at..]) {
            let is_empty = length == 0 && !self.in_line;
            let is_cr = bytes[at + length] == b'\r';
            at += length + 1;
            self.in_line = false;
            if is_cr {
                self.after_cr = at == bytes.len();
                at += usize::from(bytes.get(at) == Some(&b'\n'));
            }
            if is_empty {
                return Some((at, lines < 2));
            }
            lines += 1;
        }
        self.in_line |= at < bytes.len();
        None
    }
}

/// What goes out of a piece: a part of it as it is, as long as that will do.
struct Out<'a> {
    piece: &'a Bytes,
    part: Range<usize>,
    copied: Option<Vec<u8>>,
}

impl<'a> Out<'a> {
    fn new(piece: &'a Bytes) -> Self {
        Self {
            piece,
            part: 0..0,
            copied: None,
        }
    }

    /// A part of the piece itself.
    fn add(&mut self, part: Range<usize>) {
        if part.is_empty() {
            return;
        }
        match &mut self.copied {
            Some(copied) => copied.extend_from_slice(&self.piece[part]),
            None if self.part.is_empty() => self.part = part,
            None if self.part.end == part.start => self.part.end = part.end,
            None => {
                // Where all the rest goes out, that is exactly enough.
                let (piece, room) = (self.piece, self.piece.len() - part.start);
                self.copied(room).extend_from_slice(&piece[part]);
            }
        }
    }

    fn copy(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let room = self.piece.len() + bytes.len();
            self.copied(room).extend_from_slice(bytes);
        }
    }

    /// What goes out so far, copied, with room for more.
    fn copied(&mut self, room: usize) -> &mut Vec<u8> {
        self.copied.get_or_insert_with(|| {
            let mut copied = Vec::with_capacity(self.part.len() + room);
            copied.extend_from_slice(&self.piece[self.part.clone()]);
            copied
        })
    }

    fn take(self) -> Bytes {
        match self.copied {
            Some(copied) => copied.into(),
            None => self.piece.slice(self.part),
        }
    }
}

/// Puts out what of a whole event is to go out, in one or more parts. Whether nothing of its data is.
fn put(event: &[u8], is_one_line: bool, mut out: impl FnMut(Range<usize>)) -> bool {
    let mut without = |cut: Range<usize>| {
        out(0..cut.start);
        out(cut.end..event.len());
    };
    if let Some(cut) = no_usage_at_its_end(event).filter(|_| is_one_line) {
        without(cut);
        return false;
    }
    if USAGE.find(event).is_none() {
        out(0..event.len());
        return false;
    }
    let data = Data::of(event);
    let chunk: Option<Chunk<'_>> = serde_json::from_slice(&data.text).ok();
    let usage = chunk.as_ref().and_then(|chunk| chunk.usage);
    let (Some(chunk), Some(usage)) = (chunk, usage) else {
        out(0..event.len());
        return false;
    };
    let is_null = usage.get() == "null";
    let is_empty = chunk.choices.is_some_and(is_empty_array);
    match (is_null, is_empty) {
        (false, true) if chunk.prompt_filter_results.is_none() => {
            comments(event).for_each(out);
            return true;
        }
        (false, false) => out(0..event.len()),
        (true, _) | (false, true) => match data.place_of_member(usage) {
            Some(cut) => without(cut),
            None => out(0..event.len()),
        },
    }
    false
}

/// In a whole JSON text, in one line, that ends so it can be nothing but the outermost object's last member.
fn no_usage_at_its_end(event: &[u8]) -> Option<Range<usize>> {
    let line = event.trim_ascii_end();
    let is_it = line.ends_with(NO_USAGE) && line.starts_with(b"data:");
    is_it.then(|| line.len() - NO_USAGE.len()..line.len() - 1)
}

fn is_one_line(event: &[u8]) -> bool {
    memchr2(b'\n', b'\r', event.trim_ascii_end()).is_none()
}

/// Up to where the line's end begins: at once, as a rule, where the one before has just been found.
fn line_length(bytes: &[u8]) -> Option<usize> {
    match bytes.first() {
        Some(b'\n') => Some(0),
        _ => memchr2(b'\n', b'\r', bytes),
    }
}

/// What of a chunk says what to do with it.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    choices: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "said")]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prompt_filter_results: Option<&'a RawValue>,
}

/// A member that is there, be it `null`.
fn said<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

fn is_empty_array(value: &RawValue) -> bool {
    let inside = value.get().strip_prefix('[');
    inside.is_some_and(|inside| inside.trim_ascii_start() == "]")
}

/// An event's data.
struct Data<'a> {
    text: Cow<'a, [u8]>,
    /// Where it stands in the event, if it is one line.
    at: Option<usize>,
}

impl<'a> Data<'a> {
    fn of(event: &'a [u8]) -> Self {
        let mut values = lines(event).filter_map(|line| {
            let start = match event[line.clone()].starts_with(BYTE_ORDER_MARK) {
                true => line.start + BYTE_ORDER_MARK.len(),
                false => line.start,
            };
            let value = event[start..line.end].strip_prefix(b"data:")?;
            let value = value.strip_prefix(b" ").unwrap_or(value);
            Some(line.end - value.len()..line.end)
        });
        let first = values.next().unwrap_or_default();
        let mut text = Cow::Borrowed(&event[first.clone()]);
        let mut at = Some(first.start);
        for more in values {
            let text = text.to_mut();
            text.push(b'\n');
            text.extend_from_slice(&event[more]);
            at = None;
        }
        Self { text, at }
    }

    /// Where a member stands in the event, with one of the commas beside it, by its value. `None`: not in one piece.
    fn place_of_member(&self, value: &RawValue) -> Option<Range<usize>> {
        let text = &self.text;
        let value_start = value.get().as_ptr() as usize - text.as_ptr() as usize;
        let end = value_start + value.get().len();
        let before = |end: usize| text[..end].trim_ascii_end();
        let colon = before(value_start).strip_suffix(b":")?;
        let name = before(colon.len()).strip_suffix(b"\"")?;
        let start = memrchr(b'"', name)?;
        let opener = before(start);
        let cut = match opener.last()? {
            b',' => opener.len() - 1..end,
            _ => {
                let after = text[end..].trim_ascii_start();
                let after = after
                    .strip_prefix(b",")
                    .map_or(&text[end..], <[u8]>::trim_ascii_start);
                start..text.len() - after.len()
            }
        };
        let at = self.at?;
        Some(at + cut.start..at + cut.end)
    }
}

/// An event's lines, without their ends.
fn lines(event: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    with_ends(event).map(|line| {
        let length = memchr2(b'\n', b'\r', &event[line.clone()]);
        line.start..length.map_or(line.end, |length| line.start + length)
    })
}

/// Comments go out even where the event they stand in does not.
fn comments(event: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    with_ends(event).filter(|line| event[line.start] == b':')
}

fn with_ends(event: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = event.get(from..).filter(|rest| !rest.is_empty())?;
        let length = match memchr2(b'\n', b'\r', rest) {
            Some(at) if rest[at] == b'\r' && rest.get(at + 1) == Some(&b'\n') => at + 2,
            Some(at) => at + 1,
            None => rest.len(),
        };
        let line = from..from + length;
        from = line.end;
        Some(line)
    })
}

#[cfg(test)]
mod tests;
