//! Identify, read, authorize: what stands between a request's arrival and the choice of a deployment.
//! Cheap refusals come first: who is unknown is turned away before its body is read.

mod begin;
mod realtime;
mod understand;

use std::sync::Arc;

use http::{Method, Version, header};
use pingora::http::RequestHeader;
use pingora_proxy::Session;
use serde_json::json;

use super::{
    admission::Limits,
    downstream::connection_address,
    exchange::{Admitted, Arrival, Exchange},
    gateway::Gateway,
    identify::{Shown, certificate, identify},
    own_answers,
    realtime::handshake,
    reply::Reply,
};
use crate::domain::{
    client::Clients,
    cors, head,
    refusal::Refusal,
    route::{Route, route},
    trace::{Caller, Sampling, Trace},
};

/// What becomes of a request at the door.
pub(super) enum Verdict {
    Forward(Box<Admitted>),
    Answer(Reply),
}

pub(super) async fn admit(
    gateway: &Gateway,
    session: &mut Session,
    exchange: &mut Exchange,
) -> Result<Verdict, Refusal> {
    let arrival = &mut exchange.arrival;
    pass_front_door(gateway, session, arrival)?;
    let head = session.req_header();
    if head.version == Version::HTTP_2 {
        // Over HTTP/1 the door has judged it.
        let raw = head.raw_path();
        head::check(&head.method, raw, &head.headers, gateway.max_headers)?;
    }
    // Whose trace it is, and whether it is kept, only a client that is known may say.
    arrival.trace = gateway.tracing.map(|sampling| Box::new(trace(sampling)));
    if let Some(reply) = preflight(gateway, arrival, head) {
        return Ok(Verdict::Answer(reply));
    }
    let path = head.uri.path().to_owned();
    let route = route(&head.method, &path)?;
    if let Route::Health | Route::ModelHealth(_) = route {
        // Front Door alone asks hundreds of times a minute.
        arrival.trace = None;
    }
    let query = match route {
        Route::Health => {
            let reply = own_answers::health(gateway.is_healthy());
            return Ok(Verdict::Answer(reply));
        }
        Route::ModelHealth(model) if gateway.tells_models => {
            return own_answers::model_health(gateway, &model).map(Verdict::Answer);
        }
        Route::Realtime(_) => Some(handshake(head)?),
        Route::ModelHealth(_) | Route::Models | Route::Model(_) | Route::Call(_) => None,
    };
    let client = identify(gateway, shown(session, query, arrival)).await?;
    if let Some(trace) = &mut arrival.trace {
        let caller = match gateway.clients {
            Clients::Listed(_) => Caller::Known,
            Clients::Anyone(_) => Caller::Anybody,
        };
        trace.join(&head.headers, caller);
    }
    exchange.asked.client = Some(Arc::clone(&client));
    exchange.asked.limits = Limits::of(gateway.quotas.of(&client.name));
    let it = exchange.arriving();
    match route {
        Route::Realtime(dialect) => {
            let admitted = realtime::understand(gateway, session, it, &client, dialect);
            admitted.map(Verdict::Forward)
        }
        Route::Call(call) => {
            let admitted = understand::understand(gateway, session, it, &client, call).await;
            admitted.map(Verdict::Forward)
        }
        Route::ModelHealth(model) => {
            gateway.find(&client, &model)?;
            own_answers::model_health(gateway, &model).map(Verdict::Answer)
        }
        Route::Model(model) => {
            let served = gateway.find(&client, &model)?;
            let model = served.pool.model().as_str();
            let reply = Reply::ok(own_answers::described(gateway, model));
            Ok(Verdict::Answer(reply))
        }
        Route::Health | Route::Models => Ok(Verdict::Answer(own_answers::list(gateway, &client))),
    }
}

/// What a browser is told that asks whether its page may ask; whose page that is stays known.
fn preflight(gateway: &Gateway, arrival: &mut Arrival, head: &RequestHeader) -> Option<Reply> {
    let cors = gateway.cors.as_ref()?;
    arrival.origin = cors.allows(&head.headers).cloned().map(Box::new);
    if head.method != Method::OPTIONS || arrival.origin.is_none() {
        return None;
    }
    let limits = cors::preflight(&head.headers)?;
    arrival.trace = None;
    Some(Reply {
        limits,
        ..Reply::ok(json!({}))
    })
}

/// What a request shows of who sends it.
fn shown<'a>(session: &'a Session, query: Option<&'a str>, arrival: &Arrival) -> Shown<'a> {
    let head = session.req_header();
    Shown {
        headers: &head.headers,
        query,
        certificate: certificate(session),
        host: head.headers.get(header::HOST).map_or_else(
            || head.uri.authority().map(|authority| authority.as_str()),
            |host| host.to_str().ok(),
        ),
        may_browse: arrival.origin.is_some(),
    }
}

/// Lets in what came the way that the operator wants requests to come, before anything else is looked at.
fn pass_front_door(
    gateway: &Gateway,
    session: &mut Session,
    arrival: &mut Arrival,
) -> Result<(), Refusal> {
    let Some(front_door) = &gateway.front_door else {
        return Ok(());
    };
    let (head, connection) = (session.req_header(), connection_address(session));
    let admitted = front_door.admit(head.uri.path(), connection, &head.headers);
    if admitted.is_err() {
        // A stranger asks nothing more.
        session.set_keepalive(None);
    }
    arrival.client_address = admitted?;
    Ok(())
}

/// A trace that starts here.
fn trace(sampling: Sampling) -> Trace {
    let (id, span) = (fastrand::u128(..), fastrand::u64(..));
    Trace::start(sampling, id, span)
}
