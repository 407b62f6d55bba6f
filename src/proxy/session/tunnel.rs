//! A WebSocket once it is open: bytes pass both ways as they are, until either side ends it or both are silent for too
//! long.
//!
//! Pingora writes to a deployment and reads from it in turns: while one waits the other does too. Should a deployment
//! read nothing until what it says is taken, with megabytes on their way in both directions, the session stands still
//! until `idle_timeout` ends it. What is said in realtime is far from that.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use bytes::Bytes;
use pingora::Result;

use super::{Relay, StandIn};

impl Relay {
    /// For a WebSocket's handshake, which has no body.
    pub(crate) fn tunnel() -> Self {
        let relay = Self {
            tunnel: Some(AtomicU64::default()),
            ..Self::default()
        };
        relay.orders.lock().kept = Some(Bytes::new());
        relay
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        self.tunnel.is_some()
    }

    /// Bytes that the client sent through it.
    pub(crate) fn tunnelled(&self) -> u64 {
        let bytes = self.tunnel.as_ref();
        bytes.map_or(0, |bytes| bytes.load(Ordering::Relaxed))
    }
}

impl StandIn {
    /// What comes from the client; `None`: it has ended its side.
    pub(super) async fn read_tunnel(&mut self) -> Result<Option<Bytes>> {
        let due = *self
            .due
            .get_or_insert_with(|| Instant::now() + self.idle_timeout);
        let piece = tokio::select! {
            biased;
            piece = self.inner_mut().read_body_or_idle(false) => piece?,
            () = tokio::time::sleep_until(due.into()) => return Err(self.silent()),
        };
        if let (Some(bytes), Some(piece)) = (&self.relay.tunnel, &piece) {
            bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        self.due = Some(Instant::now() + self.idle_timeout);
        Ok(piece)
    }
}
