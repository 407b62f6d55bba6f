//! A WebSocket once it is open: bytes pass both ways as they are, until either side ends it or both are silent for too
//! long.
//!
//! Pingora writes to a deployment and reads from it in turns: while one waits the other does too. Should a deployment
//! read nothing until what it says is taken, with megabytes on their way in both directions, the session stands still
//! until `idle_timeout` ends it. What is said in realtime is far from that.

use std::{sync::atomic::Ordering, time::Instant};

use bytes::Bytes;
use pingora::Result;

use super::stand_in::StandIn;

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
