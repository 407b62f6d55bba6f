//! Handles a request at an instance, from its head to its answer.
//!
//! The order is Azure's, with faults in front: what is broken on purpose breaks whoever asks; then the
//! credential, the path, the deployment, the body, the limits. Shapes are other rooms' matter.

mod in_flight;
mod inject_fault;
mod responder;
mod spillover;

use std::sync::Arc;

use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::{
    body::Body,
    connection::ConnectionFate,
    deployment::Deployment,
    deviation::{BrokenOff, Deviation},
    headers,
    instance::Instance,
    realtime::{self, Session},
    refusal::{Called, Refusal},
    request_trace::RequestTrace,
    route::Address,
    server::Service,
};

use in_flight::{InFlight, Work};
use inject_fault::inject;
use responder::{EarlyEnd, Responder};
use spillover::spill;

/// The largest body an instance reads.
const MOST_BODY: usize = 40 << 20;

impl Service for Instance {
    fn lets_in(&self) -> bool {
        self.accepts_connection()
    }

    async fn answer(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        fate: ConnectionFate,
    ) -> Result<Response<Body>, BrokenOff> {
        let is_upgrade = request.headers().contains_key(header::UPGRADE);
        let upgrade = is_upgrade.then(|| hyper::upgrade::on(&mut request));
        let caller = headers::caller(request.headers());
        let trace = RequestTrace::new(self.other.clone(), self.remember(&request), caller);
        let address = Address::parse(
            request.method(),
            request.uri(),
            self.config.kind,
            &self.config.base_path,
        )
        .filter(|it| it.is_known(&self.config.api_versions));
        let (parts, incoming) = request.into_parts();
        let responder = Responder {
            fate,
            trace,
            headers: self.headers.clone(),
            version: parts.version,
            rng: self.fork_rng(),
        };
        let request = InFlight {
            instance: self,
            responder,
            request_headers: parts.headers,
            upgrade,
        };
        run(request, address, incoming).await
    }
}

async fn run(
    mut request: InFlight,
    address: Option<Address>,
    incoming: Incoming,
) -> Result<Response<Body>, BrokenOff> {
    let azure = request.instance.azure();
    let Responder { headers, rng, .. } = &mut request.responder;
    headers::identify(headers, &request.request_headers, azure, rng);
    let named = address
        .as_ref()
        .and_then(|address| request.named_in_path(address));
    if let Some(fault) = request.instance.fault(named.as_deref(), true) {
        if let Some(deployment) = &named {
            request.reach(deployment);
        }
        let called = Called::new(address.as_ref(), "");
        if let Err(end) = inject(&mut request.responder, Some(fault), &called, &[]).await {
            return request.responder.end(end);
        }
    }
    let body = match Limited::new(incoming, MOST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Ok(request.responder.refuse(Refusal::too_large()));
        }
        Err(_) => return Err(BrokenOff), // the client left while it was sending
    };
    request.record_body(&body);
    if headers::custom(&request.request_headers) > request.instance.config.custom_headers && azure {
        return Ok(request.responder.refuse(Refusal::too_many_headers()));
    }
    let deployment = match (&address, named) {
        (Some(address), None) => request.named_in_body(address, &body),
        (_, named) => named.ok_or_else(Refusal::no_resource),
    };
    if let Ok(deployment) = &deployment {
        request.reach(deployment);
    }
    let (address, at) = (address.as_ref(), deployment.as_ref().ok().cloned());
    let fault = request.instance.fault(at.as_deref(), false);
    let called = Called::new(address, at.as_ref().map_or("", |at| at.name.as_str()));
    let served = match inject(&mut request.responder, fault, &called, &body).await {
        Ok(deviation) => {
            let work = request.work(address, deployment, &body);
            work.map(|work| (work, deviation))
        }
        Err(EarlyEnd::Refused(refusal)) => Err(refusal),
        Err(broken) => return request.responder.end(broken),
    };
    let served = match (served, &at) {
        (Err(own), Some(from)) => spill(&mut request, address, from, &body, own).await,
        (served, _) => served,
    };
    Ok(reply(request, address, served).await)
}

async fn reply(
    request: InFlight,
    address: Option<&Address>,
    served: Result<(Work, Deviation), Refusal>,
) -> Response<Body> {
    match served {
        Ok((Work::Answer(answer, deployment), deviation)) => {
            let responder = request.responder;
            responder.deliver(answer, &deployment, deviation).await
        }
        Ok((Work::Session(deployment), deviation)) => {
            // Dated paths are the preview's.
            let preview = address.is_some_and(|address| !address.key_as_bearer);
            open_session(request, deployment, preview, deviation)
        }
        Ok((Work::List(list), _)) => {
            let responder = request.responder;
            responder.whole(StatusCode::OK, "application/json", list)
        }
        Err(refusal) => request.responder.refuse(refusal),
    }
}

/// The session begins once the answer has gone out and the connection is free.
fn open_session(
    mut request: InFlight,
    deployment: Arc<Deployment>,
    preview: bool,
    deviation: Deviation,
) -> Response<Body> {
    let upgrade = request.upgrade.take();
    let (Ok(key), Some(upgrade)) = (realtime::key(&request.request_headers), upgrade) else {
        return request.responder.refuse(Refusal::no_resource());
    };
    let Responder {
        fate,
        trace,
        headers,
        ..
    } = request.responder;
    let response = realtime::accept(key, &request.request_headers, headers);
    let session = Session::new(upgrade, deployment, preview, trace, deviation, fate.clone());
    fate.take_over(session.run());
    response
}
