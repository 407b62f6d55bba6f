//! What a deployment is sent in place of what the client sent.
//!
//! To a deployment goes an allow-list of request headers and nothing else a client sent: never its
//! credential, its cookies, or what stands between it and us.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Version, header};
use pingora::{Error, ErrorType, Result, http::RequestHeader};

use super::{additions::Additions, turn::Turn};
use crate::{
    domain::{
        ask::Splice,
        deployment::Deployment,
        route::{body_names_deployment, outgoing},
        trace::{TRACEPARENT, Trace},
    },
    proxy::{body::spliced, call::Call, realtime, session::Behind, walk::Walk},
};

/// A body up to this size leaves together with its head: a fresh connection takes so much at once.
const ONE_PACKET: usize = 16 << 10;

/// A request as it is sent, beside its head.
pub(crate) struct Request {
    pub(super) credential: HeaderValue,
    pub(super) added: Additions,
    /// The client's body, in the pieces that make it up with what is changed in it.
    body: Vec<Bytes>,
    length: usize,
    version: Version,
}

impl Request {
    /// Puts the head that a deployment gets in the place of the client's.
    pub(super) fn build(
        turn: &Turn,
        credential: &HeaderValue,
        call: &Call,
        trace: Option<&Trace>,
        head: &mut RequestHeader,
    ) -> Result<Self> {
        let Some(kept) = call.relay.kept() else {
            return Error::e_explain(ErrorType::InternalError, "the body was let go of");
        };
        let (body, added) = body(turn, call, &kept);
        let length = body.iter().map(Bytes::len).sum();
        let mut out = self::head(turn, call, trace, head)?;
        frame(&mut out, call, length, head)?;
        let (name, credential) = fresh(turn, call, credential);
        out.insert_header(name, credential.clone())?;
        let version = head.version;
        *head = out;
        Ok(Self {
            credential,
            added,
            body,
            length,
            version,
        })
    }

    /// Hands it over to be sent, with the times that its answer has.
    pub(super) fn order(self, walk: &Walk, now: Instant) -> (HeaderValue, Additions) {
        let (call, bounds) = (&walk.call, &walk.call.served.bounds);
        let due = walk
            .progress
            .first_byte_by(bounds, !call.comes_whole(), now);
        let relay = &call.relay;
        relay.order(self.body, due, bounds.idle_timeout);
        let fits =
            !relay.is_tunnel() && relay.behind() == Behind::Nothing && self.length <= ONE_PACKET;
        relay.cork(fits && self.version == Version::HTTP_11);
        (self.credential, self.added)
    }
}

/// The client's body, the model's name in it replaced where the body is what names the deployment, and what the gateway
/// says itself added.
fn body(turn: &Turn, call: &Call, kept: &Bytes) -> (Vec<Bytes>, Additions) {
    let Deployment { instance, name, .. } = turn.chosen.deployment();
    let names_it = body_names_deployment((call.dialect, call.operation), instance.kind);
    let naming = names_it.then(|| call.ask.naming(name.as_str())).flatten();
    let mut changes: Vec<Splice> = naming.into_iter().collect();
    let added = Additions::choose(turn, call, kept, &mut changes);
    call.ask.joined(&mut changes);
    (spliced(kept, changes), added)
}

/// Method, path and the headers that go on.
fn head(
    turn: &Turn,
    call: &Call,
    trace: Option<&Trace>,
    client: &RequestHeader,
) -> Result<RequestHeader> {
    let Deployment { instance, name, .. } = turn.chosen.deployment();
    let path = outgoing(
        call.at(instance),
        instance.kind,
        instance.endpoint.base_path(),
        name.as_str(),
        call.query.as_str(),
    );
    let method = if call.relay.is_tunnel() {
        Method::GET
    } else {
        Method::POST
    };
    // Names go out in lower case, as over HTTP/2: no second map of how each is to be spelled.
    let mut out =
        RequestHeader::build_no_case(method, path.as_bytes(), Some(call.headers.len() + 4))?;
    out.set_version(client.version);
    out.insert_header(header::HOST, instance.endpoint.authority())?;
    for (name, value) in &call.headers {
        let value = match (trace, turn.span) {
            (Some(trace), Some(span)) if *name == TRACEPARENT => trace.traceparent(span),
            _ => value.clone(),
        };
        out.insert_header(name.clone(), value)?;
    }
    for named in &call.named {
        if let Some((name, value)) = named.on(instance) {
            out.insert_header(name, value)?;
        }
    }
    // So that what is used can be read from the answer as it passes.
    out.insert_header(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    )?;
    Ok(out)
}

/// How the body is told from what may follow it; a session has none.
fn frame(
    out: &mut RequestHeader,
    call: &Call,
    length: usize,
    client: &RequestHeader,
) -> Result<()> {
    match call.relay.behind() {
        Behind::Nothing if call.relay.is_tunnel() => realtime::ask(out, client),
        Behind::Nothing => out.insert_header(header::CONTENT_LENGTH, length),
        Behind::Bytes(Some(more)) => out.insert_header(header::CONTENT_LENGTH, length + more),
        // Pingora sends it in chunks.
        Behind::Bytes(None) => Ok(()),
    }
}

/// Our credential as it is now. Where it ended while connecting, the one it was chosen with: the instance will say.
fn fresh(turn: &Turn, call: &Call, chosen_with: &HeaderValue) -> (HeaderName, HeaderValue) {
    let ours = &turn.target(call).connector.credential;
    ours.header(SystemTime::now())
        .unwrap_or_else(|| (ours.name(), chosen_with.clone()))
}
