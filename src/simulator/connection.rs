//! Accepted connections, plain or TLS, and how they end: in order, in a reset, or taken from hyper for something else, as
//! the requests on them decide.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};
use tokio_rustls::server::TlsStream;

use super::raw_answer::Raw;

/// An accepted connection's socket, plain or TLS.
pub(crate) type Socket = Box<dyn Stream>;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Stream for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Makes the close that follows a reset.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    // Nothing to mend if it fails: the socket is gone already.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// What was sent must have arrived before a reset, which would overtake it.
pub(crate) fn let_it_arrive() -> Sleep {
    tokio::time::sleep(Duration::from_millis(20))
}

/// How a connection will end; shared between it and the requests on it.
#[derive(Clone, Default)]
pub(crate) struct ConnectionFate(Arc<ConnectionEnd>);

/// What runs on a connection in place of hyper.
pub(crate) type Takeover = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
struct ConnectionEnd {
    reset: AtomicBool,
    /// What the connection is for once hyper has let go of it.
    takeover: Mutex<Option<Takeover>>,
    /// What is sent past hyper once it has let go of the connection.
    raw: Mutex<Option<Raw>>,
    /// Where the connection waits for that.
    left: Mutex<Option<Socket>>,
}

impl ConnectionFate {
    pub(crate) fn reset_at_end(&self) {
        self.0.reset.store(true, Ordering::Relaxed);
    }

    /// The request that says this must be answered with 101, so that hyper lets go of the connection.
    pub(crate) fn take_over(&self, takeover: impl Future<Output = ()> + Send + 'static) {
        *self.0.takeover.lock() = Some(Box::pin(takeover));
    }

    pub(crate) fn takeover(&self) -> Option<Takeover> {
        self.0.takeover.lock().take()
    }

    /// The request that says this must end without an answer, so that hyper lets go of the connection.
    pub(crate) fn answer_raw(&self, raw: Raw) {
        *self.0.raw.lock() = Some(raw);
    }

    /// What is to be sent, and the connection to send it on.
    pub(crate) fn take_raw(&self) -> Option<(Raw, Socket)> {
        Some((self.0.raw.lock().take()?, self.0.left.lock().take()?))
    }

    /// Ends the connection that hyper has let go of, or keeps it for what is still to be sent.
    pub(super) fn meets(&self, socket: Socket) {
        if self.0.reset.load(Ordering::Relaxed) {
            reset_on_close(socket.tcp());
        } else if self.0.raw.lock().is_some() {
            *self.0.left.lock() = Some(socket);
        }
    }
}

/// One accepted connection as hyper sees it.
pub(crate) struct Connection {
    /// `None` only while this is being dropped.
    socket: Option<Socket>,
    fate: ConnectionFate,
}

impl Connection {
    pub(crate) fn new(socket: Socket, fate: ConnectionFate) -> Self {
        Self {
            socket: Some(socket),
            fate,
        }
    }

    fn socket(self: Pin<&mut Self>) -> Pin<&mut Socket> {
        let socket = self.get_mut().socket.as_mut();
        Pin::new(socket.expect("the socket is there until the drop"))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            self.fate.meets(socket);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket().poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket
            .as_ref()
            .is_some_and(|it| it.is_write_vectored())
    }
}
