//! A client that has ended its side of its connection, and has left or still waits for its answer: both look alike until
//! something is written to it. Who has left altogether resets the connection at that; who waits reads on.

use std::{fmt, io};

use pingora::{Error, protocols::GetSocketDigest};

/// States of a connection as the system numbers them (`linux/tcp_states.h`).
const CLOSED: u8 = 7;
const CLOSE_WAIT: u8 = 8;

/// The client will send nothing more. Said once a request, to whoever can find out what that means.
#[derive(Debug)]
struct HalfClosed;

impl fmt::Display for HalfClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client has ended its side of the connection")
    }
}

impl std::error::Error for HalfClosed {}

pub(super) fn half_closed() -> io::Error {
    io::Error::other(HalfClosed)
}

/// Whether a read ended for nothing else.
pub(super) fn is_half_closed(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    let inner = cause.and_then(io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<HalfClosed>())
}

/// What the system knows of a client that is not read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerState {
    Here,
    /// Its side has ended.
    HalfClosed,
    /// It has reset the connection.
    Gone,
}

impl PeerState {
    pub(super) fn read(connection: &(impl GetSocketDigest + ?Sized)) -> Self {
        let socket = connection.get_socket_digest();
        let state = socket.and_then(|socket| Some(socket.tcp_info()?.tcpi_state));
        match state {
            Some(CLOSED) => Self::Gone,
            Some(CLOSE_WAIT) => Self::HalfClosed,
            _ => Self::Here,
        }
    }
}
