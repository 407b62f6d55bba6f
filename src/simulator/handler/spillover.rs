//! Azure's own spillover: what a deployment can't serve, another one of the same instance does (wire facts: Spillover).

use std::sync::Arc;

use http::{HeaderName, StatusCode};

use super::{
    super::{
        config::SpilloverHeaders,
        deployment::Deployment,
        deviation::Deviation,
        headers,
        refusal::{Called, Refusal},
        route::Address,
    },
    in_flight::{InFlight, Work},
    inject_fault::inject,
    responder::EarlyEnd,
};

const ASKED_FOR: &str = "x-ms-spillover-deployment";
const FROM: &str = "x-ms-spillover-from-deployment";
const ERROR: &str = "x-ms-spillover-error";

/// What comes of a deployment's own no: another one's answer, or, in the older form where that failed too, the no itself
/// with a word on the other's.
pub(super) async fn spill(
    request: &mut InFlight,
    address: Option<&Address>,
    from: &Deployment,
    body: &[u8],
    mut own: Refusal,
) -> Result<(Work, Deviation), Refusal> {
    let Some(to) = spillover(request, from).filter(|_| spills(&own)) else {
        return Err(own);
    };
    let before = request.responder.headers.clone();
    request.responder.headers.remove(headers::UTILIZATION);
    let served = ask_instead(request, address, &to, body).await;
    let is_old = request.instance.config.spillover_headers == SpilloverHeaders::Before202606;
    if let (Err(no), true) = (&served, is_old) {
        request.responder.headers = before;
        let reason = format!("{}: {} answered {}", own.status, to.name, no.status);
        let error = HeaderName::from_static(ERROR);
        own.headers.push((error, headers::text(&reason)));
        return Err(own);
    }
    request.responder.trace.spill(&to);
    request.name(&to);
    let headers = &mut request.responder.headers;
    headers.insert(FROM, headers::text(&from.name));
    if !is_old {
        headers.insert(ERROR, own.status.as_u16().into());
    }
    served
}

/// The deployment's own setting goes before the caller's wish.
fn spillover(request: &InFlight, from: &Deployment) -> Option<Arc<Deployment>> {
    let wish = request
        .request_headers
        .get(ASKED_FOR)
        .and_then(|name| name.to_str().ok());
    let name = from.config.spillover.as_deref().or(wish)?;
    let to = request.instance.deployment(name)?;
    (from.config.is_provisioned() && to.name != from.name).then(|| to.clone())
}

async fn ask_instead(
    request: &mut InFlight,
    address: Option<&Address>,
    to: &Arc<Deployment>,
    body: &[u8],
) -> Result<(Work, Deviation), Refusal> {
    let (fault, called) = (
        request.instance.own_fault(to),
        Called::new(address, &to.name),
    );
    let injected = inject(&mut request.responder, fault, &called, body).await;
    let deviation = injected.map_err(|end| match end {
        EarlyEnd::Refused(refusal) => refusal,
        EarlyEnd::Broken(_) => Refusal::of_status(StatusCode::SERVICE_UNAVAILABLE),
    })?;
    Ok((request.work(address, Ok(to.clone()), body)?, deviation))
}

fn spills(own: &Refusal) -> bool {
    own.is_too_long || matches!(own.status.as_u16(), 429 | 500 | 503)
}
