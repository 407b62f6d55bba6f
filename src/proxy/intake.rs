//! Identify, read, authorize: what stands between a request's arrival and the choice of a deployment.
//! Cheap refusals come first: who is unknown is turned away before its body is read.

mod begin;
mod realtime;
mod understand;

use std::{sync::Arc, time::Instant};

use http::{Method, StatusCode, Version, header};
use pingora::http::RequestHeader;
use pingora_proxy::Session;
use serde_json::json;

use super::{
    admission::Limits,
    downstream::connection_address,
    exchange::{Admitted, Arrival, Exchange},
    gateway::Gateway,
    identify::{Shown, certificate, identify},
    realtime::handshake,
    reply::Reply,
};
use crate::domain::{
    client::{Client, Clients},
    cors, head,
    refusal::Refusal,
    route::{Route, route},
    trace::{Caller, Sampling, Trace},
};

/// What becomes of a request that has arrived.
pub(super) enum IntakeVerdict {
    Forward(Box<Admitted>),
    Answer(Reply),
}

pub(super) async fn admit(
    gateway: &Gateway,
    session: &mut Session,
    exchange: &mut Exchange,
) -> Result<IntakeVerdict, Refusal> {
    let arrival = &mut exchange.arrival;
    pass_front_door(gateway, session, arrival)?;
    let head = session.req_header();
    if head.version == Version::HTTP_2 {
        // Over HTTP/1 `connection` has judged it.
        let raw = head.raw_path();
        head::check(&head.method, raw, &head.headers, gateway.max_headers)?;
    }
    // Whose trace it is, and whether it is kept, only a client that is known may say.
    arrival.trace = gateway.tracing.map(|sampling| Box::new(trace(sampling)));
    if let Some(reply) = preflight(gateway, arrival, head) {
        return Ok(IntakeVerdict::Answer(reply));
    }
    let path = head.uri.path().to_owned();
    let route = route(&head.method, &path)?;
    if let Some(reply) = told_to_all(gateway, arrival, &route)? {
        return Ok(IntakeVerdict::Answer(reply));
    }
    let query = match route {
        Route::Realtime(_) => Some(handshake(head)?),
        _ => None,
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
    exchange.asked.limits = Limits::new(gateway.quotas.allowance_for(&client.name));
    serve(gateway, session, exchange, &client, route).await
}

/// What a known client gets.
async fn serve(
    gateway: &Gateway,
    session: &mut Session,
    it: &mut Exchange,
    client: &Arc<Client>,
    route: Route<'_>,
) -> Result<IntakeVerdict, Refusal> {
    let reply = match route {
        Route::Call(call) => {
            let admitted = understand::understand(gateway, session, it, client, call).await;
            return admitted.map(IntakeVerdict::Forward);
        }
        Route::Realtime(dialect) => {
            let admitted = realtime::understand(gateway, session, it, client, dialect);
            return admitted.map(IntakeVerdict::Forward);
        }
        Route::Health => health(gateway.is_healthy()),
        Route::ModelHealth(model) => {
            gateway.find(client, &model)?;
            model_health(gateway, &model)?
        }
        Route::Model(model) => {
            let served = gateway.find(client, &model)?;
            let model = served.pool.model().as_str();
            Reply::ok(described(gateway, model))
        }
        Route::Models => list(gateway, client),
    };
    Ok(IntakeVerdict::Answer(reply))
}

/// What nobody has to show anything for: health, and, where the operator wants that, a model's.
fn told_to_all(
    gateway: &Gateway,
    arrival: &mut Arrival,
    route: &Route<'_>,
) -> Result<Option<Reply>, Refusal> {
    if !matches!(route, Route::Health | Route::ModelHealth(_)) {
        return Ok(None);
    }
    // Front Door alone asks hundreds of times a minute.
    arrival.trace = None;
    match route {
        Route::Health => Ok(Some(health(gateway.is_healthy()))),
        Route::ModelHealth(model) if gateway.tells_models => model_health(gateway, model).map(Some),
        _ => Ok(None),
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

/// How the gateway is, or one of its models.
fn health(is_well: bool) -> Reply {
    let (status, said) = match is_well {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    Reply {
        status,
        no_store: true,
        ..Reply::ok(json!({"status": said}))
    }
}

/// How one model is.
fn model_health(gateway: &Gateway, model: &str) -> Result<Reply, Refusal> {
    let served = gateway.known(model).ok_or(Refusal::UnknownModel)?;
    let is_well = !gateway.drain.is_draining() && served.is_ready(Instant::now());
    Ok(health(is_well))
}

/// The models that a client may use.
fn list(gateway: &Gateway, client: &Client) -> Reply {
    let mut models: Vec<&str> = gateway.models.keys().map(|model| model.as_str()).collect();
    models.retain(|model| client.may_use(model));
    models.sort_unstable();
    let data: Vec<_> = models
        .into_iter()
        .map(|model| described(gateway, model))
        .collect();
    Reply::ok(json!({"object": "list", "data": data}))
}

/// One model, as a list of them says it.
fn described(gateway: &Gateway, model: &str) -> serde_json::Value {
    json!({"id": model, "object": "model", "created": gateway.started, "owned_by": "forebay"})
}
