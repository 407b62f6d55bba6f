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
    connection::{self, ConnectionFate},
    deviation::{BreakKind, BrokenOff, Deviation},
    faults::{StreamEnd, StreamError},
    latency::TokenTiming,
    recorder::Spent,
    request_trace::RequestTrace,
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

#[derive(PartialEq, Eq)]
enum Stage {
    Telling,
    Breaking,
    Over,
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
        Self {
            writer,
            timing,
            rng,
            trace,
            deviation,
            fate,
            length: None,
            at: 0,
            outputs: 0,
            next: None,
            sleep: None,
            stage: Stage::Telling,
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
                Stage::Breaking => {
                    self.finish();
                    return Poll::Ready(Some(Err(BrokenOff)));
                }
                Stage::Telling => {}
            }
            if let Some((bytes, spent)) = self.next.take() {
                return Poll::Ready(Some(Ok(self.hand_over(bytes, spent))));
            }
            if let Some(error) = self.meet_break() {
                return Poll::Ready(Some(Ok(error)));
            }
            if self.stage == Stage::Telling && !self.prepare() {
                self.finish();
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
        if !self.breaks_here() && !self.prepare() {
            self.finish();
        }
        bytes
    }

    /// At the place of the break: an error event to send, or the way to breaking off.
    fn meet_break(&mut self) -> Option<Bytes> {
        if !self.breaks_here() {
            return None;
        }
        match self.deviation.breaks.take()?.kind {
            BreakKind::Error(error) => Some(self.tell_error(&error)),
            kind => {
                self.prepare_breaking(kind == BreakKind::Reset);
                None
            }
        }
    }

    fn tell_error(&mut self, error: &StreamError) -> Bytes {
        match error.end {
            StreamEnd::Clean => self.finish(),
            end => self.prepare_breaking(end == StreamEnd::Reset),
        }
        format!("{}\n\n", self.writer.error_event(error)).into()
    }

    fn prepare_breaking(&mut self, reset: bool) {
        if reset {
            self.fate.reset_at_end();
        }
        self.stage = Stage::Breaking;
        self.sleep = Some(Box::pin(connection::let_it_arrive()));
    }

    fn breaks_here(&self) -> bool {
        let breaks = self.deviation.breaks.as_ref();
        breaks.is_some_and(|breaks| breaks.after_events == self.at)
    }

    fn finish(&mut self) {
        self.stage = Stage::Over;
        self.trace.finish();
    }
}
