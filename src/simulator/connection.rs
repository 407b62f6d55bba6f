//! One accepted connection as hyper sees it: its socket, and how it is to end.
//!
//! A connection whose [`ConnectionFate`] says so ends in a reset instead of an orderly close.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{connection_fate::ConnectionFate, socket::Socket};

#[derive(Debug)]
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
        self.socket.as_ref().is_some_and(Socket::is_write_vectored)
    }
}
