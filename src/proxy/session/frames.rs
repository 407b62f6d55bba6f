//! Writes an HTTP/2 answer's body itself, so that what a timer writes is written whole or not at all: the engine's own
//! way waits for room in the middle, where it may be dropped.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;
use pingora::{Error, ErrorType, Result};
use tokio::time::timeout;

/// The body of one answer.
pub(super) struct Frames {
    stream: SendStream<Bytes>,
    /// How long its client may take for one piece; `None`: for ever.
    patience: Option<Duration>,
    is_ended: bool,
}

impl Frames {
    pub(super) fn new(stream: SendStream<Bytes>, patience: Option<Duration>) -> Self {
        Self {
            stream,
            patience,
            is_ended: false,
        }
    }

    /// Sends a piece as fast as the client takes it. Its stream's window is its own to open: one that stays closed ends
    /// the answer, or it would hold the deployment's connection for as long as it likes.
    pub(super) async fn send(&mut self, mut piece: Bytes) -> Result<()> {
        self.stream.reserve_capacity(piece.len());
        let room = self.stream.capacity().min(piece.len());
        if room > 0 {
            self.send_now(piece.split_to(room))?;
        }
        if piece.is_empty() {
            return Ok(());
        }
        let Some(patience) = self.patience else {
            return self.send_as_taken(piece).await;
        };
        let sent = timeout(patience, self.send_as_taken(piece)).await;
        sent.unwrap_or_else(|_| Err(unread()))
    }

    async fn send_as_taken(&mut self, mut piece: Bytes) -> Result<()> {
        while !piece.is_empty() {
            self.stream.reserve_capacity(piece.len());
            let room = match self.stream.capacity() {
                0 => poll_fn(|cx| self.stream.poll_capacity(cx))
                    .await
                    .ok_or_else(gone)?
                    .map_err(broken)?,
                room => room,
            };
            let now = piece.split_to(room.min(piece.len()));
            self.stream.send_data(now, false).map_err(broken)?;
        }
        Ok(())
    }

    /// Sends a small piece, kept in memory where the client has no room for it.
    pub(super) fn send_now(&mut self, piece: Bytes) -> Result<()> {
        self.stream.send_data(piece, false).map_err(broken)
    }

    /// Sends a small piece if the client has room for all of it.
    pub(super) fn try_send(&mut self, piece: Bytes) -> Result<()> {
        self.stream.reserve_capacity(piece.len());
        if self.stream.capacity() < piece.len() {
            return Ok(());
        }
        self.send_now(piece)
    }

    pub(super) fn end(&mut self, trailers: Option<HeaderMap>) -> Result<()> {
        if std::mem::replace(&mut self.is_ended, true) {
            return Ok(());
        }
        match trailers {
            Some(trailers) => self.stream.send_trailers(trailers),
            None => self.stream.send_data(Bytes::new(), true),
        }
        .map_err(broken)
    }

    /// Waits until the client gives the stream up.
    pub(super) async fn left(&mut self) -> Box<Error> {
        match poll_fn(|cx| self.stream.poll_reset(cx)).await {
            Ok(_) => gone(),
            Err(error) => broken(error),
        }
    }
}

fn unread() -> Box<Error> {
    let what = "the client leaves its stream unread";
    Error::explain(ErrorType::WriteTimedout, what).into_down()
}

fn gone() -> Box<Error> {
    Error::explain(ErrorType::H2Error, "the client gave its stream up").into_down()
}

fn broken(error: h2::Error) -> Box<Error> {
    Error::because(ErrorType::H2Error, "the client's stream ended", error).into_down()
}
