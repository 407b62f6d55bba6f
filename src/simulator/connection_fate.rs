//! How a connection will end, as the requests on it decide: in order, in a reset, or taken from hyper for something else.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;

use super::{raw_answer::Raw, socket::Socket};

/// How a connection will end; shared between it and the requests on it.
#[derive(Clone, Default)]
pub(crate) struct ConnectionFate(Arc<ConnectionEnd>);

impl fmt::Debug for ConnectionFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionFate")
    }
}

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
            socket.reset_on_close();
        } else if self.0.raw.lock().is_some() {
            *self.0.left.lock() = Some(socket);
        }
    }
}
