//! HTTP/2 as it arrives, looked at for two things: that what a client begins, it goes on with, and how much it lets
//! itself be sent. What else a frame says is for the protocol's own implementation to read.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use super::send_window::SendWindow;

/// What a client says before its first frame (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const FRAME_HEAD: usize = 9;
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
pub(super) const END_HEADERS: u8 = 4;

pub(super) struct Frames {
    head_timeout: Duration,
    /// Of the preface, still to come.
    preface: usize,
    /// The present frame's first bytes.
    head: [u8; FRAME_HEAD],
    known: usize,
    /// Of its payload, still to come.
    left: usize,
    /// A frame has been there.
    has_begun: bool,
    /// A request's head goes on in the next frame.
    is_head_open: bool,
    /// By when what has begun must be whole.
    due: Option<Pin<Box<Sleep>>>,
    /// Room for what is written past the protocol's implementation.
    pub(super) window: SendWindow,
}

impl Frames {
    pub(super) fn new(head_timeout: Duration) -> Self {
        Self {
            head_timeout,
            preface: PREFACE.len(),
            head: [0; FRAME_HEAD],
            known: 0,
            left: 0,
            has_begun: false,
            is_head_open: false,
            due: Some(Box::pin(sleep(head_timeout))),
            window: SendWindow::default(),
        }
    }

    /// Takes in what comes next, and takes out of it what is kept of the client's window.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) {
        let before_frames = self.preface.min(bytes.len());
        self.preface -= before_frames;
        let mut bytes = &mut bytes[before_frames..];
        let mut is_any_whole = false;
        while !bytes.is_empty() {
            let taken = match self.known {
                FRAME_HEAD => self.left.min(bytes.len()),
                known => (FRAME_HEAD - known).min(bytes.len()),
            };
            let (piece, rest) = bytes.split_at_mut(taken);
            match self.known {
                FRAME_HEAD => self.look(piece),
                known => self.learn(known, piece),
            }
            bytes = rest;
            if self.known == FRAME_HEAD && self.left == 0 {
                self.close();
                is_any_whole |= !self.is_head_open;
            }
        }
        if is_any_whole || !self.is_open() {
            self.due = None;
        }
        if self.is_open() && self.due.is_none() {
            self.due = Some(Box::pin(sleep(self.head_timeout)));
        }
    }

    fn learn(&mut self, known: usize, bytes: &[u8]) {
        self.known += bytes.len();
        self.head[known..self.known].copy_from_slice(bytes);
        if self.known == FRAME_HEAD {
            self.left = self.length();
        }
    }

    /// A piece of the present frame's payload.
    fn look(&mut self, piece: &mut [u8]) {
        let is_whole = self.length() == piece.len();
        match (self.head, &mut *piece) {
            ([_, _, _, SETTINGS, ..], _) => self.window.settings(piece, is_whole),
            ([_, _, _, WINDOW_UPDATE, _, 0, 0, 0, 0], [a, b, c, d]) if is_whole => {
                let increment = u32::from_be_bytes([*a, *b, *c, *d]);
                [*a, *b, *c, *d] = self.window.widened(increment).to_be_bytes();
            }
            _ => {}
        }
        self.left -= piece.len();
    }

    /// Of the present frame's payload.
    fn length(&self) -> usize {
        let [a, b, c, ..] = self.head;
        usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
    }

    /// A frame is whole.
    fn close(&mut self) {
        let (kind, flags) = (self.head[3], self.head[4]);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.is_head_open = flags & END_HEADERS == 0;
        }
        self.known = 0;
        self.has_begun = true;
    }

    /// Whether something is begun that must go on: all but a body, whose own clock runs.
    fn is_open(&self) -> bool {
        let is_in_frame = match self.known {
            0 => false,
            FRAME_HEAD => self.head[3] != DATA,
            _ => true,
        };
        is_in_frame || self.is_head_open || !self.has_begun
    }

    /// Ready once what has begun takes too long.
    pub(super) fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(due) = &mut self.due else {
            return Poll::Pending;
        };
        ready!(due.as_mut().poll(cx));
        Poll::Ready(io::Error::new(
            io::ErrorKind::TimedOut,
            "a head takes too long",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let head = [0, 0, length, kind, flags, 0, 0, 0, 1];
        [&head[..], &vec![0; length.into()]].concat()
    }

    #[tokio::test]
    async fn the_clock_runs_from_what_is_begun_to_its_end() {
        let settings = [PREFACE, &frame(4, 0, 0)].concat();
        for (bytes, is_running) in [
            (vec![], true),
            (PREFACE.to_vec(), true),
            (settings.clone(), false),
            (
                [&settings[..], &frame(HEADERS, END_HEADERS, 5)].concat(),
                false,
            ),
            ([&settings[..], &frame(HEADERS, 0, 5)].concat(), true),
            (
                [
                    &settings[..],
                    &frame(HEADERS, 0, 5),
                    &frame(CONTINUATION, 0, 5),
                ]
                .concat(),
                true,
            ),
            (
                [
                    &settings[..],
                    &frame(HEADERS, 0, 5),
                    &frame(CONTINUATION, END_HEADERS, 0),
                ]
                .concat(),
                false,
            ),
            (
                [&settings[..], &frame(HEADERS, END_HEADERS, 5)[..12]].concat(),
                true,
            ),
            (
                [&settings[..], &frame(HEADERS, END_HEADERS, 5)[..1]].concat(),
                true,
            ),
            // A body that pauses in the middle of a frame.
            ([&settings[..], &frame(DATA, 0, 5)[..12]].concat(), false),
        ] {
            // However it is cut.
            for step in [1, 3, 1000] {
                let mut frames = Frames::new(Duration::from_secs(1));
                bytes
                    .clone()
                    .chunks_mut(step)
                    .for_each(|piece| frames.pass(piece));
                assert_eq!(frames.due.is_some(), is_running, "{bytes:?} by {step}");
            }
        }
    }
}
