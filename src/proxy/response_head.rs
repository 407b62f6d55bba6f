//! The head of a deployment's answer, as its client gets it.

use http::{HeaderValue, StatusCode, Version, header};
use pingora::{Result, http::ResponseHeader};

use super::{
    deliver::mask,
    exchange::{Admitted, Proxied},
    gateway::Gateway,
};
use crate::domain::cors;

/// Makes a deployment's head the gateway's.
pub(super) fn dress(
    gateway: &Gateway,
    it: &mut Proxied<'_>,
    head: &mut ResponseHeader,
) -> Result<()> {
    let answer = it.admitted.position.answer();
    let secret = answer.as_ref().map(|answer| answer.credential());
    for name in &gateway.forwarding.staying(&head.headers, secret) {
        head.remove_header(name);
    }
    if !head.status.is_success() && head.status != StatusCode::SWITCHING_PROTOCOLS {
        mask(it);
    }
    // A deployment's own words for its status are read by nobody.
    head.set_reason_phrase(None)?;
    // The one that the log knows; Azure's own stays in `apim-request-id`.
    head.insert_header("x-request-id", &*it.arrival.request_id)?;
    for (name, value) in it.limits.left() {
        head.insert_header(name, value)?;
    }
    if gateway.reveal {
        reveal(it.admitted, head)
    } else {
        Ok(())
    }
}

/// Says which deployment it is, and which try.
fn reveal(admitted: &mut Admitted, head: &mut ResponseHeader) -> Result<()> {
    let before = admitted.lines.len();
    let Some(answer) = admitted.position.answer() else {
        return Ok(());
    };
    let deployment = answer.deployment();
    let name = format!("{}/{}", deployment.instance.name, deployment.name);
    head.insert_header("x-forebay-deployment", name)?;
    head.insert_header("x-forebay-attempts", before + 1)
}

/// What a head needs for whoever reads it, whichever deployment it is of. `origin`: of the web page that asks.
pub(super) fn finish(
    head: &mut ResponseHeader,
    origin: Option<&HeaderValue>,
    version: Version,
) -> Result<()> {
    for (name, value) in origin.into_iter().flat_map(cors::answer) {
        head.insert_header(name, value)?;
    }
    if version == Version::HTTP_10 {
        // It knows no chunks: its answer ends with the connection.
        head.remove_header(&header::TRANSFER_ENCODING);
    }
    Ok(())
}
