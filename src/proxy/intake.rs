//! Identify, read, authorize: what stands between a request's arrival and the choice of a deployment.
//! Cheap refusals come first: who is unknown is turned away before its body is read.

use std::{
    sync::{Arc, Once},
    time::Instant,
};

use bytes::Bytes;
use http::{Method, Version, header};
use pingora::http::RequestHeader;
use pingora_proxy::Session;
use serde_json::json;

use super::{
    admission,
    body::{self, Arrived, Passage, Terms},
    downstream::connection_address,
    exchange::{Admitted, Exchange},
    gateway::Gateway,
    identify::{Shown, certificate, identify},
    named,
    prompt::Prompt,
    realtime,
    reply::Reply,
    served::Served,
    session::{Keepalive, Relay},
};
use crate::{
    domain::{
        ask::{self, Ask, Forbidden, Scan},
        client::{Client, Clients},
        cors,
        failover::{Progress, Repeat},
        forwarding::Forwarded,
        head,
        name::ModelName,
        pool::Suspicions,
        refusal::Refusal,
        route::{Call, Operation, Route, body_names_deployment, route},
        trace::{Caller, Sampling, Trace},
    },
    telemetry::prompt_log,
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
    pass_front_door(gateway, session, exchange)?;
    let head = session.req_header();
    if head.version == Version::HTTP_2 {
        // Over HTTP/1 the door has judged it.
        let raw = head.raw_path();
        head::check(&head.method, raw, &head.headers, gateway.max_headers)?;
    }
    // Whose trace it is, and whether it is kept, only a client that is known may say.
    exchange.trace = gateway.tracing.map(|sampling| Box::new(trace(sampling)));
    if let Some(cors) = &gateway.cors {
        exchange.origin = cors.allows(&head.headers).cloned().map(Box::new);
        if head.method == Method::OPTIONS
            && exchange.origin.is_some()
            && let Some(said) = cors::preflight(&head.headers)
        {
            exchange.trace = None;
            return Ok(Verdict::Answer(Reply {
                limits: said,
                ..Reply::ok(json!({}))
            }));
        }
    }
    let path = head.uri.path().to_owned();
    let route = route(&head.method, &path)?;
    if let Route::Health | Route::ModelHealth(_) = route {
        // Front Door alone asks hundreds of times a minute.
        exchange.trace = None;
    }
    let query = match route {
        Route::Health => return Ok(Verdict::Answer(health(gateway.is_healthy()))),
        Route::ModelHealth(model) if gateway.tells_models => {
            return model_health(gateway, &model);
        }
        Route::Realtime(_) => Some(realtime::handshake(head)?),
        Route::ModelHealth(_) | Route::Models | Route::Model(_) | Route::Call(_) => None,
    };
    let shown = Shown {
        headers: &head.headers,
        query,
        certificate: certificate(session),
        host: head.headers.get(header::HOST).map_or_else(
            || head.uri.authority().map(|authority| authority.as_str()),
            |host| host.to_str().ok(),
        ),
        may_browse: exchange.origin.is_some(),
    };
    let client = identify(gateway, shown).await?;
    if let Some(trace) = &mut exchange.trace {
        let caller = match gateway.clients {
            Clients::Listed(_) => Caller::Known,
            Clients::Anyone(_) => Caller::Anybody,
        };
        trace.join(&head.headers, caller);
    }
    exchange.client = Some(Arc::clone(&client));
    exchange.allowance = gateway.quotas.of(&client.name);
    match route {
        Route::Realtime(dialect) => realtime::admit(gateway, session, exchange, &client, dialect),
        Route::Call(call) => {
            let call = call.dated_by(head.uri.query().unwrap_or_default());
            understand(gateway, session, exchange, &client, call).await
        }
        Route::ModelHealth(model) => {
            gateway.find(&client, &model)?;
            model_health(gateway, &model)
        }
        Route::Model(model) => {
            let served = gateway.find(&client, &model)?;
            let model = served.pool.model().as_str();
            Ok(Verdict::Answer(Reply::ok(described(gateway, model))))
        }
        _ => Ok(Verdict::Answer(list(gateway, &client))),
    }
}

/// Lets in what came the way that the operator wants requests to come, before anything else is looked at.
fn pass_front_door(
    gateway: &Gateway,
    session: &mut Session,
    exchange: &mut Exchange,
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
    exchange.client_address = admitted?;
    Ok(())
}

/// A trace that starts here.
fn trace(sampling: Sampling) -> Trace {
    let (id, span) = (fastrand::u128(..), fastrand::u64(..));
    Trace::start(sampling, id, span)
}

/// Reads what is asked, of which model, and whether this client may.
async fn understand(
    gateway: &Gateway,
    session: &mut Session,
    exchange: &mut Exchange,
    client: &Client,
    call: Call<'_>,
) -> Result<Verdict, Refusal> {
    exchange.operation = Some(call.operation);
    client.operations.authorize(call.operation)?;
    let query = session.req_header().uri.query().unwrap_or_default();
    let query = gateway.forwarding.query(call.operation, query)?;
    Ask::check_headers(&session.req_header().headers)?;
    let forbidden = client.operations.forbidden(call.operation);
    let by_path = call
        .model
        .as_deref()
        .map(|model| gateway.find(client, model))
        .transpose()?;
    let known = by_path.as_ref().map(|served| served.pool.model());
    admission::enter(exchange, known)?;
    let is_limited = admission::needs_body(exchange);
    exchange.stop_clock();
    let stays = stays_as_it_is(&call, by_path.as_deref());
    let terms = Terms {
        bounds: &gateway.bounds,
        time: gateway.body_timeout,
        pause: gateway.pause,
        memory: &gateway.memory,
        passage: match is_limited {
            true => Passage::Never,
            false => passage(session.req_header(), stays),
        },
        forbidden,
        of_responses: call.operation.is_of_responses(),
    };
    let read = body::read(session, terms).await;
    exchange.start_clock();
    let Arrived { kept, mut rest } = read?;
    exchange.request_bytes = kept.len() as u64;
    let head = session.req_header();
    let ask = match &rest {
        None if is_limited => admission::read(session, call.operation, &kept)?,
        None => read_ask(head, &kept, stays)?,
        Some(rest) => rest.ask(),
    };
    if ask.in_background && call.operation == Operation::Responses {
        return Err(Refusal::NoBackground);
    }
    if let Some(rest) = rest.as_mut().filter(|_| call.operation.is_of_responses()) {
        rest.open = gateway.open_to(client);
        rest.check_tools()?;
    }
    let served = match by_path {
        Some(served) => served,
        None => {
            let missing = || ask::model_missing(call.operation, &kept);
            let model = ask.model.as_deref().ok_or_else(missing)?;
            let served = gateway.find(client, model)?;
            admission::ask_model(exchange, served.pool.model())?;
            served
        }
    };
    let mut acts = ask.acts;
    let is_looked_at = |forbidden: Forbidden| ask.may_use_state || !forbidden.is_chat;
    let scan = match forbidden.filter(|forbidden| is_looked_at(*forbidden)) {
        Some(forbidden) => Some(Scan::forbidding(forbidden)),
        None => (ask.has_tools && call.operation == Operation::Responses).then(Scan::of_response),
    };
    if let Some(mut scan) = scan.filter(|_| rest.is_none() && !ask.is_form()) {
        // What is still on its way is looked at as it comes.
        scan.push(&kept)?;
        acts |= scan.acts();
        check_tools(gateway, client, &scan)?;
    }
    let mut prompt = Prompt::of(call.operation, &kept);
    let wanted = admission::reserve(exchange, call.operation, &ask, &kept, &mut prompt)?;
    if rest.is_some() {
        // What is kept of it may be gone before its end.
        prompt.tokens();
    }
    let repeat = match acts && call.operation == Operation::Responses {
        true => Repeat::Acts,
        false => Repeat::Harmless,
    };
    let Forwarded {
        headers, naming, ..
    } = forwarded(gateway, head, exchange.trace.as_deref());
    let named = named::resolve(gateway, client, naming)?;
    let barred = named::barred(&named, &served.pool)?;
    let mut progress = start(exchange, &served, repeat)?;
    progress.bar(barred);
    let deadline = progress.deadline(&served.bounds);
    let keepalive = keepalive(gateway, call.operation, head);
    if client.log_prompts {
        let (model, whole) = (served.pool.model(), rest.is_none());
        log_prompt(gateway, exchange, client, model, &kept, whole);
    }
    Ok(Verdict::Forward(Box::new(Admitted {
        served,
        call: (call.dialect, call.operation),
        query,
        headers,
        named,
        prompt,
        ask,
        wanted,
        relay: Arc::new(Relay::new(kept, rest, deadline, keepalive)),
        progress,
        suspicions: Suspicions::default(),
        current: None,
    })))
}

/// Keeps what a client asks, whose operator wants that.
fn log_prompt(
    gateway: &Gateway,
    exchange: &Exchange,
    client: &Client,
    model: &ModelName,
    body: &Bytes,
    is_whole: bool,
) {
    let Some(log) = &gateway.telemetry.prompt_log else {
        return;
    };
    log.write(prompt_log::Prompt {
        arrived: exchange.arrived_at,
        request_id: Arc::clone(&exchange.request_id),
        client: client.name.clone(),
        model: model.clone(),
        operation: exchange.operation.map(Operation::path).unwrap_or_default(),
        body: body.clone(),
        is_whole,
    });
}

/// The headers that go on; what does not, though its client may miss it, is counted.
pub(super) fn forwarded(
    gateway: &Gateway,
    head: &RequestHeader,
    trace: Option<&Trace>,
) -> Forwarded {
    let forwarded = gateway.forwarding.choose(&head.headers, trace);
    let (over_limit, unlisted) = (&forwarded.over_limit, &forwarded.unlisted);
    if !(over_limit.is_empty() && unlisted.is_empty()) {
        gateway
            .telemetry
            .metrics
            .headers_dropped(over_limit.len(), unlisted.len());
        // The counter says how often; the names, which clients choose, are for whoever wonders what it counts.
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            tracing::warn!(event = "headers_dropped", ?over_limit, ?unlisted, "headers of a client do not go on to its deployment; \
                 forebay_headers_dropped_total counts further ones, server.forward_headers adds those that should");
        });
    }
    forwarded
}

/// Begins a request to a model, where any of its deployments can be asked now.
pub(super) fn start(
    exchange: &mut Exchange,
    served: &Served,
    repeat: Repeat,
) -> Result<Progress, Refusal> {
    exchange.model = Some(served.pool.model().clone());
    exchange.model_version = served.version.clone();
    let (progress, now) = (Progress::new(exchange.arrived, repeat), Instant::now());
    served.pool.budget().note_request(now);
    let operation = exchange.operation.unwrap_or(Operation::ChatCompletions);
    let out = served.pool.out_for(operation, &[], now);
    if !served.pool.has_ready(&out, now) {
        // Said here, and not once an attempt was begun, the client's connection stays usable.
        let exhausted = served.pool.exhausted(&out, now);
        let exhausted = served.pool.in_the_way(operation, exhausted, now);
        return Err(progress.refusal(&exhausted, &served.bounds, now));
    }
    Ok(progress)
}

/// How the answer is kept alive if it is a stream that falls quiet.
fn keepalive(gateway: &Gateway, operation: Operation, head: &RequestHeader) -> Option<Keepalive> {
    let agent = head.headers.get(header::USER_AGENT);
    let agent = agent.map(|agent| agent.as_bytes()).unwrap_or_default();
    Keepalive::of(gateway.stream_keepalive?, operation, agent)
}

/// Whether no deployment goes by what the body says of the model: the path names it, to all of them.
fn stays_as_it_is(call: &Call<'_>, by_path: Option<&Served>) -> bool {
    let call = (call.dialect, call.operation);
    by_path.is_some_and(|served| {
        let mut members = served.pool.members().iter();
        !members.any(|member| body_names_deployment(call, member.deployment().instance.kind))
    })
}

/// What must be known of a body before it may be passed on as it comes.
fn passage(head: &RequestHeader, stays_as_it_is: bool) -> Passage {
    let is_multipart = Ask::is_multipart(content_type(head));
    match (stays_as_it_is, is_multipart) {
        (true, _) => Passage::AsItIs {
            read_along: !is_multipart,
        },
        (false, true) => Passage::Never,
        (false, false) => Passage::OnceNamed,
    }
}

fn content_type(head: &RequestHeader) -> Option<&str> {
    head.headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

/// Where the path alone names the model, a body that can't be read is for the deployment to judge, as it always was.
/// Elsewhere it could name a model to the deployment that we did not read in it.
fn read_ask(head: &RequestHeader, body: &[u8], stays_as_it_is: bool) -> Result<Ask, Refusal> {
    match Ask::read(content_type(head), body) {
        Err(refusal) if !stays_as_it_is || refusal == Refusal::BodyTooDeep => Err(refusal),
        Err(_) => Ok(Ask::unread()),
        Ok(ask) => Ok(ask),
    }
}

/// What makes a response's pictures is a model of the client's too.
fn check_tools(gateway: &Gateway, client: &Client, scan: &Scan) -> Result<(), Refusal> {
    let mut named = scan.tool_models().iter();
    match named.all(|model| gateway.find(client, model).is_ok()) {
        true => Ok(()),
        false => Err(Refusal::ToolModel),
    }
}

fn health(is_well: bool) -> Reply {
    if is_well {
        return Reply {
            no_store: true,
            ..Reply::ok(json!({"status": "ok"}))
        };
    }
    let status = http::StatusCode::SERVICE_UNAVAILABLE;
    Reply {
        status,
        body: json!({"status": "unavailable"}),
        retry_after: None,
        should_retry: None,
        challenge: None,
        allow: None,
        no_store: true,
        limits: Vec::new(),
    }
}

fn model_health(gateway: &Gateway, model: &str) -> Result<Verdict, Refusal> {
    let served = gateway.known(model).ok_or(Refusal::UnknownModel)?;
    let is_well = !gateway.drain.is_draining() && served.is_ready(Instant::now());
    Ok(Verdict::Answer(health(is_well)))
}

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

fn described(gateway: &Gateway, model: &str) -> serde_json::Value {
    json!({"id": model, "object": "model", "created": gateway.started, "owned_by": "forebay"})
}
