//! A stream on its way: each event at its time, and the place where it breaks off.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::time::Sleep;

use super::super::{
    answer::{EventKind, EventWriter},
    connection_fate::ConnectionFate,
    deviation::{BreakKind, BrokenOff, Deviation},
    faults::{StreamEnd, StreamError},
    latency::TokenTiming,
    recorder::Spent,
    request_trace::RequestTrace,
    socket,
};

/// An answer on its way, event by event.
pub(crate) struct PacedBody {
    writer: Box<dyn EventWriter>,
    timing: TokenTiming,
    rng: fastrand::Rng,
    trace: RequestTrace,
    deviation: Deviation,
    fate: ConnectionFate,
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

impl std::fmt::Debug for PacedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Told")
            .field("at", &self.at)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl PacedBody {
    pub(crate) fn new(
        writer: Box<dyn EventWriter>,
        timing: TokenTiming,
        rng: fastrand::Rng,
        trace: RequestTrace,
        deviation: Deviation,
        fate: ConnectionFate,
    ) -> Self {
        let (length, at, outputs, next, sleep) = (None, 0, 0, None, None);
        Self {
            writer,
            timing,
            rng,
            trace,
            deviation,
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
                self.trace.finish();
            }
        }
    }

    /// Writes the next event and sets the wait before it; false if there is none.
    fn prepare(&mut self) -> bool {
        let mut out = Vec::with_capacity(512);
        let Some(kind) = self.writer.event(self.at, &mut out) else {
            return false;
        };
        if let Some(odd) = self.deviation.odd_usage {
            odd.change_event(&mut out);
        }
        let mut wait = self.deviation.before(self.at);
        self.at += 1;
        if kind != EventKind::Frame {
            wait += self.timing.before(self.outputs, &mut self.rng);
            self.outputs += 1;
        }
        self.next = Some((out.into(), kind.spent()));
        if !wait.is_zero() {
            self.sleep = Some(Box::pin(tokio::time::sleep(wait)));
        }
        true
    }

    /// Counts what goes out; looks ahead, since the last event finishes the trace.
    fn hand_over(&mut self, bytes: Bytes, spent: Spent) -> Bytes {
        self.trace.spent += spent;
        if self
            .deviation
            .breaks
            .as_ref()
            .is_none_or(|b| b.after_events != self.at)
            && !self.prepare()
        {
            self.stage = Stage::Over;
            self.trace.finish();
        }
        bytes
    }

    /// At the place of the break: an error event to send, or the way to breaking off.
    fn meet_break(&mut self) -> Option<Bytes> {
        let here = self
            .deviation
            .breaks
            .as_ref()
            .is_some_and(|b| b.after_events == self.at);
        let found = if here {
            self.deviation.breaks.take()?
        } else {
            return None;
        };
        match found.kind {
            BreakKind::Error(error) => Some(self.tell_error(&error)),
            kind => {
                self.prepare_breaking(kind == BreakKind::Reset);
                None
            }
        }
    }

    fn tell_error(&mut self, error: &StreamError) -> Bytes {
        match error.end {
            StreamEnd::Clean => {
                self.stage = Stage::Over;
                self.trace.finish();
            }
            end => self.prepare_breaking(end == StreamEnd::Reset),
        }
        format!("{}\n\n", self.writer.error_event(error)).into()
    }

    fn prepare_breaking(&mut self, reset: bool) {
        if reset {
            self.fate.reset_at_end();
        }
        self.stage = Stage::Breaking;
        self.sleep = Some(Box::pin(socket::let_it_arrive()));
    }

    fn break_off(&mut self) -> BrokenOff {
        self.stage = Stage::Over;
        self.trace.finish();
        BrokenOff
    }
}
