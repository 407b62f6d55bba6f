//! A stream on its way: each event at its time, and the place where it breaks off.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::time::Sleep;

use super::{
    super::{
        books::Spent,
        faults::{StreamEnd, StreamError},
        latency::Rhythm,
        visit::Visit,
        wire::Fate,
    },
    Beat, BrokenOff, How, Narration, Twist,
};

/// An answer on its way, event by event.
pub(crate) struct Told {
    narration: Box<dyn Narration>,
    rhythm: Rhythm,
    rng: fastrand::Rng,
    visit: Visit,
    twist: Twist,
    fate: Fate,
    /// Known for plain answers only.
    pub(super) length: Option<usize>,
    at: usize,
    outputs: u64,
    /// Written, and waiting for its time.
    next: Option<(Bytes, Spent)>,
    sleep: Option<Pin<Box<Sleep>>>,
    stage: Stage,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Telling,
    Breaking,
    Over,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Told")
            .field("at", &self.at)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl Told {
    pub(crate) fn new(
        narration: Box<dyn Narration>,
        rhythm: Rhythm,
        rng: fastrand::Rng,
        visit: Visit,
        twist: Twist,
        fate: Fate,
    ) -> Self {
        let (length, at, outputs, next, sleep) = (None, 0, 0, None, None);
        Self {
            narration,
            rhythm,
            rng,
            visit,
            twist,
            fate,
            length,
            at,
            outputs,
            next,
            sleep,
            stage: Stage::Telling,
        }
    }

    /// The same for a body whose length is told in advance.
    pub(super) fn of_length(self, length: usize) -> Self {
        Self {
            length: Some(length),
            ..self
        }
    }

    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            match self.stage {
                Stage::Over => return Poll::Ready(None),
                Stage::Breaking => return Poll::Ready(Some(Err(self.break_off()))),
                Stage::Telling => {}
            }
            if let Some((bytes, spent)) = self.next.take() {
                return Poll::Ready(Some(Ok(self.hand_over(bytes, spent))));
            }
            if let Some(error) = self.meet_break() {
                return Poll::Ready(Some(Ok(error)));
            }
            if self.stage == Stage::Telling && !self.prepare() {
                self.stage = Stage::Over;
                self.visit.finish();
            }
        }
    }

    /// Writes the next event and sets the wait before it; false if there is none.
    fn prepare(&mut self) -> bool {
        let mut out = Vec::with_capacity(512);
        let Some(beat) = self.narration.event(self.at, &mut out) else {
            return false;
        };
        if let Some(odd) = self.twist.odd_usage {
            odd.change_event(&mut out);
        }
        let mut wait = self.twist.before(self.at);
        self.at += 1;
        if beat != Beat::Frame {
            wait += self.rhythm.before(self.outputs, &mut self.rng);
            self.outputs += 1;
        }
        self.next = Some((out.into(), beat.spent()));
        if !wait.is_zero() {
            self.sleep = Some(Box::pin(tokio::time::sleep(wait)));
        }
        true
    }

    /// Counts what goes out; looks ahead, since the last event finishes the visit.
    fn hand_over(&mut self, bytes: Bytes, spent: Spent) -> Bytes {
        self.visit.spent += spent;
        if self
            .twist
            .breaks
            .as_ref()
            .is_none_or(|b| b.after_events != self.at)
            && !self.prepare()
        {
            self.stage = Stage::Over;
            self.visit.finish();
        }
        bytes
    }

    /// At the place of the break: an error event to send, or the way to breaking off.
    fn meet_break(&mut self) -> Option<Bytes> {
        let here = self
            .twist
            .breaks
            .as_ref()
            .is_some_and(|b| b.after_events == self.at);
        let found = if here {
            self.twist.breaks.take()?
        } else {
            return None;
        };
        match found.how {
            How::Error(error) => Some(self.tell_error(&error)),
            how => {
                self.prepare_breaking(how == How::Reset);
                None
            }
        }
    }

    fn tell_error(&mut self, error: &StreamError) -> Bytes {
        match error.end {
            StreamEnd::Clean => {
                self.stage = Stage::Over;
                self.visit.finish();
            }
            end => self.prepare_breaking(end == StreamEnd::Reset),
        }
        format!("{}\n\n", self.narration.error_event(error)).into()
    }

    fn prepare_breaking(&mut self, reset: bool) {
        if reset {
            self.fate.reset_at_end();
        }
        self.stage = Stage::Breaking;
        self.sleep = Some(Box::pin(super::let_it_arrive()));
    }

    fn break_off(&mut self) -> BrokenOff {
        self.stage = Stage::Over;
        self.visit.finish();
        BrokenOff
    }
}
