//! How a request ends: the gateway's own answer, the last word of a stream that broke, the record of it all.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Version;
use pingora::{Error, ErrorSource, ErrorType, Result, protocols::http::HttpTask};
use pingora_proxy::Session;

use super::{
    admission::Ended,
    attempt::News,
    deliver,
    downstream::connection_address,
    exchange::{Exchange, Stage},
    reply::{self, Reply},
    session::{self, Behind, is_final},
};
use crate::{
    domain::{
        cors,
        event_stream::is_readable_stream,
        refusal::Refusal,
        route::Operation,
        usage::{Guess, Usage},
    },
    telemetry::record::{AnswerEnd, Record},
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
    reply.limits.extend(exchange.asked.limits.left());
    let_read(exchange, &mut reply);
    exchange.delivery.bytes = reply.send(session, &exchange.arrival.request_id).await?;
    Ok(true)
}

/// A page that may ask may read what it is told.
fn let_read(exchange: &Exchange, reply: &mut Reply) {
    if let Some(origin) = &exchange.arrival.origin {
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
    exchange.asked.limits.give_back();
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
    if error.esource() == &ErrorSource::Downstream && exchange.refusal.is_none() {
        exchange.delivery.end = AnswerEnd::ClientLeft;
        return 0;
    }
    refuse_late(session, exchange, error).await
}

/// A refusal after attempts were made. The connection ends with it: Pingora keeps none past a failed attempt.
async fn refuse_late(session: &mut Session, exchange: &mut Exchange, error: &Error) -> u16 {
    let request_id = Arc::clone(&exchange.arrival.request_id);
    if exchange.refusal.is_none() {
        tracing::error!(event = "request_failed", %request_id, %error, "a request failed inside the gateway; the client got an error");
    }
    let refusal = exchange.refusal.get_or_insert(Refusal::Internal);
    let (status, mut reply) = (refusal.status().as_u16(), Reply::refusal(refusal));
    settle(exchange, Some(status), None);
    reply.limits = exchange.asked.limits.left();
    let_read(exchange, &mut reply);
    session.set_keepalive(None);
    match reply.send(session, &request_id).await {
        Ok(sent) => exchange.delivery.bytes = sent,
        Err(_) => exchange.delivery.end = AnswerEnd::ClientLeft,
    }
    if !session.is_body_done() {
        // Closing on what the client still sends could destroy the answer before it is read.
        let _ = session.downstream_session.drain_request_body().await;
    }
    status
}

/// A stream that broke gets an event that says so, unless it said so itself, and is then cut off: many clients take any
/// clean end for success, and some read no error events (wire facts: How clients read streams). Any other answer is cut off as it is. A stream
/// whose last event had come is whole, and ends so.
async fn end_broken_stream(session: &mut Session, exchange: &mut Exchange) {
    let head = session.response_written();
    if !head.is_some_and(|head| is_readable_stream(&head.headers)) {
        return;
    }
    if exchange.delivery.end == AnswerEnd::Complete && is_whole(exchange) {
        let end = vec![HttpTask::Body(None, true)];
        let _ = session.as_mut().response_duplex_vec(end).await;
        return;
    }
    if exchange.delivery.end != AnswerEnd::Broken {
        return;
    }
    if !exchange.delivery.is_failure_told {
        let is_responses = exchange.asked.operation == Some(Operation::Responses);
        let it = exchange.proxied();
        let may_repeat = it.is_none_or(|it| it.admitted.walk.progress.may_repeat());
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

/// Whether nothing but the end of the transfer is missing.
fn is_whole(exchange: &mut Exchange) -> bool {
    let it = exchange.proxied();
    it.is_some_and(|it| it.admitted.walk.call.relay.gate().answer.is_whole())
}

/// Takes the session's stand-in out again, where it is in place.
fn unwrap(session: &mut Session, exchange: &mut Exchange) {
    if let Some(it) = exchange.proxied() {
        session::unwrap(session, &it.admitted.walk.call.relay);
    }
}

/// Closes the exchange. `error`: what ended it, if not its own end.
pub(super) fn record(
    session: &mut Session,
    exchange: &mut Exchange,
    error: Option<&Error>,
) -> Record {
    unwrap(session, exchange);
    if let Some(it) = exchange.proxied() {
        deliver::conclude(it);
    }
    let status = session
        .response_written()
        .filter(|head| is_final(head))
        .map(|head| head.status.as_u16());
    let left = error.is_some_and(|error| error.esource() == &ErrorSource::Downstream);
    if left && exchange.delivery.end == AnswerEnd::Complete || status.is_none() {
        exchange.delivery.end = AnswerEnd::ClientLeft;
    }
    let used = finish(exchange, status);
    settle(exchange, status, used);
    let (stream, unreplayable, passed_on) = asked(exchange);
    let (attempts, out_of_budget) = match exchange.proxied() {
        Some(it) => (mem::take(&mut it.admitted.lines), it.admitted.out_of_budget),
        None => (Vec::new(), false),
    };
    let (head, address) = (session.req_header(), connection_address(session));
    let Exchange {
        arrival,
        asked,
        refusal,
        delivery,
        overhead,
        ..
    } = exchange;
    let served = asked.served.as_ref();
    Record {
        arrived: arrival.wall,
        request_id: Arc::clone(&arrival.request_id),
        trace: arrival.trace.take(),
        client: asked.client.as_ref().map(|client| client.name.clone()),
        model: served.map(|served| served.pool.model().clone()),
        model_version: served.and_then(|served| served.version.clone()),
        operation: asked.operation.map(Operation::path).unwrap_or_default(),
        stream,
        method: Some(head.method.clone()),
        path: Some(head.uri.path().to_owned()),
        version: head.version,
        address,
        client_address: arrival.client_address.or(address),
        attempts,
        refusal: refusal.as_ref().map(Refusal::reason),
        detail: refusal.as_ref().and_then(Refusal::detail),
        out_of_budget,
        status,
        end: delivery.end,
        unreplayable,
        usage: used.map(|(usage, _)| usage),
        guess: used.and_then(|(_, guess)| guess),
        cost: None,
        request_bytes: asked.body_bytes + passed_on,
        response_bytes: delivery.bytes,
        time_to_first_byte: delivery.first_byte,
        time_to_first_token: delivery.first_token,
        duration: arrival.at.elapsed(),
        overhead: Some(overhead.so_far()),
    }
}

/// What an answer used, and why that is a guess where it is one.
type Used = Option<(Usage, Option<Guess>)>;

/// Ends the request's way. What of an answer its client got counts as used.
fn finish(exchange: &mut Exchange, status: Option<u16>) -> Used {
    let (end, is_refused) = (exchange.delivery.end, exchange.refusal.is_some());
    let admitted = exchange.proxied()?.admitted;
    let now = Instant::now();
    let charged = admitted.walk.end(now);
    admitted.note(News::of_charged(&charged, now));
    let is_whole = end == AnswerEnd::Complete && status.is_some_and(|status| status < 400);
    let position = mem::take(&mut admitted.position);
    let (line, passed) = position.finish(is_whole, &admitted.walk);
    admitted.lines.extend(line);
    if is_refused {
        return None;
    }
    let outcome = admitted.lines.last().map(|line| line.outcome);
    let (call, prompt) = (&admitted.walk.call, &mut admitted.prompt);
    let (received, _) = call.relay.passed_on();
    let prompt = || prompt.tokens() + received.div_ceil(4);
    passed.used(call.operation, prompt, end, outcome)
}

/// Ends the request's part in its client's limits. `status`: what the client got.
fn settle(exchange: &mut Exchange, status: Option<u16>, used: Used) {
    let attempts = match &exchange.stage {
        Stage::Admitted(admitted) => &admitted.lines[..],
        Stage::Arrived | Stage::Answered => &[],
    };
    exchange.asked.limits.settle(&Ended {
        status,
        is_refused: exchange.refusal.is_some(),
        attempts,
        usage: used.map(|(usage, _)| usage),
        guess: used.and_then(|(_, guess)| guess),
    });
}

/// Whether a stream was asked for, whether the body was passed on as it came, and how much of it.
fn asked(exchange: &mut Exchange) -> (bool, bool, u64) {
    let Some(it) = exchange.proxied() else {
        return (false, false, 0);
    };
    let call = &it.admitted.walk.call;
    let (bytes, asks_for_stream) = call.relay.passed_on();
    (
        call.ask.stream || asks_for_stream,
        call.relay.behind() != Behind::Nothing,
        bytes + call.relay.tunnelled(),
    )
}
