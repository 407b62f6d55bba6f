//! One accepted connection as hyper sees it: plain or TLS, and how it is to end.
//!
//! A connection whose [`ConnectionFate`] says so ends in a reset instead of an orderly close.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::{raw::Raw, realtime::Session};

/// How a connection will end; shared between it and the requests on it.
#[derive(Clone, Default)]
pub(crate) struct ConnectionFate(Arc<End>);

impl fmt::Debug for ConnectionFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fate")
    }
}

#[derive(Default)]
struct End {
    reset: AtomicBool,
    /// What the connection is for once hyper has let go of it.
    session: Mutex<Option<Session>>,
    /// What is sent past hyper once it has let go of the connection.
    raw: Mutex<Option<Raw>>,
    /// Where the connection waits for that.
    left: Mutex<Option<Stream>>,
}

impl ConnectionFate {
    pub(crate) fn reset_at_end(&self) {
        self.0.reset.store(true, Ordering::Relaxed);
    }

    /// The request that says this must be answered with 101, so that hyper lets go of the connection.
    pub(crate) fn open_session(&self, session: Session) {
        *self.0.session.lock() = Some(session);
    }

    pub(crate) fn take_session(&self) -> Option<Session> {
        self.0.session.lock().take()
    }

    /// The request that says this must end without an answer, so that hyper lets go of the connection.
    pub(crate) fn answer_raw(&self, raw: Raw) {
        *self.0.raw.lock() = Some(raw);
    }

    /// What is to be sent, and the connection to send it on.
    pub(crate) fn take_raw(&self) -> Option<(Raw, Stream)> {
        Some((self.0.raw.lock().take()?, self.0.left.lock().take()?))
    }
}

#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn whole(&mut self) -> Pin<&mut (dyn ReadWrite + 'static)> {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(stream.as_mut()),
        }
    }

    /// Makes the close that follows a reset.
    pub(crate) fn reset_on_close(&self) {
        match self {
            Self::Plain(stream) => reset_on_close(stream),
            Self::Tls(stream) => reset_on_close(stream.get_ref().0),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    /// `None` only while this is being dropped.
    stream: Option<Stream>,
    fate: ConnectionFate,
}

impl Connection {
    pub(crate) fn new(stream: Stream, fate: ConnectionFate) -> Self {
        Self {
            stream: Some(stream),
            fate,
        }
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut (dyn ReadWrite + 'static)> {
        let stream = self.get_mut().stream.as_mut();
        stream.expect("the stream is there until the drop").whole()
    }
}

trait ReadWrite: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> ReadWrite for T {}

/// Makes the close that follows a reset.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    // Nothing to mend if it fails: the socket is gone already.
    let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else {
            return;
        };
        if self.fate.0.reset.load(Ordering::Relaxed) {
            stream.reset_on_close();
        } else if self.fate.0.raw.lock().is_some() {
            *self.fate.0.left.lock() = Some(stream);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Some(Stream::Plain(stream)) => stream.is_write_vectored(),
            Some(Stream::Tls(stream)) => stream.is_write_vectored(),
            None => false,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().whole().poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().whole().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().whole().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().whole().poll_shutdown(cx)
    }
}
