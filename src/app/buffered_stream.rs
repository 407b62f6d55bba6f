//! One client's connection as Pingora reads and writes it: small writes leave together, and it holds its permit among
//! the listener's connections until it is closed.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use async_trait::async_trait;
use pingora::protocols::{Peek, Shutdown, Stream};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::connection_limit::ConnectionPermit;
use crate::proxy::stream_delegate::delegates_to_inner;

/// An answer's head and a body of this size leave in one write.
const WRITE_BUFFER: usize = 16 << 10;
/// What of that room a quiet connection keeps.
const KEPT: usize = 4 << 10;

pub(super) struct BufferedStream {
    inner: Stream,
    unwritten: Vec<u8>,
    /// How much of it is written already.
    written: usize,
    permit: ConnectionPermit,
}

impl BufferedStream {
    pub(super) fn new(inner: Stream, permit: ConnectionPermit) -> Self {
        Self {
            inner,
            unwritten: Vec::new(),
            written: 0,
            permit,
        }
    }

    fn poll_unwritten(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.unwritten.len() {
            let rest = &self.unwritten[self.written..];
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => self.written += more,
            }
        }
        (self.written, self.unwritten) = (0, emptied(mem::take(&mut self.unwritten)));
        Poll::Ready(Ok(()))
    }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the gateway ends at once")
}

/// What waits for its next request does not keep the room of a large answer.
fn emptied(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    buffer.shrink_to(KEPT);
    buffer
}

impl AsyncRead for BufferedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.permit.connection.is_cut() {
            return Poll::Ready(Err(cut_off()));
        }
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if read.is_pending() && self.permit.connection.waits(cx) {
            Poll::Ready(Err(cut_off()))
        } else {
            read
        }
    }
}

impl AsyncWrite for BufferedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.unwritten.len() + data.len() > WRITE_BUFFER {
            ready!(self.poll_unwritten(cx))?;
        }
        if data.len() >= WRITE_BUFFER {
            return Pin::new(&mut self.inner).poll_write(cx, data);
        }
        self.unwritten.extend_from_slice(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.unwritten.len() + length > WRITE_BUFFER {
            ready!(self.poll_unwritten(cx))?;
        }
        if length >= WRITE_BUFFER {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        }
        for slice in slices {
            self.unwritten.extend_from_slice(slice);
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unwritten(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unwritten(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// What an answer that breaks off had come to is still said, as far as that is possible at once.
impl Drop for BufferedStream {
    fn drop(&mut self) {
        if self.written < self.unwritten.len() {
            let cx = &mut Context::from_waker(Waker::noop());
            if self.poll_unwritten(cx).is_ready() {
                let _ = Pin::new(&mut self.inner).poll_flush(cx);
            }
        }
    }
}

impl Peek for BufferedStream {}

#[async_trait]
impl Shutdown for BufferedStream {
    async fn shutdown(&mut self) {
        if let Err(error) = AsyncWriteExt::shutdown(self).await {
            tracing::debug!(event = "connection_unclean", %error, "a client's connection was not closed cleanly");
        }
    }
}

delegates_to_inner!(BufferedStream);
