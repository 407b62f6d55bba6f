//! A body that is not kept whole: what comes behind its kept part is passed on to the attempt under way as it comes
//! from the client, and can be sent once only.

use std::{mem, sync::Arc, time::Instant};

use bytes::Bytes;
use pingora::{Error, ErrorType, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Keepalive, Relay, StandIn};
use crate::{domain::refusal::Refusal, proxy::body::Rest};

/// How many pieces may be between the client and the deployment: what one body takes that has no room of its own.
const UNDER_WAY: usize = 2;

/// What is known, outside of the stand-in, of a body that is passed on as it comes.
pub(super) struct Passing {
    /// Until the stand-in takes it.
    rest: Option<Box<Rest>>,
    /// Behind the kept part; `None`: the client did not say.
    length: Option<usize>,
    /// An attempt was given something that can't be given to another.
    begun: bool,
    /// Bytes that came from the client behind the kept part.
    received: u64,
    asks_for_stream: bool,
    /// What has come of it does something that must not be done twice.
    acts: bool,
    /// For a first byte of an answer, however long the body took.
    deadline: Instant,
    /// Why the body could not be passed on to its end.
    refusal: Option<Refusal>,
}

/// What is sent behind the pieces at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    Nothing,
    /// So many bytes; `None`: the client did not say how many.
    Bytes(Option<usize>),
}

impl Relay {
    /// For a body, or the part of one that is kept; `rest` comes behind it, within `deadline`. `keepalive`: how the
    /// answer is kept alive if it is a stream that falls quiet.
    pub(crate) fn new(
        kept: Bytes,
        rest: Option<Box<Rest>>,
        deadline: Instant,
        keepalive: Option<Keepalive>,
    ) -> Self {
        let relay = Self {
            keepalive,
            ..Self::default()
        };
        let mut orders = relay.orders.lock();
        orders.passing = rest.map(|rest| Passing {
            length: rest.length.map(|length| length - kept.len()),
            rest: Some(rest),
            begun: false,
            received: 0,
            asks_for_stream: false,
            acts: false,
            deadline,
            refusal: None,
        });
        orders.kept = Some(kept);
        drop(orders);
        relay
    }

    /// The client's body as far as it is kept; `None`: it was let go of.
    pub(crate) fn kept(&self) -> Option<Bytes> {
        self.orders.lock().kept.clone()
    }

    pub(crate) fn behind(&self) -> Behind {
        match &self.orders.lock().passing {
            None => Behind::Nothing,
            Some(passing) => Behind::Bytes(passing.length),
        }
    }

    /// Whether another attempt could send the same body.
    pub(crate) fn replayable(&self) -> bool {
        let orders = self.orders.lock();
        orders.passing.as_ref().is_none_or(|passing| !passing.begun)
    }

    /// Whether the body is passed on as it comes.
    pub(crate) fn is_passed_on(&self) -> bool {
        self.orders.lock().passing.is_some()
    }

    /// What of the body came behind the kept part, and whether it asks for a stream.
    pub(crate) fn passed_on(&self) -> (u64, bool) {
        let orders = self.orders.lock();
        let passing = orders.passing.as_ref();
        passing.map_or((0, false), |it| (it.received, it.asks_for_stream))
    }

    /// Whether what came behind the kept part has shown that the request acts.
    pub(crate) fn acts(&self) -> bool {
        let orders = self.orders.lock();
        orders.passing.as_ref().is_some_and(|passing| passing.acts)
    }

    /// Why the attempt just ended was ended for its body. Asking clears it.
    pub(crate) fn take_refusal(&self) -> Option<Refusal> {
        self.orders.lock().passing.as_mut()?.refusal.take()
    }

    /// Lets go of the body: its answer has been committed to, so it is not sent again. Its memory comes back once what
    /// of it is on its way has been written.
    pub(crate) fn release(&self) {
        let mut orders = self.orders.lock();
        orders.kept = None;
        orders.body = Vec::new();
    }

    pub(super) fn is_empty(&self) -> bool {
        let orders = self.orders.lock();
        orders.passing.is_none() && orders.body.iter().all(Bytes::is_empty)
    }

    pub(super) fn feed(&self) -> Option<Feed> {
        let rest = self.orders.lock().passing.as_mut()?.rest.take()?;
        Some(Feed {
            rest,
            under_way: Arc::new(Semaphore::new(UNDER_WAY)),
            waiting_since: None,
            is_done: false,
        })
    }
}

/// What of a body comes from the client while an attempt is under way.
pub(super) struct Feed {
    rest: Box<Rest>,
    /// Each piece takes one until it is written.
    under_way: Arc<Semaphore>,
    /// Since when the client is waited for: a wait goes on where another left off that was given up.
    waiting_since: Option<Instant>,
    is_done: bool,
}

impl Feed {
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    fn waits_until(&mut self) -> Instant {
        *self.waiting_since.get_or_insert_with(Instant::now)
            + self.rest.patience.min(self.rest.pause)
    }

    /// Takes in the next piece; `None`: there is no more. It may be passed on only if this says nothing against it.
    fn take_in(&mut self, piece: Option<&[u8]>, is_last: bool) -> std::result::Result<(), Refusal> {
        if let Some(since) = self.waiting_since.take() {
            self.rest.patience = self.rest.patience.saturating_sub(since.elapsed());
        }
        let piece = piece.unwrap_or_default();
        self.rest.received += piece.len();
        if self.rest.received > self.rest.max {
            return Err(Refusal::BodyTooLarge { max: self.rest.max });
        }
        self.read_along(piece, is_last)?;
        self.is_done = is_last;
        Ok(())
    }

    fn read_along(&mut self, piece: &[u8], is_last: bool) -> std::result::Result<(), Refusal> {
        let Some(scan) = &mut self.rest.scan else {
            return Ok(());
        };
        let read = scan.push(piece).and_then(|()| match is_last {
            true => scan.finish(),
            false => Ok(()),
        });
        match read {
            Err(refusal) if self.rest.strict || refusal == Refusal::BodyTooDeep => Err(refusal),
            _ => self.rest.check_tools(),
        }
    }

    fn asks_for_stream(&self) -> bool {
        self.rest.scan.as_ref().is_some_and(|scan| scan.stream())
    }

    fn acts(&self) -> bool {
        self.rest.scan.as_ref().is_some_and(|scan| scan.acts())
    }
}

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
