//! Holds a request against its client's limits, tells the client what is left of them, and settles when it has ended.

use std::time::{Instant, SystemTime};

use http::{HeaderName, HeaderValue, header};
use pingora_proxy::Session;

use super::{
    exchange::{Admitted, Exchange},
    prompt::Prompt,
};
use crate::domain::{
    additions::Form,
    ask::{Ask, Scan, Splice},
    deployment::Instance,
    name::ModelName,
    quota::{Field, Moment, Spent, Wanted},
    refusal::Refusal,
    route::Operation,
    usage::Guess,
};

const LIMIT_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const LIMIT_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-limit-tokens");
const REMAINING_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const REMAINING_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-tokens");

pub(super) fn now() -> Moment {
    Moment {
        at: Instant::now(),
        wall: SystemTime::now(),
    }
}

/// Counts a request as one of its client's, before its body is read; with its model, where that is known already.
pub(super) fn enter(exchange: &mut Exchange, model: Option<&ModelName>) -> Result<(), Refusal> {
    if let Some(allowance) = &exchange.allowance {
        exchange.reservation = Some(allowance.enter(now())?);
    }
    match model {
        Some(model) => ask_model(exchange, model),
        None => Ok(()),
    }
}

/// Counts it with its model too.
pub(super) fn ask_model(exchange: &mut Exchange, model: &ModelName) -> Result<(), Refusal> {
    match (&mut exchange.allowance, &mut exchange.reservation) {
        (Some(allowance), Some(reservation)) => allowance.ask_model(reservation, model, now()),
        _ => Ok(()),
    }
}

/// Whether its body has to be read, all of it, whatever else would do without.
pub(super) fn needs_body(exchange: &Exchange) -> bool {
    let allowance = exchange.allowance.as_ref();
    allowance.is_some_and(|allowance| allowance.needs_body())
}

/// Reads a body that has to be read. What is no JSON for us where an operation takes nothing else could be read by others.
pub(super) fn read(
    session: &Session,
    operation: Operation,
    body: &[u8],
    scan: Scan,
) -> Result<(Ask, Option<Scan>), Refusal> {
    let content_type = session.req_header().headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let takes_forms = matches!(
        operation,
        Operation::AudioTranscriptions | Operation::AudioTranslations | Operation::ImageEdits
    );
    match Ask::is_multipart(content_type) {
        true if !takes_forms => Err(Refusal::BodyNotJson),
        _ => Ask::read_by(scan, content_type, body),
    }
}

/// Holds what a body wants against the limits, and reserves what it may cost. `prompt`: the tokens that its prompt comes to.
pub(super) fn reserve(
    exchange: &mut Exchange,
    operation: Operation,
    ask: &Ask,
    body: &[u8],
    prompt: &mut Prompt,
) -> Result<Option<Wanted>, Refusal> {
    let (Some(allowance), Some(reservation)) = (&exchange.allowance, &mut exchange.reservation)
    else {
        return Ok(None);
    };
    let rules = allowance.rules();
    if !rules.need_body() {
        return Ok(None);
    }
    let wanted = rules.judge(operation, ask, body)?;
    if rules.counts_tokens() && operation.uses_tokens() {
        // Of a form most is sound or pictures, of which nobody knows the tokens before.
        let input = match ask.is_form() {
            true => 0,
            false => prompt.tokens(),
        };
        reservation.reserve(input, wanted.output, now())?;
    }
    Ok(Some(wanted))
}

/// What is changed in a body for its client's limits, before a deployment of this instance gets it.
/// `form`: how the most output is said, if it is added; the member that it is said in comes back.
pub(super) fn changes(
    admitted: &Admitted,
    instance: &Instance,
    form: Form,
) -> (Vec<Splice>, Option<Field>) {
    let Some(wanted) = &admitted.wanted else {
        return (Vec::new(), None);
    };
    let mut changes = wanted.changes.clone();
    let call = admitted.call_at(instance);
    let field = Field::in_form(form, call, instance.kind, &admitted.query);
    let said = wanted.cap.as_ref().zip(field);
    let said = said.and_then(|(cap, field)| Some((cap.say(field, &admitted.ask)?, field)));
    let Some((splice, field)) = said else {
        return (changes, None);
    };
    changes.push(splice);
    (changes, Some(field))
}

/// Ends a request's part in the limits: with what it used, or what it may be billed for; else nothing is counted. `status`:
/// what the client got.
pub(super) fn settle(exchange: &mut Exchange, status: Option<u16>) {
    if let Some(reservation) = exchange.reservation.take() {
        reservation.settle(spent(exchange, status), now());
    }
}

fn spent(exchange: &Exchange, status: Option<u16>) -> Spent {
    if matches!(exchange.guess, Some(Guess::Unfinished | Guess::Encoded)) {
        // Of what was answered nothing can be known.
        return Spent::AsReserved;
    }
    if let Some(usage) = exchange.usage {
        let is_whole = exchange.guess.is_none_or(Guess::is_of_all);
        return Spent::Tokens {
            total: usage.total(),
            answer: is_whole.then_some(usage.output),
        };
    }
    let attempts = &exchange.attempts;
    let may_be_billed = || {
        let mut attempts = attempts.iter();
        attempts.any(|attempt| attempt.may_be_billed || attempt.outcome == "client_left")
    };
    match status {
        // Answered without a word of its tokens; a session, as one request.
        Some(101 | 200..=399) if exchange.refusal.is_none() && !attempts.is_empty() => {
            Spent::AsReserved
        }
        Some(400..) if exchange.refusal.is_none() && !attempts.is_empty() => Spent::Tokens {
            total: 0,
            answer: None,
        },
        _ if may_be_billed() => Spent::AsReserved,
        _ => Spent::Nothing,
    }
}

/// What an answer tells its client of its own limits.
pub(super) fn left(exchange: &Exchange) -> Vec<(HeaderName, HeaderValue)> {
    let Some(allowance) = &exchange.allowance else {
        return Vec::new();
    };
    let (requests, tokens) = allowance.left(now());
    let pairs = [
        (requests, LIMIT_REQUESTS, REMAINING_REQUESTS),
        (tokens, LIMIT_TOKENS, REMAINING_TOKENS),
    ];
    let set = pairs.into_iter().filter_map(|(left, most, remaining)| {
        let left = left?;
        Some([(most, left.most.into()), (remaining, left.remaining.into())])
    });
    set.flatten().collect()
}
