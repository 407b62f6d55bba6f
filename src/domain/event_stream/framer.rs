//! Finds the events in the pieces of a stream.

use std::{mem, ops::Range};

use bytes::Bytes;
use memchr::memchr2;

use super::{
    event::{Event, Part},
    lines::{LONGEST_NAME, Lines},
    outgoing::Outgoing,
};

/// The largest event that is held until it is whole.
pub const LARGEST: usize = 64 << 10;
/// A buffer of no more bytes than this is kept for the next event: most are small, and there are many streams.
pub const KEPT: usize = 320;

/// One stream on its way.
#[derive(Debug, Default)]
pub struct Framer {
    lines: Lines,
    /// What has come of the event that is not whole yet.
    held: Vec<u8>,
    /// The event under way is too large to be held.
    is_large: bool,
    /// The end of the last event went out, where events are changed.
    has_end_out: bool,
}

impl Framer {
    /// Takes in the next piece and shows what it is made of; `end`: the last one, so that what has come of an event is all.
    pub fn read(&mut self, piece: &[u8], end: bool, mut take: impl FnMut(Part<'_>)) {
        let mut at = 0;
        if self.is_before_event() && self.lines.take_line_feed(piece.first()) {
            take(Part::LineFeed);
            at = 1;
        }
        loop {
            if self.is_before_event() {
                at = self.usual_events(piece, at, &mut take);
            }
            if at == piece.len() {
                break;
            }
            let Some(length) = self.lines.read(&piece[at..], &mut take) else {
                self.hold(piece, at, &mut take);
                break;
            };
            self.end_event(piece, at..at + length, false, &mut take);
            at += length;
        }
        if end && !self.is_before_event() {
            self.lines.finish(&mut take);
            self.end_event(piece, piece.len()..piece.len(), true, &mut take);
        }
    }

    /// The same, and gives what goes out of the piece, where whoever is shown an event says what goes out of it. Of a piece
    /// in which nothing is changed no byte is copied; no event goes out later than when it is whole.
    pub fn change(
        &mut self,
        piece: &Bytes,
        end: bool,
        mut take: impl FnMut(Part<'_>, &mut Outgoing<'_>),
    ) -> Bytes {
        let mut has_end = self.has_end_out;
        let mut out = Outgoing::of(piece, &mut has_end);
        self.read(piece, end, |part| {
            out.pass(&part);
            take(part, &mut out);
        });
        let out = out.take();
        self.has_end_out = has_end;
        out
    }

    /// Whether what went out so far ends between two events; `is_changed`: what is not whole did not go out.
    pub fn is_between_events(&self, is_changed: bool) -> bool {
        match is_changed {
            true => !self.is_large && !self.lines.wants_line_feed(),
            false => self.is_before_event() && self.lines.is_between_events(),
        }
    }

    /// How much room is kept for the next event.
    #[cfg(test)]
    pub(in crate::domain) fn kept(&self) -> usize {
        self.held.capacity()
    }

    /// Whether nothing has come of the next event.
    fn is_before_event(&self) -> bool {
        self.held.is_empty() && !self.is_large
    }

    /// Shows whole events of the usual form, one behind the other, and gives where the last of them ends.
    fn usual_events(
        &mut self,
        piece: &[u8],
        mut at: usize,
        take: &mut impl FnMut(Part<'_>),
    ) -> usize {
        while let Some(event) = usual(piece, at) {
            if !event.name.is_empty() {
                take(Part::Name(event.name));
            }
            take(Part::Data(event.data));
            at += event.raw.len();
            take(Part::Event(event));
            self.lines.skip_event();
        }
        at
    }

    /// Keeps what has come of an event, or lets it go where that is too much.
    fn hold(&mut self, piece: &[u8], at: usize, take: &mut impl FnMut(Part<'_>)) {
        self.is_large |= self.held.len() + piece.len() - at > LARGEST;
        if !self.is_large {
            return self.held.extend_from_slice(&piece[at..]);
        }
        let held = mem::take(&mut self.held);
        let at = at..piece.len();
        take(Part::Large { held: &held, at });
    }

    /// The event under way is over with this part of the piece.
    fn end_event(
        &mut self,
        piece: &[u8],
        part: Range<usize>,
        is_unended: bool,
        take: &mut impl FnMut(Part<'_>),
    ) {
        let ended = self.lines.end_event();
        let mut held = mem::take(&mut self.held);
        let is_too_large = mem::take(&mut self.is_large) || held.len() + part.len() > LARGEST;
        let (mut raw, mut at) = (&b""[..], None);
        if is_too_large {
            let (held, at) = (&*held, part);
            take(Part::Large { held, at });
        } else if held.is_empty() {
            (raw, at) = (&piece[part.clone()], Some(part.start));
        } else {
            held.extend_from_slice(&piece[part]);
            raw = &held;
        }
        let joined;
        let (data, data_at) = match ended.lines_of_data {
            _ if is_too_large => (&b""[..], None),
            0 | 1 => (&raw[ended.data.clone()], Some(ended.data.start)),
            _ => {
                joined = ended.joined(raw);
                (&*joined, None)
            }
        };
        take(Part::Event(Event {
            raw,
            at,
            name: self.lines.name(),
            data,
            data_at,
            has_data: ended.lines_of_data > 0,
            is_odd: ended.is_odd && !is_too_large,
            is_too_large,
            is_unended,
        }));
        self.lines.forget_name();
        if held.capacity() <= KEPT {
            held.clear();
            self.held = held;
        }
    }
}

/// An event of one line of data, under its name or without one, that stands here whole.
fn usual(piece: &[u8], at: usize) -> Option<Event<'_>> {
    let all = &piece[at..];
    let line = |rest| Some(<[u8]>::split_at(rest, memchr2(b'\n', b'\r', rest)?));
    let (name, rest) = match all.strip_prefix(b"event: ") {
        Some(named) => {
            line(named).and_then(|(name, end)| Some((name, end.strip_prefix(b"\n")?)))?
        }
        None => (&b""[..], all),
    };
    let (data, end) = line(rest.strip_prefix(b"data: ")?)?;
    let rest = end.strip_prefix(b"\n\n")?;
    let raw = &all[..all.len() - rest.len()];
    let event = Event {
        raw,
        at: Some(at),
        name: &name[..name.len().min(LONGEST_NAME)],
        data,
        data_at: Some(raw.len() - 2 - data.len()),
        has_data: true,
        is_odd: false,
        is_too_large: false,
        is_unended: false,
    };
    (raw.len() <= LARGEST).then_some(event)
}
