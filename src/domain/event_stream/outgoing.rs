//! What goes out of a piece of a stream in which events are changed.

use std::ops::Range;

use bytes::Bytes;

use super::event::{Event, Part};

/// What goes out of a piece: a part of it as it is, as long as that will do. Whoever is shown an event puts out what is to
/// go out of it, and in which order; the rest goes out by itself.
pub struct Outgoing<'a> {
    piece: &'a Bytes,
    part: Range<usize>,
    copied: Option<Vec<u8>>,
    /// The end of the last event went out.
    has_end: &'a mut bool,
}

impl<'a> Outgoing<'a> {
    pub(super) fn of(piece: &'a Bytes, has_end: &'a mut bool) -> Self {
        Self {
            piece,
            part: 0..0,
            copied: None,
            has_end,
        }
    }

    /// What nobody decides about.
    pub(super) fn pass(&mut self, part: &Part<'_>) {
        match part {
            Part::Event(_) => *self.has_end = false,
            Part::Large { held, at } => {
                self.put(held);
                self.add(at.clone());
                *self.has_end = true;
            }
            Part::LineFeed if *self.has_end => self.add(0..1),
            Part::Name(_) | Part::Data(_) | Part::NewLine | Part::LineFeed => {}
        }
    }

    /// Puts out all of an event.
    pub fn keep_all(&mut self, event: &Event<'_>) {
        self.keep(event, 0..event.raw.len());
    }

    /// Puts out a part of an event as it is.
    pub fn keep(&mut self, event: &Event<'_>, part: Range<usize>) {
        *self.has_end = part.end == event.raw.len();
        match event.at {
            Some(at) => self.add(at + part.start..at + part.end),
            None => self.put(&event.raw[part]),
        }
    }

    /// Puts out what was not in the stream.
    pub fn put(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let room = self.piece.len() + bytes.len();
            self.copied(room).extend_from_slice(bytes);
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

    /// What goes out so far, copied, with room for more.
    fn copied(&mut self, room: usize) -> &mut Vec<u8> {
        self.copied.get_or_insert_with(|| {
            let mut copied = Vec::with_capacity(self.part.len() + room);
            copied.extend_from_slice(&self.piece[self.part.clone()]);
            copied
        })
    }

    pub(super) fn take(self) -> Bytes {
        match self.copied {
            Some(copied) => copied.into(),
            None => self.piece.slice(self.part),
        }
    }
}
