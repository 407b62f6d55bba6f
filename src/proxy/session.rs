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

mod answer;
mod body_feed;
mod coalesce;
mod frames;
mod gate;
mod keepalive;
mod pass_on;
mod relay;
mod stand_in;

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
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

pub(crate) use body_feed::Behind;
pub(crate) use gate::{Word, is_final};
pub(crate) use keepalive::Keepalive;
pub(crate) use relay::Relay;
use stand_in::StandIn;

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
