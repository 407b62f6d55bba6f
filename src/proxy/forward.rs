//! Deployment to peer; the outgoing path and headers.
//!
//! To a deployment goes an allow-list of request headers and nothing else a client sent: never its
//! credential, its cookies, or what stands between it and us (DESIGN.md 6).

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderValue, Version, header};
use pingora::{
    Error, ErrorType, Result, http::RequestHeader, protocols::ALPN, upstreams::peer::HttpPeer,
};

use super::{
    admission, body,
    exchange::{Admitted, Again, Current, Exchange, Stage, Wish},
    realtime,
    served::{Served, Target},
    session::{Behind, Relay},
};
use crate::domain::{
    additions::Form,
    ask::Splice,
    deployment::Deployment,
    failover::{Progress, Step},
    outcome::{Blame, Fault, Outcome},
    pool::UNSAID_WAIT,
    quota::Field,
    refusal::Refusal,
    route::{Operation, body_names_deployment, may_ask_for_usage, outgoing},
    trace::{SpanId, TRACEPARENT},
};

/// For a fresh token, after one was refused: as long as for a few tries at the authority, no longer.
const RENEWAL_TIME: Duration = Duration::from_secs(5);
/// A body up to this size leaves together with its head: a fresh connection takes so much at once.
const ONE_PACKET: usize = 16 << 10;

/// Takes the next deployment that can be asked, and says where it is.
pub(super) async fn next_peer(exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
    match once_more(exchange).await {
        Some(Ok(peer)) => return Ok(peer),
        Some(Err(Step::GiveUp)) => {
            let refusal = last_word(exchange);
            return give_up(exchange, refusal);
        }
        Some(Err(_)) | None => {}
    }
    loop {
        let chosen = choose(exchange).await;
        let fault = match chosen {
            Ok(peer) => return Ok(peer),
            Err(NotAsked::Refused(refusal)) => return give_up(exchange, refusal),
            Err(NotAsked::Failed(fault)) => fault,
        };
        if let Step::GiveUp = ended(exchange, &Outcome::fault(fault), false) {
            let refusal = last_word(exchange);
            return give_up(exchange, refusal);
        }
    }
}

enum NotAsked {
    /// Nothing is left to ask.
    Refused(Refusal),
    /// The chosen deployment could not even be tried.
    Failed(Fault),
}

async fn choose(exchange: &mut Exchange) -> std::result::Result<Box<HttpPeer>, NotAsked> {
    let Stage::Admitted(admitted) = &mut exchange.stage else {
        return Err(NotAsked::Refused(Refusal::Internal));
    };
    let now = Instant::now();
    let operation = admitted.call.1;
    let Admitted {
        served,
        progress,
        current,
        relay,
        ..
    } = &mut **admitted;
    let out = served.pool.out_for(operation, progress.tried(), now);
    let chosen = served.pool.choose(&out, now, fastrand::u64(..));
    let mut attempt = chosen.map_err(|exhausted| {
        let exhausted = served.pool.in_the_way(operation, exhausted, now);
        NotAsked::Refused(progress.refusal(&exhausted, &served.bounds, now))
    })?;
    drop(out);
    attempt.asks(operation);
    progress.start(attempt.index());
    let token_by = progress
        .deadline(&served.bounds)
        .min(now + served.bounds.connect_timeout);
    let target = &served.targets[attempt.index()];
    let inflight = target.metrics.enter();
    *current = Some(Current::new(attempt, now, inflight));
    let credential = &target.reach.credential;
    // Only before the first token ever came is one worth waiting for, and no longer than for a connection.
    let mut held = credential.header(SystemTime::now());
    if held.is_none() && credential.ready(token_by).await {
        held = credential.header(SystemTime::now());
    }
    let (_, value) = held.ok_or(NotAsked::Failed(Fault::Credential))?;
    if let Some(current) = current {
        current.sent = Some(value);
    }
    let address = target
        .reach
        .address()
        .ok_or(NotAsked::Failed(Fault::Connect))?;
    let (served, relay) = (&**served, &**relay);
    Ok(match current {
        Some(current) => peer(served, relay, current, address),
        None => return Err(NotAsked::Refused(Refusal::Internal)),
    })
}

/// Where the current attempt goes, and over which connections it may.
fn peer(
    served: &Served,
    relay: &Relay,
    current: &mut Current,
    address: SocketAddr,
) -> Box<HttpPeer> {
    let target = &served.targets[current.attempt.index()];
    current.generation = target.connections.generation();
    let group = target.group(current.alone);
    let mut peer = target.reach.peer(address, group, &served.bounds);
    if target.connections.wants_http1() {
        peer.options.alpn = ALPN::H1;
    }
    if relay.is_tunnel() {
        realtime::prepare(&mut peer, &served.bounds);
    }
    peer
}

/// The same deployment again, where something beside it stood in the way. `Err`: that could not be cleared away.
async fn once_more(exchange: &mut Exchange) -> Option<std::result::Result<Box<HttpPeer>, Step>> {
    let admitted = exchange.admitted()?;
    let current = admitted.current.as_mut()?;
    let again = current.again.take()?;
    let target = &admitted.served.targets[current.attempt.index()];
    if let Again::FreshToken(refused) = &again {
        let deadline = admitted.progress.deadline(&admitted.served.bounds);
        let by = deadline.min(Instant::now() + RENEWAL_TIME);
        if !target.reach.credential.renew(refused, by).await {
            // What was refused is written down already.
            let now = Instant::now();
            exchange.tell_pool(&Outcome::IdentityRejected, now);
            return Some(Err(let_go(
                exchange,
                &Outcome::IdentityRejected,
                false,
                now,
            )));
        }
        current.renewed = true;
    }
    current.status = None;
    current.spillover = None;
    current.started = Instant::now();
    current.span = SpanId::of(fastrand::u64(..));
    (current.sent_at, current.was_heard) = (None, false);
    match target.reach.address() {
        Some(address) => Some(Ok(peer(
            &admitted.served,
            &admitted.relay,
            current,
            address,
        ))),
        None => Some(Err(ended(exchange, &Outcome::fault(Fault::Connect), false))),
    }
}

/// Writes down how the current attempt ended, lets go of it, and says what follows. `at_hand`: whether its answer could
/// still be delivered.
pub(super) fn ended(exchange: &mut Exchange, outcome: &Outcome, at_hand: bool) -> Step {
    let now = Instant::now();
    exchange.judge(outcome, now);
    let_go(exchange, outcome, at_hand, now)
}

/// Lets go of the current attempt, which is judged already, unless its answer is to be delivered.
fn let_go(exchange: &mut Exchange, outcome: &Outcome, at_hand: bool, now: Instant) -> Step {
    let Stage::Admitted(admitted) = &mut exchange.stage else {
        return Step::GiveUp;
    };
    let replayable = admitted.replayable();
    let operation = admitted.call.1;
    if operation == Operation::Responses && admitted.relay.acts() {
        admitted.progress.note_acts();
    }
    let client = exchange.client.as_ref().map(|client| &client.name);
    let Admitted {
        served,
        progress,
        current,
        ..
    } = &mut **admitted;
    let (budget, is_fault) = (served.pool.budget(), outcome.is_load());
    if is_fault && progress.has_moved_on() {
        budget.note_wasted(client, now);
    }
    let budget_left = !is_fault || budget.allows(client, now);
    let mut step = progress.after(outcome, &served.bounds, budget_left, now);
    let mut out_of_budget = false;
    if step != Step::Deliver {
        let tried = served.pool.out_for(operation, progress.tried(), now);
        let has_ready = served.pool.has_ready(&tried, now);
        out_of_budget = !budget_left && has_ready;
        if step == Step::TryAnother && !replayable {
            step = Step::GiveUp;
        }
        let goes_on = step == Step::TryAnother && has_ready;
        let status = current.as_ref().and_then(|it| it.status).unwrap_or(0);
        if is_told(progress, outcome, status) && at_hand && !goes_on {
            step = Step::Deliver;
        }
    }
    if step != Step::Deliver {
        *current = None;
        // What had come of an answer that was held.
        exchange.response_bytes = 0;
        exchange.start_clock();
    }
    exchange.out_of_budget |= out_of_budget;
    step
}

/// Whether a failure is told to the client as it is, where nobody is left to ask: it is most likely the request's own.
fn is_told(progress: &mut Progress, outcome: &Outcome, status: u16) -> bool {
    // A switch of protocols that nobody asked for is no answer, whoever else says the same.
    let is_answer = status >= 200;
    if !is_answer || outcome.blame() != Blame::Unclear {
        return false;
    }
    let is_alike = progress.failed_alike(outcome, status);
    (is_alike || outcome.is_refusal()) && !outcome.is_silent()
}

/// What the client is told when no further attempt is made.
pub(super) fn last_word(exchange: &mut Exchange) -> Refusal {
    let now = Instant::now();
    let Some(admitted) = exchange.admitted() else {
        return Refusal::Internal;
    };
    let replayable = admitted.replayable();
    let operation = admitted.call.1;
    let Admitted {
        served, progress, ..
    } = admitted;
    let tried = served.pool.out_for(operation, progress.tried(), now);
    let mut exhausted = served.pool.exhausted(&tried, now);
    if !replayable && served.pool.has_ready(&tried, now) {
        // It is this request alone that can't go on: sent once more, it will find them. Nobody named a time, and a client
        // that is sent back at once has used up its own tries before anything has changed.
        (exhausted.throttled, exhausted.back_at) = (false, now + UNSAID_WAIT);
    }
    let exhausted = served.pool.in_the_way(operation, exhausted, now);
    progress.refusal(&exhausted, &served.bounds, now)
}

fn give_up<T>(exchange: &mut Exchange, refusal: Refusal) -> Result<T> {
    let status = refusal.status().as_u16();
    exchange.refusal = Some(refusal);
    Error::e_explain(
        ErrorType::HTTPStatus(status),
        "no deployment is left to ask",
    )
}

/// Builds what the current deployment is sent in place of what the client sent.
pub(super) fn rewrite(exchange: &mut Exchange, request: &mut RequestHeader) -> Result<()> {
    exchange.stop_clock();
    let Stage::Admitted(admitted) = &mut exchange.stage else {
        return Error::e_explain(ErrorType::InternalError, "not admitted");
    };
    let Some(current) = &admitted.current else {
        return Error::e_explain(ErrorType::InternalError, "no attempt is under way");
    };
    let deployment = current.attempt.deployment();
    let (instance, name) = (&deployment.instance, deployment.name.as_str());
    let path = outgoing(
        admitted.call_at(instance),
        instance.kind,
        instance.endpoint.base_path(),
        name,
        &admitted.query,
    );
    let Some(body) = admitted.relay.kept() else {
        return Error::e_explain(ErrorType::InternalError, "the body was let go of");
    };
    let target = &admitted.served.targets[current.attempt.index()];
    let (usage, wish) = wish(admitted, current, target, &body);
    let form = match current.refused_forms.is_any() {
        true => current.form,
        false if admitted.wanted.is_some() => target.takes.form(&admitted.query),
        false => Form::Usual,
    };
    let (pieces, limit) = outgoing_body(admitted, &body, deployment, wish, form);
    let length: usize = pieces.iter().map(bytes::Bytes::len).sum();

    // Names go out in lower case, as over HTTP/2: no second map of how each is to be spelled.
    let is_tunnel = admitted.relay.is_tunnel();
    let method = match is_tunnel {
        true => http::Method::GET,
        false => http::Method::POST,
    };
    let mut out =
        RequestHeader::build_no_case(method, path.as_bytes(), Some(admitted.headers.len() + 4))?;
    out.set_version(request.version);
    out.insert_header(header::HOST, instance.endpoint.authority())?;
    for (name, value) in &admitted.headers {
        let value = match &exchange.trace {
            Some(trace) if *name == TRACEPARENT => trace.traceparent(current.span),
            _ => value.clone(),
        };
        out.insert_header(name.clone(), value)?;
    }
    for named in &admitted.named {
        if let Some((name, value)) = named.on(instance) {
            out.insert_header(name, value)?;
        }
    }
    // So that what is used can be read from the answer as it passes.
    out.insert_header(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    )?;
    match admitted.relay.behind() {
        Behind::Nothing if is_tunnel => realtime::ask(&mut out, request)?,
        Behind::Nothing => out.insert_header(header::CONTENT_LENGTH, length)?,
        Behind::Bytes(Some(more)) => out.insert_header(header::CONTENT_LENGTH, length + more)?,
        // Pingora sends it in chunks.
        Behind::Bytes(None) => {}
    }
    let credential = &target.reach.credential;
    // Where it ended while connecting, the one it was chosen with: the instance will say.
    let held = credential
        .header(SystemTime::now())
        .or_else(|| Some((credential.name(), current.sent.clone()?)));
    let Some((name, value)) = held else {
        return Error::e_explain(ErrorType::InternalError, "there is no token");
    };
    out.insert_header(name, value.clone())?;
    *request = out;

    let now = Instant::now();
    let bounds = &admitted.served.bounds;
    let streams = !admitted.comes_whole();
    let due = admitted.progress.first_byte_by(bounds, streams, now);
    let idle_timeout = admitted.served.bounds.idle_timeout;
    if let Some(current) = &mut admitted.current {
        current.sent = Some(value);
        current.usage = usage;
        (current.form, current.limit) = (form, limit);
        current.sent_at = Some(now);
    }
    let relay = &admitted.relay;
    relay.order(pieces, due, idle_timeout);
    let fits = !is_tunnel && relay.behind() == Behind::Nothing && length <= ONE_PACKET;
    relay.cork(fits && request.version == Version::HTTP_11);
    Ok(())
}

/// What makes a chat's stream tell its usage, where its client did not ask for that and the deployment may be asked.
fn wish(
    admitted: &Admitted,
    current: &Current,
    target: &Target,
    body: &bytes::Bytes,
) -> (Wish, Option<Splice>) {
    let instance = &current.attempt.deployment().instance;
    let is_whole = admitted.relay.behind() == Behind::Nothing;
    let tells_if_asked = matches!(
        admitted.call.1,
        Operation::ChatCompletions | Operation::Completions
    );
    let splice = || admitted.ask.asking_for_usage(body);
    let Some(splice) = (is_whole && tells_if_asked).then(splice).flatten() else {
        return (Wish::None, None);
    };
    let may = instance.stream_usage
        && may_ask_for_usage(admitted.call_at(instance), instance.kind, &admitted.query)
        && target.takes.tells_usage(&admitted.query);
    match current.usage {
        Wish::Refused => (Wish::Refused, None),
        _ if may => (Wish::Asked, Some(splice)),
        _ => (Wish::NotAsked, None),
    }
}

/// The client's body, the model's name in it replaced where the body is what names the deployment, and what is wished for
/// added.
fn outgoing_body(
    admitted: &Admitted,
    body: &bytes::Bytes,
    deployment: &Deployment,
    wish: Option<Splice>,
    form: Form,
) -> (Vec<bytes::Bytes>, Option<Field>) {
    let names_it = body_names_deployment(admitted.call, deployment.instance.kind);
    let name = deployment.name.as_str();
    let name = names_it.then(|| admitted.ask.naming(name)).flatten();
    let (changes, limit) = admission::changes(admitted, &deployment.instance, form);
    let mut changes: Vec<Splice> = name.into_iter().chain(wish).chain(changes).collect();
    admitted.ask.joined(&mut changes);
    (body::spliced(body, changes), limit)
}
