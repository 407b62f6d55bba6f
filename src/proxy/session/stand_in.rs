//! The stand-in's own state: the session that it stands in for, the body that the attempt under way sends, and the answer.

use std::{
    pin::Pin,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use pingora::{
    http::ResponseHeader,
    protocols::http::{HttpTask, ServerSession},
};
use tokio::time::{Sleep, sleep_until};

use super::{body_feed::Feed, frames::Frames, relay::Relay};
use crate::proxy::connector::cork::Cork;

/// A body up to this size is handed over whole: one write. A larger one goes in slices, so that an early
/// answer is seen while the body is still on its way. Handing over one takes some microseconds, and a deployment must
/// take one within some seconds.
pub(super) const SLICE: usize = 128 << 10;
/// Pieces up to this size that stand side by side are put together: what stands around a model's name is some bytes.
const SMALL: usize = 1 << 10;
/// So many slices find room between us and whoever writes to the deployment, even if that does not take them.
const SHORT: usize = 2;

/// What Pingora takes for its client session.
pub(super) struct StandIn {
    /// `None` only while this is being dropped.
    pub(super) inner: Option<Box<ServerSession>>,
    pub(super) relay: Arc<Relay>,
    /// This attempt's body, in pieces none of which is larger than a slice, or one whole.
    pub(super) body: Vec<Bytes>,
    pub(super) next: usize,
    /// What comes behind that, from the client.
    pub(super) feed: Option<Feed>,
    /// Since when this attempt's body is sent.
    pub(super) started: Instant,
    /// When the answer's next byte is due, its first one above all.
    pub(super) due: Option<Instant>,
    pub(super) idle_timeout: Duration,
    /// Behind which this attempt's request waits, until it is pushed.
    pub(super) cork: Option<Weak<Cork>>,
    pub(super) answer: AnswerState,
    /// For the next of the answer's times.
    pub(super) alarm: Alarm,
    /// Its body takes no more room on its way to the deployment than there always is.
    pub(super) is_short: bool,
    /// The relay's word, which is asked for many times with each piece.
    pub(super) is_tunnel: bool,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.relay.orders.lock().returned = self.inner.take();
    }
}

impl StandIn {
    pub(super) fn new(inner: Box<ServerSession>, relay: Arc<Relay>) -> Self {
        let (feed, is_tunnel) = (relay.feed(), relay.is_tunnel());
        Self {
            inner: Some(inner),
            relay,
            body: Vec::new(),
            next: 0,
            feed,
            started: Instant::now(),
            due: None,
            idle_timeout: Duration::ZERO,
            cork: None,
            answer: AnswerState::default(),
            alarm: Alarm::default(),
            is_short: false,
            is_tunnel,
        }
    }

    pub(super) fn inner(&self) -> &ServerSession {
        self.inner
            .as_deref()
            .expect("the real session is there until the drop")
    }

    pub(super) fn inner_mut(&mut self) -> &mut ServerSession {
        self.inner
            .as_deref_mut()
            .expect("the real session is there until the drop")
    }

    /// A body that fits one write is given through the retry buffer, in one piece.
    pub(super) fn whole(&self) -> Option<&Bytes> {
        match self.body.as_slice() {
            [whole] if whole.len() <= SLICE && self.feed.is_none() => Some(whole),
            _ => None,
        }
    }

    pub(super) fn start_attempt(&mut self) {
        let orders = self.relay.orders.lock();
        self.cork = orders.is_corked.then(|| Weak::clone(&orders.cork));
        self.body = slices(&orders.body);
        self.is_short = self.body.len() <= SHORT && self.feed.is_none();
        self.due = orders.first_byte_by;
        self.idle_timeout = orders.idle_timeout;
        self.answer = AnswerState::default();
        self.started = Instant::now();
        self.next = 0;
    }

    /// Whether the client's body has been handed over.
    pub(super) fn is_sent(&self) -> bool {
        let is_passed_on = self.feed.as_ref().is_none_or(|feed| feed.is_done);
        is_passed_on && (self.whole().is_some() || self.next >= self.body.len())
    }

    /// Lets the request out that waits behind the cork.
    pub(super) fn push(&mut self) {
        if let Some(cork) = self.cork.take().and_then(|cork| cork.upgrade()) {
            cork.push();
        }
    }

    pub(super) fn next_slice(&mut self) -> Option<Bytes> {
        let slice = self.body.get(self.next).cloned()?;
        self.next += 1;
        Some(slice)
    }

    /// It is not sent again once the answer goes out; what has not been handed over yet still is.
    pub(super) fn forget_body(&mut self) {
        if self.body.is_empty() {
            return;
        }
        self.relay.release();
        if self.whole().is_some() || self.next >= self.body.len() {
            self.body.clear();
            self.next = 0;
        }
    }
}

/// What the stand-in knows of the answer to the current attempt.
#[derive(Default)]
pub(super) struct AnswerState {
    /// Its final head has come.
    pub(super) has_come: bool,
    /// What has come of it and has not gone out.
    pub(super) held: Vec<HttpTask>,
    /// That is pieces which may go out, and wait for what is behind them.
    pub(super) owes: bool,
    /// Its head, once that has been let out by the timer: the real session knows it only when it is written.
    pub(super) head: Option<Box<ResponseHeader>>,
    /// Until when.
    pub(super) hold_until: Option<Instant>,
    /// It is a stream that goes out, and in which we may write.
    pub(super) is_stream: bool,
    /// Its body, over HTTP/2.
    pub(super) frames: Option<Frames>,
    /// When the stream is to be kept alive next.
    pub(super) keepalive_at: Option<Instant>,
}

/// One timer for all times of an answer. Every piece puts them off, and most answers end before any of them comes: so the
/// timer is not set anew with each piece, but when it has gone off for a time that was put off meanwhile.
#[derive(Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Goes off at this time, or at an earlier one that it was set to before.
    pub(super) fn at(&mut self, time: Instant) -> Pin<&mut Sleep> {
        let time = time.into();
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(time)));
        if sleep.is_elapsed() || time < sleep.deadline() {
            sleep.as_mut().reset(time);
        }
        sleep.as_mut()
    }
}

/// One piece if it is small, else pieces of at most a slice; no byte is copied but those of small pieces.
pub(super) fn slices(body: &[Bytes]) -> Vec<Bytes> {
    let length: usize = body.iter().map(Bytes::len).sum();
    match body {
        [] => Vec::new(),
        [whole] if length <= SLICE => vec![whole.clone()],
        pieces if length <= SLICE => vec![pieces.concat().into()],
        pieces => {
            let side_by_side = pieces.chunk_by(|one, next| one.len().max(next.len()) <= SMALL);
            side_by_side.flat_map(joined).collect()
        }
    }
}

fn joined(pieces: &[Bytes]) -> Vec<Bytes> {
    match pieces {
        [one] => cut(one).collect(),
        small => vec![small.concat().into()],
    }
}

fn cut(piece: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    (0..piece.len())
        .step_by(SLICE)
        .map(|start| piece.slice(start..(start + SLICE).min(piece.len())))
}
