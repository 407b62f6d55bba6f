//! Stands in for Pingora's client session while a request is being served, so that every attempt can send
//! the whole body, whatever its size; so that an answer can be held until it is settled; and so that time can pass
//! where Pingora waits for nothing but the deployment and the client: a silent one's attempt ends, a quiet stream is
//! kept alive.
//!
//! A WebSocket's bytes, once it is open, pass through it both ways as they are.
//!
//! It goes in once the body has been read and comes out before the request ends, because some of Pingora's
//! calls (keep-alive above all) mean nothing on a session like this. The trait is Pingora's own extension
//! point, but an undocumented one: the version is pinned, and the failover tests are the gate for another.

mod alarm;
mod answer;
mod feed;
mod frames;
mod gate;
mod gather;
mod keepalive;
mod slices;
mod tunnel;

use std::{
    mem,
    sync::{Arc, Weak, atomic::AtomicU64},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, StatusCode};
use parking_lot::{Mutex, MutexGuard};
use pingora::{
    Result,
    http::{RequestHeader, ResponseHeader},
    protocols::{
        Digest,
        http::{
            HttpTask, ServerSession,
            custom::{CustomMessageWrite, server::Session as CustomSession},
        },
        l4::socket::SocketAddr,
    },
};
use pingora_proxy::Session;

use super::reach::cork::Cork;
use alarm::Alarm;
use answer::Answer;
pub(crate) use feed::Behind;
use feed::{Feed, Passing};
use gate::Gate;
pub(crate) use gate::Word;
pub(crate) use keepalive::Keepalive;
use slices::{SLICE, slices};

/// So many slices find room between us and whoever writes to the deployment, even if that does not take them.
const SHORT: usize = 2;

/// What one attempt sends, how long it may stay silent, and what is known of its answer: what the hooks and the
/// stand-in tell each other.
#[derive(Default)]
pub(crate) struct Relay {
    orders: Mutex<Orders>,
    gate: Mutex<Gate>,
    keepalive: Option<Keepalive>,
    /// For a WebSocket: what has passed from the client since it was opened.
    tunnel: Option<AtomicU64>,
}

#[derive(Default)]
struct Orders {
    /// The client's body, as far as it is kept to be sent again, until it is let go of.
    kept: Option<Bytes>,
    /// The same as the attempt under way sends it.
    body: Vec<Bytes>,
    /// What is passed on behind that as it comes from the client.
    passing: Option<Passing>,
    first_byte_by: Option<Instant>,
    idle_timeout: Duration,
    /// Of the connection that the attempt goes over.
    cork: Weak<Cork>,
    /// Whether the attempt's request waits behind it to be pushed.
    is_corked: bool,
    /// The attempt was ended because nothing came in time.
    silent: bool,
    /// Where the real session waits while the stand-in is taken out.
    returned: Option<Box<ServerSession>>,
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

    fn keepalive(&self) -> Option<&Keepalive> {
        self.keepalive.as_ref()
    }

    fn say_silent(&self) {
        self.orders.lock().silent = true;
    }

    /// Whether the attempt just ended was ended for its silence. Asking clears it.
    pub(crate) fn take_silence(&self) -> bool {
        mem::take(&mut self.orders.lock().silent)
    }
}

/// Whether an answer begins with this head: what comes before it does not, but for the one that ends HTTP.
pub(crate) fn is_final(head: &ResponseHeader) -> bool {
    !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS
}

/// Puts the stand-in in place. The body must have been read by now.
pub(crate) fn wrap(session: &mut Session, relay: &Arc<Relay>) {
    let inner = mem::replace(&mut session.downstream_session, Box::new(nobody()));
    let stand_in = StandIn::new(inner, Arc::clone(relay));
    *session.downstream_session = ServerSession::new_custom(Box::new(stand_in));
}

/// Takes the stand-in out again, if it is there.
pub(crate) fn unwrap(session: &mut Session, relay: &Relay) {
    if !session.downstream_session.is_custom() {
        return;
    }
    // Dropped in place: the stand-in leaves the real session behind.
    *session.downstream_session = nobody();
    if let Some(inner) = relay.orders.lock().returned.take() {
        session.downstream_session = inner;
    }
}

fn nobody() -> ServerSession {
    ServerSession::new_custom(Box::new(()))
}

struct StandIn {
    /// `None` only while this is being dropped.
    inner: Option<Box<ServerSession>>,
    relay: Arc<Relay>,
    /// This attempt's body, in pieces none of which is larger than a slice, or one whole.
    body: Vec<Bytes>,
    next: usize,
    /// What comes behind that, from the client.
    feed: Option<Feed>,
    /// Since when this attempt's body is sent.
    started: Instant,
    /// When the answer's next byte is due, its first one above all.
    due: Option<Instant>,
    idle_timeout: Duration,
    /// Behind which this attempt's request waits, until it is pushed.
    cork: Option<Weak<Cork>>,
    answer: Answer,
    /// For the next of the answer's times.
    alarm: Alarm,
    /// Its body takes no more room on its way to the deployment than there always is.
    is_short: bool,
    /// The relay's word, which is asked for many times with each piece.
    is_tunnel: bool,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.relay.orders.lock().returned = self.inner.take();
    }
}

impl StandIn {
    fn new(inner: Box<ServerSession>, relay: Arc<Relay>) -> Self {
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
            answer: Answer::default(),
            alarm: Alarm::default(),
            is_short: false,
            is_tunnel,
        }
    }

    fn inner(&self) -> &ServerSession {
        self.inner
            .as_deref()
            .expect("the real session is there until the drop")
    }

    fn inner_mut(&mut self) -> &mut ServerSession {
        self.inner
            .as_deref_mut()
            .expect("the real session is there until the drop")
    }

    /// A body that fits one write is given through the retry buffer, in one piece.
    fn whole(&self) -> Option<&Bytes> {
        match self.body.as_slice() {
            [whole] if whole.len() <= SLICE && self.feed.is_none() => Some(whole),
            _ => None,
        }
    }

    fn start_attempt(&mut self) {
        let orders = self.relay.orders.lock();
        self.cork = orders.is_corked.then(|| Weak::clone(&orders.cork));
        self.body = slices(&orders.body);
        self.is_short = self.body.len() <= SHORT && self.feed.is_none();
        self.due = orders.first_byte_by;
        self.idle_timeout = orders.idle_timeout;
        self.answer = Answer::default();
        self.started = Instant::now();
        self.next = 0;
    }

    /// Whether the client's body has been handed over.
    fn is_sent(&self) -> bool {
        let is_passed_on = self.feed.as_ref().is_none_or(Feed::is_done);
        is_passed_on && (self.whole().is_some() || self.next >= self.body.len())
    }

    /// Lets the request out that waits behind the cork.
    fn push(&mut self) {
        if let Some(cork) = self.cork.take().and_then(|cork| cork.upgrade()) {
            cork.push();
        }
    }

    fn next_slice(&mut self) -> Option<Bytes> {
        let slice = self.body.get(self.next).cloned()?;
        self.next += 1;
        Some(slice)
    }

    /// It is not sent again once the answer goes out; what has not been handed over yet still is.
    fn forget_body(&mut self) {
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

#[async_trait]
impl CustomSession for StandIn {
    fn req_header(&self) -> &RequestHeader {
        self.inner().req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner_mut().req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        match self.next_slice() {
            Some(slice) => Ok(Some(slice)),
            None => self.pass_on().await,
        }
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.inner_mut().write_response_header(head).await?;
        if end {
            self.inner_mut().finish_body().await
        } else {
            Ok(())
        }
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.write_response_header(Box::new(head.clone()), end)
            .await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.inner_mut().write_response_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.inner_mut().write_response_trailers(trailers).await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let is_head = |task: &HttpTask| matches!(task, HttpTask::Header(head, _) if is_final(head));
        self.answer.has_come |= tasks.iter().any(is_head);
        let end = self.take_in(tasks).await;
        // Counted from when the client had taken the last piece: its own slowness is no deployment's silence.
        let now = Instant::now();
        if self.answer.has_come {
            self.due = Some(now + self.idle_timeout);
        }
        self.put_off_keepalive(now);
        end
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.inner_mut().set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.inner().get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.inner_mut().set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.inner().get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.inner_mut().set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.inner().get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.inner().request_summary()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.answer
            .head
            .as_deref()
            .or_else(|| self.inner().response_written())
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.inner_mut().shutdown().await;
    }

    fn is_body_done(&mut self) -> bool {
        if self.was_upgraded() {
            return self.inner_mut().is_body_done();
        }
        self.is_sent()
    }

    async fn finish(&mut self) -> Result<()> {
        self.pay_now()?;
        self.resume().await?;
        match &mut self.answer.frames {
            Some(frames) => frames.end(None),
            None => self.inner_mut().finish_body().await,
        }
    }

    fn is_body_empty(&mut self) -> bool {
        // Asked before the attempt starts too, when only the orders are known.
        self.relay.is_empty()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if self.was_upgraded() {
            return self.read_tunnel().await;
        }
        if no_body_expected || self.is_body_done() {
            return self.idle().await;
        }
        // Between slices whoever reads the answer gets a turn: an early one stops the rest of the body.
        tokio::task::yield_now().await;
        self.read_body_bytes().await
    }

    fn body_bytes_sent(&self) -> usize {
        self.inner().body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.inner().body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.inner().digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.inner_mut().digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.inner().client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.inner().server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.inner().to_h1_raw()
    }

    /// Called once an attempt, right before its body is sent.
    fn enable_retry_buffering(&mut self) {
        self.start_attempt();
    }

    fn retry_buffer_truncated(&self) -> bool {
        false
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.whole().filter(|whole| !whole.is_empty()).cloned()
    }

    fn is_upgrade_req(&self) -> bool {
        self.is_tunnel
    }

    fn was_upgraded(&self) -> bool {
        self.is_tunnel && self.inner().was_upgraded()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(
        &mut self,
        _writer: Box<dyn CustomMessageWrite>,
    ) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
