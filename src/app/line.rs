//! One client's connection as Pingora reads and writes it: small writes leave together, its first bytes must come in
//! time, and it holds its place among the listener's connections until it is closed.

use std::{
    fmt,
    future::Future as _,
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
    raw_connect::ProxyDigest,
    tls::{SslDigest, TlsRef},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Sleep, sleep},
};

use super::places::Place;

/// What an HTTP/2 client says first. HTTP/1.1 clients say something else, and at least as much.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An answer's head and a body of this size leave in one write.
const WRITE_BUFFER: usize = 16 << 10;
/// What of that room a quiet connection keeps.
const KEPT: usize = 4 << 10;

pub(super) struct Line {
    inner: Stream,
    /// Read while looking for HTTP/2's first words, to be read again.
    ahead: BytesMut,
    unwritten: Vec<u8>,
    /// How much of it is written already.
    written: usize,
    /// Gone once the client has said enough to tell its protocol.
    opening: Option<Opening>,
    _place: Place,
}

/// How long the first bytes may take, and how many of them have come.
struct Opening {
    ends: Pin<Box<Sleep>>,
    read: usize,
}

impl Line {
    pub(super) fn new(inner: Stream, place: Place, opening: Duration) -> Self {
        Self {
            inner,
            ahead: BytesMut::new(),
            unwritten: Vec::new(),
            written: 0,
            opening: Some(Opening {
                ends: Box::pin(sleep(opening)),
                read: 0,
            }),
            _place: place,
        }
    }

    /// Reads from the connection itself.
    fn poll_inner(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        let Some(opening) = &mut self.opening else {
            return read;
        };
        if read.is_ready() {
            opening.read += buf.filled().len() - before;
            if opening.read >= PREFACE.len() {
                self.opening = None;
            }
            return read;
        }
        ready!(opening.ends.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
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

/// What waits for its next request does not keep the room of a large answer.
fn emptied(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    buffer.shrink_to(KEPT);
    buffer
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return self.poll_inner(cx, buf);
        }
        let taken = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..taken]);
        self.ahead.advance(taken);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
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

#[async_trait]
impl Peek for Line {
    /// Reads no further than to where the client's words are no longer those of HTTP/2.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let mut read = 0;
        while read < buf.len() && PREFACE.starts_with(&buf[..read]) {
            match self.read(&mut buf[read..]).await? {
                0 => break,
                more => read += more,
            }
        }
        self.ahead = BytesMut::from(&buf[..read]);
        self.opening = None;
        Ok(true)
    }
}

#[async_trait]
impl Shutdown for Line {
    async fn shutdown(&mut self) {
        if let Err(error) = AsyncWriteExt::shutdown(self).await {
            tracing::debug!(%error, "a client's connection did not end in order");
        }
    }
}

impl UniqueID for Line {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Line {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Line {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl GetProxyDigest for Line {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Line {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Line").field(&self.inner).finish()
    }
}
