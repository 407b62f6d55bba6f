//! Pieces of a stream that come faster than they are passed on leave together: one write for many, where each would take
//! longer to write than to read. A piece that comes alone leaves at once.

use std::{future::poll_fn, mem, task::Poll};

use bytes::Bytes;
use pingora::{
    Result,
    protocols::http::{HttpTask, ServerSession},
};

use super::stand_in::StandIn;

/// So many pieces the engine hands over at once at most. Where it has so many, more are behind them as a rule.
const BATCH: usize = 4;
/// The most that waits for what is behind it: with that, and what says how long it is, it still is one write.
const MOST: usize = 12 << 10;
/// How often the engine has to come by until what is ready has been handed over: whoever reads from the deployment and
/// whoever writes to the client take turns in going first, and among what this one waits for chance decides.
const TURNS: u8 = 3;

impl StandIn {
    /// Whether what goes out next may wait for what is behind it. `come`: how much of it has come at once.
    pub(super) fn may_wait(&mut self, tasks: &[HttpTask], come: usize) -> bool {
        come >= BATCH
            && self.is_short
            && self.is_sent()
            && self.answer.is_stream
            && matches!(self.inner(), ServerSession::H1(_))
            && are_pieces(tasks)
            && tasks.iter().map(length).sum::<usize>() < MOST
    }

    /// Leaves what has waited to be written, unless what is ready behind it comes first.
    pub(super) async fn pay(&mut self) -> Result<()> {
        if !self.answer.owes {
            return Ok(());
        }
        // Given up here, it is still held: what comes then takes it along.
        polls(TURNS).await;
        self.pay_now()
    }

    pub(super) fn pay_now(&mut self) -> Result<()> {
        if mem::take(&mut self.answer.owes) {
            let piece = joined(mem::take(&mut self.answer.held));
            self.queue(piece)?;
        }
        Ok(())
    }
}

/// Whether all of it is body, and not its end.
pub(super) fn are_pieces(tasks: &[HttpTask]) -> bool {
    let is_piece = |task: &HttpTask| matches!(task, HttpTask::Body(_, false));
    tasks.iter().all(is_piece)
}

/// Pieces as one.
pub(super) fn joined(tasks: Vec<HttpTask>) -> HttpTask {
    let mut whole = Vec::with_capacity(tasks.iter().map(length).sum());
    for task in &tasks {
        if let HttpTask::Body(Some(piece), _) = task {
            whole.extend_from_slice(piece);
        }
    }
    HttpTask::Body(Some(Bytes::from(whole)), false)
}

fn length(task: &HttpTask) -> usize {
    match task {
        HttpTask::Body(Some(piece), _) => piece.len(),
        _ => 0,
    }
}

/// Yields to other futures of the same task, until the task has been polled so many times more. Who reads from the deployment and writes to it is polled in turns
/// with whoever waits here: at the latest behind this, within the same poll of the task.
pub(super) async fn polls(mut more: u8) {
    poll_fn(|cx| {
        if more == 0 {
            return Poll::Ready(());
        }
        more -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
