//! A body that is not kept whole: each piece that comes from the client is passed on to the attempt under way.

use std::{
    mem,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use bytes::Bytes;
use pingora::{Error, ErrorType, Result};
use tokio::sync::OwnedSemaphorePermit;

use super::stand_in::StandIn;
use crate::domain::refusal::Refusal;

/// A piece on its way to the deployment.
struct UnderWay(
    Bytes,
    #[expect(dead_code, reason = "given back when dropped")] OwnedSemaphorePermit,
);

impl AsRef<[u8]> for UnderWay {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl StandIn {
    /// The next piece from the client. What is wrong with it is found before any of it is passed on, so that no
    /// deployment ever has all of a body that is wrong.
    pub(super) async fn pass_on(&mut self) -> Result<Option<Bytes>> {
        let (Some(feed), Some(inner)) = (&mut self.feed, self.inner.as_deref_mut()) else {
            return Ok(None);
        };
        if feed.is_done {
            return Ok(None);
        }
        let Ok(permit) = Arc::clone(&feed.under_way).acquire_owned().await else {
            return Ok(None);
        };
        let by = feed.waits_until();
        let piece = tokio::select! {
            biased;
            piece = inner.read_request_body() => piece?,
            () = tokio::time::sleep_until(by.into()) => return Err(self.refuse(Refusal::BodyTooSlow)),
        };
        let is_last = piece.is_none() || inner.is_body_done();
        if let Err(refusal) = feed.take_in(piece.as_deref(), is_last) {
            return Err(self.refuse(refusal));
        }
        self.note(piece.as_ref().map_or(0, Bytes::len));
        // HTTP/2 can end with an empty piece, which in chunks would be a second end.
        let piece = piece.filter(|piece| !(is_last && piece.is_empty()));
        Ok(piece.map(|piece| Bytes::from_owner(UnderWay(piece, permit))))
    }

    fn note(&mut self, length: usize) {
        let Some(feed) = &self.feed else { return };
        let orders = &mut *self.relay.orders.lock();
        let Some(passing) = &mut orders.passing else {
            return;
        };
        passing.received += length as u64;
        if length > 0 && !mem::replace(&mut passing.begun, true) {
            // What came before can't be sent again either.
            (orders.kept, orders.body) = (None, Vec::new());
            self.body.clear();
            self.next = 0;
        }
        passing.asks_for_stream = feed.asks_for_stream();
        passing.acts = feed.acts();
        if feed.is_done && !self.answer.has_come {
            // The time the client took is not the deployment's.
            let due = self.due.map(|due| due + self.started.elapsed());
            self.due = due.map(|due| due.min(passing.deadline));
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Box<Error> {
        let status = refusal.status().as_u16();
        if let Some(passing) = &mut self.relay.orders.lock().passing {
            passing.refusal = Some(refusal);
        }
        Error::explain(
            ErrorType::HTTPStatus(status),
            "the body can't be passed on to its end",
        )
    }
}

/// A WebSocket once it is open: bytes pass both ways as they are, until either side ends it or both are silent for too
/// long.
///
/// Pingora writes to a deployment and reads from it in turns: while one waits the other does too. Should a deployment
/// read nothing until what it says is taken, with megabytes on their way in both directions, the session stands still
/// until `idle_timeout` ends it. What is said in realtime is far from that.
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
