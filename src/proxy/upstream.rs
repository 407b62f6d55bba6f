//! What Pingora's hooks about deployments come to: each takes the attempt to its next stage, and makes Pingora do what
//! follows. The one way back is [`next_peer`]: Pingora calls it again for an error that says so.

use std::{
    mem,
    sync::Weak,
    time::{Instant, SystemTime},
};

use http::{HeaderName, StatusCode, Version, header};
use pingora::{
    Error, ErrorSource, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
    upstreams::peer::HttpPeer,
};

use super::{
    attempt::{Begun, HeldAnswer, Loss, Position, Turn, Unanswered, told},
    connector::cork::Cork,
    deliver::{self, settle, taken_back, then},
    exchange::{Admitted, Proxied},
    gateway::Gateway,
    response_head::dress,
    session::is_final,
};
use crate::{
    domain::{
        body_outcome::UnsettledAnswer,
        failover::Step,
        outcome::{Fault, Outcome},
        realtime::is_accepted,
        refusal::Refusal,
        resend::Told,
    },
    telemetry::record::AnswerEnd,
};

/// Takes the next deployment that can be asked, and says where it is.
pub(super) async fn next_peer(mut it: Proxied<'_>) -> Result<Box<HttpPeer>> {
    loop {
        let Admitted { walk, position, .. } = &mut *it.admitted;
        let now = Instant::now();
        let begun = match position.take_again() {
            Some(again) => again.connect(walk).await,
            None => match walk.choose(now) {
                Ok(chosen) => Turn::new(chosen, &walk.call, now).connect(walk).await,
                Err(refusal) => return nobody_left(it.refusal.insert(refusal)),
            },
        };
        match begun {
            Begun::Connecting(connecting, peer) => {
                *position = Position::Connecting(connecting);
                return Ok(peer);
            }
            Begun::Over(over) => {
                it.follow(over);
            }
        }
        if let Some(refusal) = it.refusal {
            return nobody_left(refusal);
        }
    }
}

fn nobody_left<T>(refusal: &Refusal) -> Result<T> {
    let status = ErrorType::HTTPStatus(refusal.status().as_u16());
    Error::e_explain(status, "no deployment is left to ask")
}

/// Judges an attempt that could not get a connection.
pub(super) fn no_connection(mut it: Proxied<'_>, error: Box<Error>) -> Box<Error> {
    let Position::Connecting(connecting) = mem::take(&mut it.admitted.position) else {
        return error;
    };
    let unanswered = connecting.cut_off();
    // A stream of its own, on a connection that is there, is what was wanted.
    if let Some(loss) = unanswered.loss(&error, true, &it.admitted.walk) {
        return resend(&mut it, unanswered, loss, &error);
    }
    let over = unanswered.unconnected(&error, &mut it.admitted.walk);
    then(it.follow(over), error)
}

/// Takes in that a connection has come about.
pub(super) fn connected(it: Proxied<'_>, cork: Weak<Cork>) {
    let call = &it.admitted.walk.call;
    if let Position::Connecting(connecting) = &it.admitted.position {
        connecting.note_connected(call);
    }
    call.relay.take_cork(cork);
}

/// Makes the client's request the one that the deployment is sent.
pub(super) fn send(it: Proxied<'_>, head: &mut RequestHeader) -> Result<()> {
    it.overhead.stop();
    let Admitted { walk, position, .. } = it.admitted;
    let Position::Connecting(connecting) = mem::take(position) else {
        return Error::e_explain(ErrorType::InternalError, "no deployment was chosen");
    };
    let trace = it.arrival.trace.as_deref();
    let request = connecting.request(&walk.call, trace, head);
    let sent;
    (*position, sent) = match request {
        Ok(request) => (Position::Sent(connecting.send(request, walk)), Ok(())),
        Err(error) => (Position::Connecting(connecting), Err(error)),
    };
    sent
}

/// Judges an answer by its head. `Err` takes it back before the client has seen any of it.
pub(super) fn response(
    gateway: &Gateway,
    mut it: Proxied<'_>,
    head: &mut ResponseHeader,
) -> Result<()> {
    let position = &mut it.admitted.position;
    if !is_final(head) {
        // It says that there is more to come, and nothing else.
        let names: Vec<HeaderName> = head.headers.keys().cloned().collect();
        for name in &names {
            head.remove_header(name);
        }
        if let Position::Sent(sent) = position {
            sent.note_heard();
        }
        return Ok(());
    }
    let Position::Sent(sent) = mem::take(position) else {
        return Error::e_explain(ErrorType::InternalError, "an answer to nothing");
    };
    let held = sent.answered(head, &mut it.admitted.walk);
    let is_tunnel = it.admitted.walk.call.relay.is_tunnel();
    if head.status == StatusCode::SWITCHING_PROTOCOLS || is_tunnel && is_no_refusal(head.status) {
        let outcome = switched(head, is_tunnel);
        settle(&mut it, held, outcome)?;
        dress(gateway, &mut it, head)?;
        return upgrade(head);
    }
    let now = SystemTime::now();
    let added = held.answer().added();
    match UnsettledAnswer::of_added(head.status, &head.headers, added, now) {
        Some(opening) => hold(&mut it, held, head, opening),
        None => {
            let outcome = Outcome::of_response(head.status, &head.headers, now);
            settle(&mut it, held, outcome)?;
        }
    }
    dress(gateway, &mut it, head)
}

fn is_no_refusal(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// What an answer means that says that from here on it is no HTTP any more, or that should have said so. Between what was
/// not asked for and what was not granted there is no tunnel.
fn switched(head: &ResponseHeader, is_tunnel: bool) -> Outcome {
    let is_switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
    if !is_tunnel {
        Outcome::fault(Fault::Status)
    } else if is_switched && head.version == Version::HTTP_11 && is_accepted(&head.headers) {
        Outcome::Served
    } else if head.status.is_redirection() {
        Outcome::Redirected
    } else {
        // Of its other work it says nothing.
        Outcome::Unwanted
    }
}

fn upgrade(head: &mut ResponseHeader) -> Result<()> {
    head.remove_header(&header::CONTENT_LENGTH);
    head.remove_header(&header::TRANSFER_ENCODING);
    head.insert_header(header::CONNECTION, "Upgrade")?;
    head.insert_header(header::UPGRADE, "websocket")
}

/// Holds an answer whose head does not settle it.
fn hold(
    it: &mut Proxied<'_>,
    held: HeldAnswer,
    head: &mut ResponseHeader,
    opening: UnsettledAnswer,
) {
    let (call, answer) = (&it.admitted.walk.call, held.answer());
    if head.status.is_success() {
        answer.looks_well();
    }
    let until = Instant::now() + call.served.bounds.hold;
    let mut gate = call.relay.gate();
    if opening.is_stream() {
        // We may have to add to it.
        head.remove_header(&header::CONTENT_LENGTH);
    }
    let trims = opening.is_stream() && answer.was_asked_for_usage();
    gate.hold(opening, until);
    if trims {
        // What of it only the gateway asked for does not go out.
        gate.answer.trim_usage();
    }
    drop(gate);
    it.admitted.position = Position::HeldAnswer(held);
}

/// Has the same deployment asked once more, over another connection.
fn resend(it: &mut Proxied<'_>, lost: Unanswered, loss: Loss, error: &Error) -> Box<Error> {
    let over = lost.resend(loss, &it.admitted.walk);
    it.overhead.start();
    let what = "the request was lost with its connection";
    let error = Error::explain(error.etype().clone(), what).into_up();
    then(it.follow(over), error)
}

/// How an attempt's connection failed.
struct Failed {
    error: Box<Error>,
    /// The connection came from the pool.
    is_reused: bool,
    /// It was ended because nothing came in time.
    is_silent: bool,
}

/// Judges an attempt that failed on its connection. `is_answered`: the client has an answer's head.
pub(super) fn failure(
    it: Proxied<'_>,
    error: Box<Error>,
    is_reused: bool,
    is_answered: bool,
) -> Box<Error> {
    let Admitted { walk, position, .. } = &mut *it.admitted;
    if !position.is_under_way() {
        // Judged by its answer's head already, or to be asked once more before it is judged.
        return error;
    }
    let relay = &walk.call.relay;
    if let Some(refusal) = relay.take_refusal() {
        return refused(it, error, refusal, is_answered);
    }
    let failed = Failed {
        is_silent: relay.take_silence(),
        error,
        is_reused,
    };
    if is_answered {
        return broke(it, failed);
    }
    let comes_whole = position.answer().is_none() && walk.call.comes_whole();
    let Some(fault) = failed.fault(comes_whole) else {
        it.delivery.end = AnswerEnd::ClientLeft;
        it.admitted.close(&Outcome::ClientLeft);
        return then(Step::GiveUp, failed.error);
    };
    match mem::take(position) {
        Position::Connecting(connecting) => unanswered(it, connecting.cut_off(), failed, fault),
        Position::Sent(sent) => unanswered(it, sent.cut_off(), failed, fault),
        Position::HeldAnswer(held) => untold(it, held, failed, fault),
        delivering => {
            *position = delivering;
            broke(it, failed)
        }
    }
}

/// Ends an attempt whose body turned out, on its way, to be one that is refused: no matter of the deployment's.
fn refused(it: Proxied<'_>, error: Box<Error>, refusal: Refusal, is_answered: bool) -> Box<Error> {
    if is_answered {
        it.delivery.end = AnswerEnd::Broken
    } else {
        *it.refusal = Some(refusal)
    }
    it.admitted.close(&Outcome::ClientLeft);
    then(Step::GiveUp, error)
}

/// Nothing of an answer has come.
fn unanswered(mut it: Proxied<'_>, lost: Unanswered, failed: Failed, fault: Fault) -> Box<Error> {
    let Failed {
        error, is_reused, ..
    } = &failed;
    if !failed.is_silent
        && let Some(loss) = lost.loss(error, *is_reused, &it.admitted.walk)
    {
        return resend(&mut it, lost, loss, error);
    }
    let over = lost.end(&Outcome::fault(fault), &mut it.admitted.walk);
    then(it.follow(over), failed.error.into_up())
}

/// Something of an answer has come, and nothing of it has gone out.
fn untold(mut it: Proxied<'_>, held: HeldAnswer, failed: Failed, fault: Fault) -> Box<Error> {
    let walk = &mut it.admitted.walk;
    let status = held.answer().status();
    let outcome = walk.call.relay.gate().broken_off(fault);
    let over = held.broken_off(&outcome.unwrap_or(Outcome::fault(fault)), walk);
    let error = match over.again {
        Some(_) => taken_back(status),
        None => failed.error.into_up(),
    };
    then(it.follow(over), error)
}

/// It is out, in part at least.
fn broke(it: Proxied<'_>, failed: Failed) -> Box<Error> {
    if failed.is_silent && it.admitted.walk.call.relay.is_tunnel() {
        it.delivery.end = AnswerEnd::Idle;
    } else {
        deliver::broke(it, !failed.is_silent && failed.is_downstream());
    }
    then(Step::GiveUp, failed.error)
}

impl Failed {
    fn is_downstream(&self) -> bool {
        self.error.esource() == &ErrorSource::Downstream
    }

    /// Whose doing it is; `None`: the client has left. `comes_whole`: the first byte would have come when all was done.
    fn fault(&self, comes_whole: bool) -> Option<Fault> {
        match () {
            () if self.is_silent && comes_whole => Some(Fault::Slow),
            () if self.is_silent => Some(Fault::Silence),
            () if told(&self.error) == Told::NotProcessed => Some(Fault::Connect),
            () if self.is_downstream() => None,
            () if self.error.etype() == &ErrorType::ReadTimedout => Some(Fault::Silence),
            () => Some(Fault::Reset),
        }
    }
}
