//! What the hooks and the stand-in tell each other of one request: the body that each attempt sends, how long the attempt
//! may stay silent, and what is known of its answer.

use std::{
    mem,
    sync::{
        Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use pingora::protocols::http::ServerSession;

use super::{
    body_feed::{Behind, Feed, Passing},
    gate::Gate,
    keepalive::Keepalive,
};
use crate::{
    domain::refusal::Refusal,
    proxy::{body::Rest, connector::cork::Cork},
};

/// What one attempt sends, how long it may stay silent, and what is known of its answer: what the hooks and the
/// stand-in tell each other.
#[derive(Default)]
pub(crate) struct Relay {
    pub(super) orders: Mutex<Orders>,
    pub(super) gate: Mutex<Gate>,
    pub(super) keepalive: Option<Keepalive>,
    /// For a WebSocket: what has passed from the client since it was opened.
    pub(super) tunnel: Option<AtomicU64>,
}

#[derive(Default)]
pub(super) struct Orders {
    /// The client's body, as far as it is kept to be sent again, until it is let go of.
    pub(super) kept: Option<Bytes>,
    /// The same as the attempt under way sends it.
    pub(super) body: Vec<Bytes>,
    /// What is passed on behind that as it comes from the client.
    pub(super) passing: Option<Passing>,
    pub(super) first_byte_by: Option<Instant>,
    pub(super) idle_timeout: Duration,
    /// Of the connection that the attempt goes over.
    pub(super) cork: Weak<Cork>,
    /// Whether the attempt's request waits behind it to be pushed.
    pub(super) is_corked: bool,
    /// The attempt was ended because nothing came in time.
    pub(super) silent: bool,
    /// Where the real session waits while the stand-in is taken out.
    pub(super) returned: Option<Box<ServerSession>>,
}

impl Relay {
    /// What the next attempt sends, when its first byte is due, and how long its answer may then pause.
    pub(crate) fn order(&self, body: Vec<Bytes>, first_byte_by: Instant, idle_timeout: Duration) {
        let mut orders = self.orders.lock();
        orders.body = body;
        orders.first_byte_by = Some(first_byte_by);
        orders.idle_timeout = idle_timeout;
        *self.gate.lock() = Gate::default();
    }

    /// What the current attempt's connection is held back with.
    pub(crate) fn take_cork(&self, cork: Weak<Cork>) {
        self.orders.lock().cork = cork;
    }

    /// Whether the current attempt's head waits for its body.
    pub(crate) fn cork(&self, waits: bool) {
        let mut orders = self.orders.lock();
        let cork = orders.cork.upgrade();
        orders.is_corked = waits && cork.is_some();
        if let Some(cork) = cork {
            cork.put(waits);
        }
    }

    /// What becomes of the current attempt's answer.
    pub(crate) fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock()
    }

    /// Whether the attempt just ended was ended for its silence. Asking clears it.
    pub(crate) fn take_silence(&self) -> bool {
        mem::take(&mut self.orders.lock().silent)
    }
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
        Some(Feed::new(rest))
    }
}

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
