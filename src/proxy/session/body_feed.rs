//! A body that is not kept whole: what comes behind its kept part is passed on to the attempt under way as it comes
//! from the client, and can be sent once only.

use std::{sync::Arc, time::Instant};

use tokio::sync::Semaphore;

use crate::{domain::refusal::Refusal, proxy::body::Rest};

/// How many pieces may be between the client and the deployment: what one body takes that has no room of its own.
const UNDER_WAY: usize = 2;

/// What is known, outside of the stand-in, of a body that is passed on as it comes.
pub(super) struct Passing {
    /// Until the stand-in takes it.
    pub(super) rest: Option<Box<Rest>>,
    /// Behind the kept part; `None`: the client did not say.
    pub(super) length: Option<usize>,
    /// An attempt was given something that can't be given to another.
    pub(super) begun: bool,
    /// Bytes that came from the client behind the kept part.
    pub(super) received: u64,
    pub(super) asks_for_stream: bool,
    /// What has come of it does something that must not be done twice.
    pub(super) acts: bool,
    /// For a first byte of an answer, however long the body took.
    pub(super) deadline: Instant,
    /// Why the body could not be passed on to its end.
    pub(super) refusal: Option<Refusal>,
}

/// What is sent behind the pieces at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    Nothing,
    /// So many bytes; `None`: the client did not say how many.
    Bytes(Option<usize>),
}

/// What of a body comes from the client while an attempt is under way.
pub(super) struct Feed {
    pub(super) rest: Box<Rest>,
    /// Each piece takes one until it is written.
    pub(super) under_way: Arc<Semaphore>,
    /// Since when the client is waited for: a wait goes on where another left off that was given up.
    pub(super) waiting_since: Option<Instant>,
    pub(super) is_done: bool,
}

impl Feed {
    pub(super) fn new(rest: Box<Rest>) -> Self {
        Self {
            rest,
            under_way: Arc::new(Semaphore::new(UNDER_WAY)),
            waiting_since: None,
            is_done: false,
        }
    }

    pub(super) fn waits_until(&mut self) -> Instant {
        *self.waiting_since.get_or_insert_with(Instant::now)
            + self.rest.patience.min(self.rest.pause)
    }

    /// Takes in the next piece; `None`: there is no more. It may be passed on only if this says nothing against it.
    pub(super) fn take_in(&mut self, piece: Option<&[u8]>, is_last: bool) -> Result<(), Refusal> {
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

    fn read_along(&mut self, piece: &[u8], is_last: bool) -> Result<(), Refusal> {
        let Some(scan) = &mut self.rest.scan else {
            return Ok(());
        };
        let read = scan
            .push(piece)
            .and_then(|()| if is_last { scan.finish() } else { Ok(()) });
        match read {
            Err(refusal) if self.rest.strict || refusal == Refusal::BodyTooDeep => Err(refusal),
            _ => self.rest.check_tools(),
        }
    }

    pub(super) fn asks_for_stream(&self) -> bool {
        self.rest.scan.as_ref().is_some_and(|scan| scan.stream())
    }

    pub(super) fn acts(&self) -> bool {
        self.rest.scan.as_ref().is_some_and(|scan| scan.acts())
    }
}
