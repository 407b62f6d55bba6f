//! An answer on its way to the client. Until it is settled nothing of it goes out, and another deployment may still take its
//! place; from then on it is from one deployment, and ends truthfully.

use std::{mem, time::Instant};

use bytes::Bytes;
use pingora::{Error, ErrorType, Result};

use super::{
    attempt::{HeldAnswer, Position, Settled},
    exchange::{Admitted, Proxied},
    metering,
    session::Word,
};
use crate::{
    domain::{
        failover::Step,
        outcome::{Fault, Outcome},
    },
    telemetry::record::AnswerEnd,
};

/// Judges an answer of which nothing has gone out. `Err` takes it back.
pub(super) fn settle(it: &mut Proxied<'_>, held: HeldAnswer, outcome: Outcome) -> Result<()> {
    let status = held.answer().status();
    match held.settle(outcome, &mut it.admitted.walk) {
        Settled::Deliver(delivering, news) => {
            it.admitted.position = Position::Delivering(delivering);
            it.admitted.note(news);
            commit(it.admitted);
            Ok(())
        }
        Settled::TakenBack(over) => Err(then(it.follow(over), taken_back(status))),
    }
}

/// Nothing is sent again from here on.
fn commit(admitted: &mut Admitted) {
    let call = &admitted.walk.call;
    if call.ask.stream || admitted.prompt.is_long() {
        // Any other answer that tells its usage does so soon; and a long body is not kept until then.
        admitted.prompt.tokens();
    }
    call.relay.release();
    call.relay.gate().open();
}

/// An answer of this status is.
pub(super) fn taken_back(status: u16) -> Box<Error> {
    let what = "the deployment's answer is not passed on";
    Error::explain(ErrorType::HTTPStatus(status), what).into_up()
}

/// Makes Pingora do what the step says.
pub(super) fn then(step: Step, mut error: Box<Error>) -> Box<Error> {
    error.set_retry(step == Step::TryAnother);
    error
}

/// Reads a piece of an answer on its way. `Err` takes the answer back before the client has seen any of it.
pub(super) fn piece(mut it: Proxied<'_>, body: &mut Option<Bytes>, end: bool) -> Result<()> {
    let admitted = &mut *it.admitted;
    if !end {
        // However long the answer takes, the body does not wait for it.
        admitted.prompt.tokens();
    }
    let mut gate = admitted.walk.call.relay.gate();
    let meter = admitted.position.answer().and_then(|it| it.meter());
    let word = metering::along(meter, |meter| gate.pass(body, end, meter));
    let has_output = gate.answer.has_output();
    drop(gate);
    it.delivery.bytes += body.as_ref().map_or(0, Bytes::len) as u64;
    take(&mut it, word)?;
    if has_output && it.delivery.first_token.is_none() {
        it.delivery.first_token = Some(it.arrival.at.elapsed());
    }
    note_first_byte(&mut it);
    Ok(())
}

fn take(it: &mut Proxied<'_>, word: Word) -> Result<()> {
    let outcome = match word {
        Word::None => return Ok(()),
        Word::Settled(outcome) | Word::Late(outcome) | Word::Failed(outcome) => outcome,
    };
    if outcome != Outcome::Served {
        mask(it);
    }
    match (word, mem::take(&mut it.admitted.position)) {
        (Word::Settled(_), Position::HeldAnswer(held)) => {
            return settle(it, held, outcome);
        }
        (_, position) => it.admitted.position = position,
    }
    it.admitted.close(&outcome);
    // The stream may have gone out unjudged, its time being up.
    it.admitted.walk.call.relay.release();
    if matches!(word, Word::Failed(_)) || !outcome.is_delivered() {
        doom(it, &outcome);
    }
    Ok(())
}

/// An error may repeat what its deployment was asked with: from here on that does not go out.
pub(super) fn mask(it: &mut Proxied<'_>) {
    let Admitted { walk, position, .. } = &mut *it.admitted;
    if let Some(answer) = position.answer() {
        walk.call.relay.gate().mask(answer.credential());
    }
}

/// A deployment that said in its stream that it failed may end the stream well all the same, and some clients look at
/// nothing but its end (wire facts: How clients read streams).
fn doom(it: &mut Proxied<'_>, outcome: &Outcome) {
    it.delivery.end = AnswerEnd::Broken;
    // An event has told how the stream failed: all but of an end before its end.
    it.delivery.is_failure_told |= *outcome != Outcome::fault(Fault::Broken);
    it.admitted.walk.call.relay.gate().doom();
}

/// Writes down how an attempt ended whose answer had gone out in part.
pub(super) fn broke(it: Proxied<'_>, client_left: bool) {
    let mut gate = it.admitted.walk.call.relay.gate();
    if it.delivery.end == AnswerEnd::Broken || !client_left && gate.answer.is_whole() {
        return;
    }
    let verdict = gate.take_verdict();
    drop(gate);
    let (end, outcome) = if client_left {
        (AnswerEnd::ClientLeft, Outcome::ClientLeft)
    } else {
        (AnswerEnd::Broken, Outcome::fault(Fault::Broken))
    };
    it.delivery.end = end;
    it.admitted.close(&verdict.unwrap_or(outcome));
}

/// Writes down what only the end of the answer has shown.
pub(super) fn conclude(mut it: Proxied<'_>) {
    note_first_byte(&mut it);
    let verdict = it.admitted.walk.call.relay.gate().take_verdict();
    if let Some(outcome) = verdict {
        it.admitted.close(&outcome);
    }
}

fn note_first_byte(it: &mut Proxied<'_>) {
    let delivery = &mut *it.delivery;
    if delivery.first_byte.is_some() || delivery.bytes == 0 {
        return;
    }
    let gate = it.admitted.walk.call.relay.gate();
    if !gate.is_held() {
        let first_out = gate.first_out.unwrap_or_else(Instant::now);
        drop(gate);
        delivery.first_byte = Some(first_out.saturating_duration_since(it.arrival.at));
    }
}
