//! A client's connection as Pingora gets to see it: over HTTP/1 one request at a time, and of each no byte more than
//! belongs to it. What else has come stays here until it was looked at, so nothing that a client sends is ever read as
//! a request that was not checked before.

use std::{
    io,
    mem::{self, MaybeUninit},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::{Peek, Shutdown, Stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep, timeout},
};

use super::{
    frames::Frames,
    host_refusal::{Ahead, Outgoing},
    send_window::SendWindow,
};
use crate::{
    domain::head::{Chunks, Framing, Head},
    proxy::{
        downstream::DRAIN_BODY,
        half_closed::{PeerState, half_closed},
        stream_delegate::delegates_to_inner,
    },
};

/// How much is read ahead of what may be passed on.
const AHEAD: usize = 4096;
/// How much that can't be passed on yet is read to see what is behind it; what is more stays with the system.
const MOST_HELD: usize = 64 << 10;
/// How soon the system is asked about a client from which nothing more is read, and how often at last.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How an answer starts that turns the connection into another.
const SWITCHED: &[u8] = b"HTTP/1.1 101";

pub(super) struct GuardedStream {
    inner: Stream,
    /// Came from the client, and is not passed on yet.
    pub(super) held: BytesMut,
    passes: Passes,
    /// The client will send nothing more.
    ended: bool,
    /// Waits for what may be passed on only later.
    waiting: Option<Waker>,
    /// When the system is asked next whether the client is still there.
    look: Option<(Pin<Box<Sleep>>, Duration)>,
    /// Whoever serves the present request knows that its client has ended its side.
    is_told: bool,
    answers: Option<Box<Answers>>,
    /// Nothing more is written.
    is_shut: bool,
    /// Until when what the client still sends is read past, once nothing more is written.
    parting: Option<Pin<Box<Sleep>>>,
}

/// The answer in place of a refusal over HTTP/2: the refusal's frame, and the room that there may be for a body.
pub(super) type RefusalWriter = Box<dyn Fn(&[u8], &mut SendWindow) -> Vec<u8> + Send + Sync>;

/// What goes out over HTTP/2.
struct Answers {
    outgoing: Outgoing,
    answer: RefusalWriter,
    /// Of such an answer, still to go out before anything else.
    unsent: BytesMut,
}

/// What is passed on.
enum Passes {
    /// So many bytes of a request's body.
    Bytes(u64),
    Chunks(Chunks),
    /// Nothing, and all once an answer says that the connection turns into another.
    OnceSwitched,
    All,
    Frames(Frames),
}

impl Passes {
    fn any(&self) -> bool {
        match self {
            Self::Bytes(left) => *left > 0,
            Self::Chunks(chunks) => !chunks.is_done(),
            Self::OnceSwitched => false,
            Self::All | Self::Frames(_) => true,
        }
    }

    /// How many of these bytes, which come next, go on.
    fn pass(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bytes(left) => {
                let some = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= some as u64;
                Ok(some)
            }
            Self::Chunks(chunks) => chunks
                .pass(bytes)
                .map_err(|refusal| io::Error::new(io::ErrorKind::InvalidData, refusal.reason())),
            Self::OnceSwitched => Ok(0),
            Self::All => Ok(bytes.len()),
            Self::Frames(frames) => {
                frames.pass(bytes);
                Ok(bytes.len())
            }
        }
    }
}

impl GuardedStream {
    pub(super) fn new(inner: Stream) -> Self {
        Self {
            inner,
            held: BytesMut::new(),
            passes: Passes::Bytes(0),
            ended: false,
            waiting: None,
            look: None,
            is_told: false,
            answers: None,
            is_shut: false,
            parting: None,
        }
    }

    /// Ends a connection of which nothing is known but that more may come.
    pub(super) async fn part(&mut self) {
        self.passes = Passes::All;
        let _ = timeout(DRAIN_BODY, self.shutdown()).await;
    }

    /// Reads past what the client still sends: a connection that is closed on unread bytes, or before the rest of a
    /// request comes, is reset, and the reset may destroy what was written before it was read (RFC 9112, 9.6).
    fn poll_past(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let time = self
            .parting
            .get_or_insert_with(|| Box::pin(sleep(DRAIN_BODY)));
        if time.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !self.held.is_empty() {
            self.passes = Passes::All;
        }
        while !self.ended {
            self.held.clear();
            match self.poll_more(cx) {
                // More may be behind it.
                Poll::Ready(Ok(_)) => self.passes = Passes::All,
                Poll::Pending if self.passes.any() => return Poll::Pending,
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        Poll::Ready(())
    }

    /// Reads more of what the client sends. Gives how much; 0: it will send nothing more.
    pub(super) async fn read_more(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_more(cx)).await
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        // Polled whenever the request's task wakes, mostly for nothing: it is not worth clearing.
        let mut piece = [const { MaybeUninit::uninit() }; AHEAD];
        let mut buf = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf))?;
        self.held.extend_from_slice(buf.filled());
        self.ended = buf.filled().is_empty();
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// What comes next is the body of the request with this head.
    pub(super) fn admit(&mut self, head: &Head) {
        self.passes = match head.framing {
            _ if head.is_upgrade => Passes::OnceSwitched,
            Framing::Length(length) => Passes::Bytes(length),
            Framing::Chunked => Passes::Chunks(Chunks::default()),
        };
        (self.is_told, self.look) = (false, None);
    }

    /// What comes next is HTTP/2, which says of each frame how long it is. A head may take so long. Requests that are
    /// refused for their host get this answer.
    pub(super) fn admit_http2(&mut self, head_timeout: Duration, answer: RefusalWriter) {
        self.passes = Passes::Frames(Frames::new(head_timeout));
        self.answers = Some(Box::new(Answers {
            outgoing: Outgoing::default(),
            answer,
            unsent: BytesMut::new(),
        }));
    }

    /// Whether all of a request has been passed on, so that another may follow.
    pub(super) fn is_between_requests(&self) -> bool {
        !self.passes.any()
    }

    /// Nothing may be passed on. What comes is read all the same, so that the client's departure is seen behind it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ended && self.held.len() < MOST_HELD {
            match self.poll_more(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.waiting = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
        if self.ended && matches!(self.passes, Passes::OnceSwitched) {
            // Of a connection that was to become another nothing is left to wait for.
            return Poll::Ready(Ok(()));
        }
        self.waiting = Some(cx.waker().clone());
        self.poll_departure(cx)
    }

    /// Nothing more is read: the system alone knows what has become of the client.
    fn poll_departure(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let next = match &mut self.look {
                Some((look, waited)) => {
                    ready!(look.as_mut().poll(cx));
                    LOOK_EVERY.min(*waited * 2)
                }
                None => FIRST_LOOK,
            };
            self.look = Some((Box::pin(sleep(next)), next));
            match PeerState::read(&*self.inner) {
                PeerState::Gone => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                PeerState::Here if !self.ended => {}
                _ if mem::replace(&mut self.is_told, true) => {}
                _ => return Poll::Ready(Err(half_closed())),
            }
        }
    }

    fn pass_held(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let some = self.held.len().min(buf.remaining());
        let some = self.passes.pass(&mut self.held[..some])?;
        buf.put_slice(&self.held[..some]);
        self.held.advance(some);
        Ok(())
    }

    fn pass_fresh(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let fresh = &mut buf.filled_mut()[before..];
        self.ended = fresh.is_empty();
        let some = self.passes.pass(fresh)?;
        self.held.extend_from_slice(&fresh[some..]);
        buf.set_filled(before + some);
        Ok(())
    }

    fn watch_answer(&mut self, bytes: &[u8]) {
        if matches!(self.passes, Passes::OnceSwitched) && bytes.starts_with(SWITCHED) {
            self.passes = Passes::All;
            if let Some(waiting) = self.waiting.take() {
                waiting.wake();
            }
        }
    }
}

impl GuardedStream {
    fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_unsent(cx))?;
        let inner = Pin::new(&mut self.inner);
        let (Some(answers), Passes::Frames(frames)) = (&mut self.answers, &mut self.passes) else {
            return inner.poll_write_vectored(cx, pieces);
        };
        // What stands in further pieces is the body of the first one's last frame.
        let first = pieces
            .iter()
            .find(|piece| !piece.is_empty())
            .map_or(&[][..], |piece| piece);
        let (went, until) = match answers.outgoing.ahead(first) {
            Ahead::All { until } => (ready!(inner.poll_write_vectored(cx, pieces))?, until),
            Ahead::Some(some) => (ready!(inner.poll_write(cx, &first[..some]))?, some),
            Ahead::Refusal(length) => {
                let answer = (answers.answer)(&first[..length], &mut frames.window);
                answers.unsent.extend_from_slice(&answer);
                (length, length)
            }
        };
        answers.outgoing.went(went, until);
        Poll::Ready(Ok(went))
    }

    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(answers) = &mut self.answers else {
            return Poll::Ready(Ok(()));
        };
        while !answers.unsent.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &answers.unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                some => answers.unsent.advance(some),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.passes.any() {
            return this.poll_end(cx);
        }
        if !this.held.is_empty() {
            return Poll::Ready(this.pass_held(buf));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(read) => Poll::Ready(read.and_then(|()| this.pass_fresh(buf, before))),
            Poll::Pending => match &mut this.passes {
                Passes::Frames(frames) => frames.poll_overdue(cx).map(Err),
                _ => Poll::Pending,
            },
        }
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.answers.is_some() {
            return self.poll_frames(cx, &[io::IoSlice::new(bytes)]);
        }
        self.watch_answer(bytes);
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        if !self.is_shut {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            self.is_shut = true;
        }
        self.poll_past(cx).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.answers.is_some() {
            return self.poll_frames(cx, pieces);
        }
        if let Some(first) = pieces.iter().find(|piece| !piece.is_empty()) {
            self.watch_answer(first);
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for GuardedStream {
    async fn shutdown(&mut self) {
        let _ = std::future::poll_fn(|cx| self.poll_unsent(cx)).await;
        self.inner.shutdown().await;
        self.is_shut = true;
        std::future::poll_fn(|cx| self.poll_past(cx)).await;
    }
}

#[async_trait]
impl Peek for GuardedStream {
    /// Of what has come already: Pingora looks for the start of HTTP/2, which is here by then.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let held = self.held.get(..buf.len());
        if let Some(held) = held {
            buf.copy_from_slice(held);
        }
        Ok(held.is_some())
    }
}

delegates_to_inner!(GuardedStream);

#[cfg(test)]
mod tests;
