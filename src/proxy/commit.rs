//! The commit point: until an answer is settled nothing of it goes out, and another deployment may still take its place;
//! from then on it is from one deployment, and ends truthfully (DESIGN.md 5).

use std::time::Instant;

use bytes::Bytes;
use http::header;
use pingora::{Result, http::ResponseHeader};

use super::{
    exchange::{Exchange, Wish},
    metering,
    observe::settle,
    session::Word,
};
use crate::{
    domain::{
        opening::Opening,
        outcome::{Fault, Outcome},
    },
    telemetry::record::End,
};

/// Holds an answer whose head does not settle it.
pub(super) fn hold(exchange: &mut Exchange, head: &mut ResponseHeader, opening: Opening) {
    if opening.is_stream() {
        // We may have to add to it.
        head.remove_header(&header::CONTENT_LENGTH);
    }
    if let Some(admitted) = exchange.admitted() {
        let until = Instant::now() + admitted.served.bounds.hold;
        let asked = admitted.current.as_ref().map(|current| current.usage);
        let mut gate = admitted.relay.gate();
        let trims = opening.is_stream() && asked == Some(Wish::Asked);
        gate.hold(opening, until);
        if trims {
            gate.trim_usage();
        }
    }
}

/// Reads a piece of an answer on its way. `Err` takes the answer back before the client has seen any of it.
pub(super) fn piece(exchange: &mut Exchange, body: &mut Option<Bytes>, end: bool) -> Result<()> {
    if let Some(admitted) = exchange.admitted() {
        if !end {
            // However long the answer takes, the body does not wait for it.
            admitted.prompt.tokens();
        }
        let mut gate = admitted.relay.gate();
        let word = metering::along(&mut admitted.current, |meter| gate.pass(body, end, meter));
        let has_output = gate.has_output();
        drop(gate);
        let is_error = match &word {
            Word::Settled(outcome) | Word::Late(outcome) | Word::Failed(outcome) => {
                *outcome != Outcome::Served
            }
            Word::None => false,
        };
        if is_error {
            mask(exchange);
        }
        exchange.response_bytes += body.as_ref().map_or(0, Bytes::len) as u64;
        take(exchange, word)?;
        if has_output && exchange.first_token.is_none() {
            exchange.first_token = Some(exchange.arrived.elapsed());
        }
        note_first_byte(exchange);
    }
    Ok(())
}

/// An error may repeat what its deployment was asked with: from here on that does not go out.
pub(super) fn mask(exchange: &mut Exchange) {
    if let Some(admitted) = exchange.admitted()
        && let Some(sent) = admitted.current.as_ref().and_then(|it| it.sent.as_ref())
    {
        admitted.relay.gate().mask(sent);
    }
}

fn take(exchange: &mut Exchange, word: Word) -> Result<()> {
    match word {
        Word::None => {}
        Word::Settled(outcome) => settle(exchange, outcome)?,
        Word::Late(outcome) => judge_late(exchange, &outcome),
        Word::Failed(outcome) => {
            exchange.close(&outcome);
            doom(exchange, is_told(&outcome));
        }
    }
    Ok(())
}

/// The stream went out unjudged, its time being up.
fn judge_late(exchange: &mut Exchange, outcome: &Outcome) {
    exchange.judge(outcome, Instant::now());
    if let Some(admitted) = exchange.admitted() {
        admitted.relay.release();
    }
    if !outcome.is_delivered() {
        doom(exchange, is_told(outcome));
    }
}

/// Whether an event has told how the stream failed: all but of an end before its end.
fn is_told(outcome: &Outcome) -> bool {
    *outcome != Outcome::fault(Fault::Broken)
}

/// A deployment that said in its stream that it failed may end the stream well all the same, and some clients look at
/// nothing but its end (CLIENTS.md 4).
fn doom(exchange: &mut Exchange, is_told: bool) {
    exchange.end = End::Broken;
    exchange.is_failure_told |= is_told;
    if let Some(admitted) = exchange.admitted() {
        admitted.relay.gate().doom();
    }
}

/// Writes down how an attempt ended whose answer had gone out in part.
pub(super) fn broke(exchange: &mut Exchange, client_left: bool) {
    if exchange.end == End::Broken || !client_left && is_whole(exchange) {
        return;
    }
    let verdict = exchange
        .admitted()
        .and_then(|admitted| admitted.relay.gate().take_verdict());
    let (end, outcome) = match client_left {
        true => (End::ClientLeft, Outcome::ClientLeft),
        false => (End::Broken, Outcome::fault(Fault::Broken)),
    };
    exchange.end = end;
    exchange.close(&verdict.unwrap_or(outcome));
}

/// Whether nothing but the end of the transfer is missing.
pub(super) fn is_whole(exchange: &mut Exchange) -> bool {
    let admitted = exchange.admitted();
    admitted.is_some_and(|admitted| admitted.relay.gate().is_whole())
}

/// Writes down what only the end of the answer has shown.
pub(super) fn conclude(exchange: &mut Exchange) {
    note_first_byte(exchange);
    let Some(admitted) = exchange.admitted() else {
        return;
    };
    let verdict = admitted.relay.gate().take_verdict();
    if let Some(outcome) = verdict {
        exchange.close(&outcome);
    }
}

fn note_first_byte(exchange: &mut Exchange) {
    if exchange.first_byte.is_some() || exchange.response_bytes == 0 {
        return;
    }
    let arrived = exchange.arrived;
    let Some(admitted) = exchange.admitted() else {
        return;
    };
    let gate = admitted.relay.gate();
    if !gate.is_held() {
        let first_out = gate.first_out().unwrap_or_else(Instant::now);
        drop(gate);
        exchange.first_byte = Some(first_out.saturating_duration_since(arrived));
    }
}
