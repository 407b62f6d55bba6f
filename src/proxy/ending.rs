//! How a request ends: the gateway's own answer, the last word of a stream that broke, the record of it all.

use std::{sync::Arc, time::Duration};

use http::Version;
use pingora::{Error, ErrorSource, ErrorType, Result, protocols::http::HttpTask};
use pingora_proxy::Session;

use super::{
    admission, commit,
    downstream::connection_address,
    exchange::{Exchange, Stage},
    metering,
    reply::{self, Reply},
    session::{self, is_final},
};
use crate::{
    domain::{cors, opening::is_readable_stream, refusal::Refusal, route::Operation},
    telemetry::record::{End, Record},
};

/// Between the last event of a broken HTTP/2 stream and its reset: the connection's own task has to send the event,
/// and a client that finds both in one read may drop it for the reset.
const BEFORE_RESET: Duration = Duration::from_millis(20);

/// Sends an answer of the gateway's own. `Ok(true)`, as Pingora wants it: the request goes no further.
pub(super) async fn answer(
    session: &mut Session,
    exchange: &mut Exchange,
    mut reply: Reply,
) -> Result<bool> {
    exchange.stage = Stage::Answered;
    reply.limits.extend(admission::left(exchange));
    let_read(exchange, &mut reply);
    exchange.response_bytes = reply.send(session, &exchange.request_id).await?;
    Ok(true)
}

/// A page that may ask may read what it is told.
fn let_read(exchange: &Exchange, reply: &mut Reply) {
    if let Some(origin) = &exchange.origin {
        reply.limits.extend(cors::answer(origin));
    }
}

/// The same for a refusal.
pub(super) async fn refuse(
    session: &mut Session,
    exchange: &mut Exchange,
    refusal: Refusal,
) -> Result<bool> {
    let reply = Reply::refusal(&refusal);
    // What it had taken is back before it hears what is left.
    exchange.reservation = None;
    exchange.refusal = Some(refusal);
    answer(session, exchange, reply).await
}

/// What becomes of a request that no attempt could save: what is said to the client, if it is still there to hear it.
/// Gives the status, 0 for none.
pub(super) async fn fail(session: &mut Session, exchange: &mut Exchange, error: &Error) -> u16 {
    let answered = session.response_written().filter(|head| is_final(head));
    if let Some(status) = answered.map(|head| head.status) {
        end_broken_stream(session, exchange).await;
        return status.as_u16();
    }
    unwrap(session, exchange);
    match () {
        () if error.esource() == &ErrorSource::Downstream && exchange.refusal.is_none() => {
            exchange.end = End::ClientLeft;
            0
        }
        () => refuse_late(session, exchange, error).await,
    }
}

/// A refusal after attempts were made. The connection ends with it: Pingora keeps none past a failed attempt.
async fn refuse_late(session: &mut Session, exchange: &mut Exchange, error: &Error) -> u16 {
    if exchange.refusal.is_none() {
        tracing::error!(event = "request_failed", request_id = %exchange.request_id, %error, "a request failed in the gateway");
    }
    let refusal = exchange.refusal.get_or_insert(Refusal::Internal);
    let (status, mut reply) = (refusal.status().as_u16(), Reply::refusal(refusal));
    admission::settle(exchange, Some(status));
    reply.limits = admission::left(exchange);
    let_read(exchange, &mut reply);
    session.set_keepalive(None);
    match reply.send(session, &exchange.request_id).await {
        Ok(sent) => exchange.response_bytes = sent,
        Err(_) => exchange.end = End::ClientLeft,
    }
    if !session.is_body_done() {
        // Closing on what the client still sends could destroy the answer before it is read.
        let _ = session.downstream_session.drain_request_body().await;
    }
    status
}

/// A stream that broke gets an event that says so, unless it said so itself, and is then cut off: many clients take any
/// clean end for success, and some read no error events (CLIENTS.md 4). Any other answer is cut off as it is. A stream
/// whose last event had come is whole, and ends so.
async fn end_broken_stream(session: &mut Session, exchange: &mut Exchange) {
    let head = session.response_written();
    if !head.is_some_and(|head| is_readable_stream(&head.headers)) {
        return;
    }
    if exchange.end == End::Complete && commit::is_whole(exchange) {
        let end = vec![HttpTask::Body(None, true)];
        let _ = session.as_mut().response_duplex_vec(end).await;
        return;
    }
    if exchange.end != End::Broken {
        return;
    }
    if !exchange.is_failure_told {
        let is_responses = exchange.operation == Some(Operation::Responses);
        let admitted = exchange.admitted();
        let may_repeat = admitted.is_none_or(|admitted| admitted.progress.may_repeat());
        let event = reply::broken_stream(is_responses, may_repeat);
        // The failure behind it makes Pingora send what it has, and not end the transfer.
        let broken = HttpTask::Failed(Error::new(ErrorType::InternalError));
        let tasks = vec![HttpTask::Body(Some(event), false), broken];
        let _ = session.as_mut().response_duplex_vec(tasks).await;
    }
    if session.req_header().version == Version::HTTP_2 {
        tokio::time::sleep(BEFORE_RESET).await;
    }
}

/// Takes the session's stand-in out again, where it is in place.
fn unwrap(session: &mut Session, exchange: &mut Exchange) {
    if let Some(admitted) = exchange.admitted() {
        session::unwrap(session, &admitted.relay);
    }
}

/// Closes the exchange. `error`: what ended it, if not its own end.
pub(super) fn record(
    session: &mut Session,
    exchange: &mut Exchange,
    error: Option<&Error>,
) -> Record {
    unwrap(session, exchange);
    commit::conclude(exchange);
    let status = session
        .response_written()
        .filter(|head| is_final(head))
        .map(|head| head.status.as_u16());
    let left = error.is_some_and(|error| error.esource() == &ErrorSource::Downstream);
    let end = if left && exchange.end == End::Complete || status.is_none() {
        End::ClientLeft
    } else {
        exchange.end
    };
    exchange.close_suspicions(end == End::Complete && status.is_some_and(|status| status < 400));
    metering::conclude(exchange, end);
    admission::settle(exchange, status);
    let (mut stream, mut unreplayable, mut passed_on) = (false, false, 0);
    if let Some(admitted) = exchange.admitted() {
        let (bytes, asks_for_stream) = admitted.relay.passed_on();
        stream = admitted.ask.stream || asks_for_stream;
        (unreplayable, passed_on) = (admitted.relay.is_passed_on(), bytes);
        passed_on += admitted.relay.tunnelled();
    }
    let head = session.req_header();
    let address = connection_address(session);
    Record {
        arrived: exchange.arrived_at,
        request_id: Arc::clone(&exchange.request_id),
        trace: exchange.trace.take(),
        client: exchange.client.as_ref().map(|client| client.name.clone()),
        model: exchange.model.clone(),
        model_version: exchange.model_version.clone(),
        operation: exchange.operation.map(Operation::path).unwrap_or_default(),
        stream,
        method: Some(head.method.clone()),
        path: Some(head.uri.path().to_owned()),
        version: head.version,
        address,
        client_address: exchange.client_address.or(address),
        attempts: std::mem::take(&mut exchange.attempts),
        refusal: exchange.refusal.as_ref().map(Refusal::reason),
        detail: exchange.refusal.as_ref().and_then(Refusal::detail),
        out_of_budget: exchange.out_of_budget,
        status,
        end,
        unreplayable,
        usage: exchange.usage,
        guess: exchange.guess,
        cost: None,
        request_bytes: exchange.request_bytes + passed_on,
        response_bytes: exchange.response_bytes,
        time_to_first_byte: exchange.first_byte,
        time_to_first_token: exchange.first_token,
        duration: exchange.arrived.elapsed(),
        overhead: Some(exchange.overhead()),
    }
}
