//! Response or error to outcome; outcome to next step. Here the end of every attempt is judged, once.

use std::time::{Instant, SystemTime};

use http::{HeaderName, StatusCode, Version, header};
use pingora::{Error, ErrorSource, ErrorType, Result, http::ResponseHeader};

use super::{
    additions, admission, commit,
    exchange::{Again, Current, Exchange, Stage, Wish},
    forward::{ended, last_word},
    gateway::Gateway,
    metering, resend,
    session::is_final,
};
use crate::{
    domain::{
        additions::Added,
        failover::Step,
        opening::Opening,
        outcome::{Fault, Outcome},
        quota::Field,
        realtime::is_accepted,
        refusal::Refusal,
        resend::Told,
        spillover::Spillover,
    },
    telemetry::{metrics::DeploymentMetrics, record::End},
};

const UTILIZATION: HeaderName = HeaderName::from_static("azure-openai-deployment-utilization");
const REMAINING_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-tokens");
const REMAINING_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const SERVED_BY: HeaderName = HeaderName::from_static("x-ms-deployment-name");
/// What a deployment says of names goes into the log no longer than this, in bytes.
const LONGEST_NAME: usize = 128;

/// Judges an answer by its head. `Err` takes it back before the client has seen any of it.
pub(super) fn response(
    gateway: &Gateway,
    exchange: &mut Exchange,
    head: &mut ResponseHeader,
) -> Result<()> {
    if !is_final(head) {
        // It says that there is more to come, and nothing else.
        let names: Vec<HeaderName> = head.headers.keys().cloned().collect();
        for name in &names {
            head.remove_header(name);
        }
        resend::note_heard(exchange);
        return Ok(());
    }
    read_head(exchange, head);
    let is_tunnel = exchange.admitted().is_some_and(|it| it.relay.is_tunnel());
    if head.status == StatusCode::SWITCHING_PROTOCOLS || is_tunnel && is_no_refusal(head.status) {
        return switched(gateway, exchange, head, is_tunnel);
    }
    metering::begin(exchange, head);
    let now = SystemTime::now();
    let current = exchange.admitted().and_then(|it| it.current.as_ref());
    let added = current.map(|current| Added {
        usage: current.usage == Wish::Asked,
        limit: current.limit.map(Field::as_str),
    });
    let added = added.unwrap_or_default();
    let opening = Opening::of_added(head.status, &head.headers, added, now);
    match opening {
        Some(opening) => {
            if head.status.is_success()
                && let Some(current) = exchange.admitted().and_then(|it| it.current.as_ref())
            {
                current.attempt.looks_well();
            }
            commit::hold(exchange, head, opening);
        }
        None => settle(
            exchange,
            Outcome::of_response(head.status, &head.headers, now),
        )?,
    }
    dress(gateway, exchange, head)
}

fn is_no_refusal(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// Judges an answer that says that from here on it is no HTTP any more, or that should have said so. Between what was
/// not asked for and what was not granted there is no tunnel.
fn switched(
    gateway: &Gateway,
    exchange: &mut Exchange,
    head: &mut ResponseHeader,
    is_tunnel: bool,
) -> Result<()> {
    let is_switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let outcome = match is_tunnel {
        false => Outcome::fault(Fault::Status),
        true if is_switched && head.version == Version::HTTP_11 && is_accepted(&head.headers) => {
            Outcome::Served
        }
        true if head.status.is_redirection() => Outcome::Redirected,
        // Of its other work it says nothing.
        true => Outcome::Unwanted,
    };
    settle(exchange, outcome)?;
    dress(gateway, exchange, head)?;
    head.remove_header(&header::CONTENT_LENGTH);
    head.remove_header(&header::TRANSFER_ENCODING);
    head.insert_header(header::CONNECTION, "Upgrade")?;
    head.insert_header(header::UPGRADE, "websocket")
}

/// Judges an answer of which nothing has gone out. `Err` takes it back.
pub(super) fn settle(exchange: &mut Exchange, outcome: Outcome) -> Result<()> {
    let current = exchange.admitted().and_then(|it| it.current.as_ref());
    let status = current.and_then(|current| current.status).unwrap_or(0);
    let outcome = match may_mean_named(exchange, &outcome) {
        true => Outcome::NamedMissing,
        false => wanted(exchange, outcome, status),
    };
    if let Some(again) = asked_again(exchange, &outcome, status) {
        return Err(again);
    }
    let outcome = match outcome {
        // In every form: what is left is for its client to judge.
        Outcome::LimitRejected => Outcome::CallerError,
        outcome => outcome,
    };
    additions::note_taken(exchange, &outcome);
    match ended(exchange, &outcome, true) {
        Step::Deliver => commit(exchange),
        step => return Err(taken_back(exchange, step, status)),
    }
    Ok(())
}

/// Where the same deployment is asked once more: with another token, or without what the gateway added.
fn asked_again(exchange: &mut Exchange, outcome: &Outcome, status: u16) -> Option<Box<Error>> {
    let is_asked = *outcome == Outcome::IdentityRejected && wants_fresh_token(exchange)
        || additions::ask_otherwise(exchange, outcome);
    if !is_asked {
        return None;
    }
    exchange.write_down(outcome, Instant::now());
    exchange.response_bytes = 0;
    Some(taken_back(exchange, Step::TryAnother, status))
}

/// Nothing is sent again from here on.
fn commit(exchange: &mut Exchange) {
    if let Some(admitted) = exchange.admitted() {
        if admitted.ask.stream || admitted.prompt.is_long() {
            // Any other answer that tells its usage does so soon; and a long body is not kept until then.
            admitted.prompt.tokens();
        }
        admitted.relay.release();
        admitted.relay.gate().open();
    }
}

/// Takes in what the head says beside its status.
fn read_head(exchange: &mut Exchange, head: &ResponseHeader) {
    let Some(admitted) = exchange.admitted() else {
        return;
    };
    let Some(current) = &mut admitted.current else {
        return;
    };
    current.status = Some(head.status.as_u16());
    current.is_suspect = current.attempt.answered(head.status.as_u16());
    let targets = &admitted.served.targets;
    let metrics = &targets[current.attempt.index()].metrics;
    current.spillover = Spillover::read(&head.headers);
    if !matches!(current.spillover, Some(Spillover::Answered { .. })) {
        return read_gauges(metrics, head);
    }
    metrics.count_spillover();
    note_spilled_to(current, head);
    // What is left is the other one's.
    if let Some(spilled_to) = current.attempt.spills_to() {
        // Before anything is decided: where nobody else is left, the answer is the client's.
        admitted.progress.note_spilled(spilled_to);
        read_gauges(&targets[spilled_to].metrics, head);
    }
}

/// Who served in the deployment's place.
fn note_spilled_to(current: &mut Current, head: &ResponseHeader) {
    let served_by = head.headers.get(SERVED_BY);
    let served_by = served_by.and_then(|name| name.to_str().ok());
    if let Some(name) = served_by.filter(|name| name.len() <= LONGEST_NAME) {
        current.attempt.note_spill(name);
        current.spilled_to = Some(name.into());
    }
}

/// A 4xx that is to be tried elsewhere, where that is possible now: one of the operator's list, or one of a deployment that
/// answers nothing else. Else the client gets it as it is.
fn wanted(exchange: &mut Exchange, outcome: Outcome, status: u16) -> Outcome {
    let Some(admitted) = exchange.admitted() else {
        return outcome;
    };
    let (served, progress) = (&admitted.served, &admitted.progress);
    let is_listed = served.bounds.more_statuses.contains(&status);
    let is_suspect = admitted.current.as_ref().is_some_and(|it| it.is_suspect);
    let elsewhere = match outcome {
        Outcome::CallerError | Outcome::Screened if is_listed => Outcome::Unwanted,
        Outcome::CallerError if is_suspect && status != 424 => Outcome::Refused,
        _ => return outcome,
    };
    let now = Instant::now();
    let tried = served.pool.out_for(admitted.call.1, progress.tried(), now);
    let goes_on = admitted.replayable()
        && progress.could_go_on(&served.bounds, now)
        && served.pool.has_ready(&tried, now);
    match goes_on {
        true => elsewhere,
        false => outcome,
    }
}

/// Whether a deployment that isn't there may be the one that the client named beside ours: it says nothing of ours then.
fn may_mean_named(exchange: &mut Exchange, outcome: &Outcome) -> bool {
    let admitted = exchange.admitted();
    *outcome == Outcome::NotDeployed && admitted.is_some_and(|admitted| !admitted.named.is_empty())
}

/// Whether the deployment is to be asked once more, with another token than the one it has just refused.
fn wants_fresh_token(exchange: &mut Exchange) -> bool {
    let Some(admitted) = exchange.admitted() else {
        return false;
    };
    let Some(current) = &mut admitted.current else {
        return false;
    };
    let target = &admitted.served.targets[current.attempt.index()];
    let may =
        !current.renewed && target.reach.credential.is_renewable() && admitted.relay.replayable();
    match current.sent.clone().filter(|_| may) {
        Some(refused) => {
            current.again = Some(Again::FreshToken(refused));
            true
        }
        None => false,
    }
}

/// Makes a deployment's head the gateway's.
fn dress(gateway: &Gateway, exchange: &mut Exchange, head: &mut ResponseHeader) -> Result<()> {
    let current = exchange.admitted().and_then(|it| it.current.as_ref());
    let secret = current.and_then(|current| current.sent.as_ref());
    for name in &gateway.forwarding.staying(&head.headers, secret) {
        head.remove_header(name);
    }
    if !head.status.is_success() && head.status != StatusCode::SWITCHING_PROTOCOLS {
        commit::mask(exchange);
    }
    // A deployment's own words for its status are read by nobody.
    head.set_reason_phrase(None)?;
    // The one that the log knows; Azure's own stays in `apim-request-id`.
    head.insert_header("x-request-id", &*exchange.request_id)?;
    for (name, value) in admission::left(exchange) {
        head.insert_header(name, value)?;
    }
    let judged = exchange.attempts.len();
    let Some(admitted) = exchange.admitted() else {
        return Ok(());
    };
    if let (true, Some(current)) = (gateway.reveal, &admitted.current) {
        let deployment = current.attempt.deployment();
        let name = format!("{}/{}", deployment.instance.name, deployment.name);
        head.insert_header("x-forebay-deployment", name)?;
        let attempts = judged + usize::from(!current.is_judged);
        head.insert_header("x-forebay-attempts", attempts)?;
    }
    Ok(())
}

fn taken_back(exchange: &mut Exchange, step: Step, status: u16) -> Box<Error> {
    let mut error = Error::explain(
        ErrorType::HTTPStatus(status),
        "the deployment's answer is not passed on",
    );
    error.as_up();
    apply(exchange, step, error)
}

/// Makes Pingora do what the step says.
fn apply(exchange: &mut Exchange, step: Step, mut error: Box<Error>) -> Box<Error> {
    error.set_retry(step == Step::TryAnother);
    if step == Step::GiveUp {
        exchange.refusal = Some(last_word(exchange));
    }
    error
}

/// Judges an attempt that could not get a connection.
pub(super) fn no_connection(exchange: &mut Exchange, error: Box<Error>) -> Box<Error> {
    // A stream of its own, on a connection that is there, is what was wanted.
    if let Some(again) = resend::again(exchange, &error, true) {
        return again;
    }
    let fault = exchange
        .target()
        .map_or(Fault::Connect, |target| target.reach.note_failure(&error));
    let step = ended(exchange, &Outcome::fault(fault), false);
    apply(exchange, step, error)
}

/// Judges an attempt that failed on its connection. `reused`: the connection came from the pool.
pub(super) fn failure(
    exchange: &mut Exchange,
    mut error: Box<Error>,
    reused: bool,
    answered: bool,
) -> Box<Error> {
    let Stage::Admitted(admitted) = &mut exchange.stage else {
        return error;
    };
    let Some(current) = &mut admitted.current else {
        // Judged by its answer's head already.
        return error;
    };
    if current.again.is_some() {
        // It is to be asked once more before it is judged.
        return error;
    }
    if let Some(refusal) = admitted.relay.take_refusal() {
        return refused(exchange, error, refusal, answered);
    }
    let silent = admitted.relay.take_silence();
    if answered {
        error.set_retry(false);
        if silent && admitted.relay.is_tunnel() {
            exchange.end = End::Idle;
            return error;
        }
        let client_left = !silent && error.esource() == &ErrorSource::Downstream;
        commit::broke(exchange, client_left);
        return error;
    }
    if !silent && let Some(again) = resend::again(exchange, &error, reused) {
        return again;
    }
    let Some(admitted) = exchange.admitted() else {
        return error;
    };
    let has_answered = admitted
        .current
        .as_ref()
        .is_some_and(|it| it.status.is_some());
    let comes_whole = !has_answered && admitted.comes_whole();
    let fault = match error.esource() {
        _ if silent && comes_whole => Fault::Slow,
        _ if silent => Fault::Silence,
        _ if resend::told(&error) == Told::NotProcessed => Fault::Connect,
        ErrorSource::Downstream => {
            exchange.end = End::ClientLeft;
            exchange.judge(&Outcome::ClientLeft, Instant::now());
            error.set_retry(false);
            return error;
        }
        _ if error.etype() == &ErrorType::ReadTimedout => Fault::Silence,
        _ => Fault::Reset,
    };
    error.as_up();
    let outcome = admitted.relay.gate().broken_off(fault);
    let outcome = outcome.unwrap_or(Outcome::fault(fault));
    let current = exchange.admitted().and_then(|it| it.current.as_ref());
    let status = current.and_then(|current| current.status).unwrap_or(0);
    if let Some(again) = asked_again(exchange, &outcome, status) {
        return again;
    }
    let step = ended(exchange, &outcome, false);
    apply(exchange, step, error)
}

/// Ends an attempt whose body turned out, on its way, to be one that is refused: no matter of the deployment's.
fn refused(
    exchange: &mut Exchange,
    mut error: Box<Error>,
    refusal: Refusal,
    answered: bool,
) -> Box<Error> {
    error.set_retry(false);
    if answered {
        exchange.end = End::Broken;
        exchange.close(&Outcome::ClientLeft);
    } else {
        exchange.judge(&Outcome::ClientLeft, Instant::now());
        exchange.refusal = Some(refusal);
    }
    error
}

/// What a deployment says of itself in passing (AZURE.md 4).
fn read_gauges(metrics: &DeploymentMetrics, head: &ResponseHeader) {
    let text = |name: HeaderName| {
        let value = head.headers.get(name)?;
        Some(value.to_str().ok()?.trim())
    };
    if let Some(percent) = text(UTILIZATION)
        && let Ok(percent) = percent.trim_end_matches('%').parse::<f64>()
        && percent.is_finite()
    {
        metrics.say_utilization(percent / 100.0);
    }
    if let Some(tokens) = text(REMAINING_TOKENS).and_then(|tokens| tokens.parse().ok()) {
        metrics.say_remaining_tokens(tokens);
    }
    if let Some(requests) = text(REMAINING_REQUESTS).and_then(|requests| requests.parse().ok()) {
        metrics.say_remaining_requests(requests);
    }
}
