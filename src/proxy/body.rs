//! Holds the request body, so that every attempt can send all of it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header;
use pingora_proxy::Session;

use crate::domain::{ask::Splice, refusal::Refusal};

/// How much is set aside on the word of a `Content-Length` alone.
const FIRST_RESERVE: usize = 64 << 10;

/// Reads the whole body; at most `max` bytes, within `time`.
pub(super) async fn read(
    session: &mut Session,
    max: usize,
    time: Duration,
) -> Result<Bytes, Refusal> {
    let length = declared_length(session);
    if length.is_some_and(|length| length > max) {
        return Err(Refusal::BodyTooLarge { max });
    }
    if session.req_header().headers.contains_key(header::EXPECT) && !session.is_body_done() {
        let waved_on = session.downstream_session.write_continue_response().await;
        waved_on.map_err(|_| Refusal::BodyUnfinished)?;
    }
    let read = tokio::time::timeout(time, collect(session, length, max)).await;
    let body = read.unwrap_or(Err(Refusal::BodyTooSlow));
    if matches!(body, Err(Refusal::BodyUnfinished | Refusal::BodyTooSlow)) {
        // Where the next request would start is not known, or not in sight.
        session.set_keepalive(None);
    }
    body
}

fn declared_length(session: &Session) -> Option<usize> {
    session
        .req_header()
        .headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

async fn collect(
    session: &mut Session,
    length: Option<usize>,
    max: usize,
) -> Result<Bytes, Refusal> {
    let mut body = BytesMut::new();
    while let Some(piece) = next(session).await? {
        if body.len() + piece.len() > max {
            return Err(Refusal::BodyTooLarge { max });
        }
        if body.is_empty() && length == Some(piece.len()) {
            return Ok(piece);
        }
        if body.capacity() - body.len() < piece.len() {
            // Once the client has shown that it means it, the rest is set aside at once.
            let rest = length.map_or(piece.len(), |length| length - body.len().min(length));
            let reserve = if body.len() < FIRST_RESERVE {
                rest.min(FIRST_RESERVE)
            } else {
                rest
            };
            body.reserve(reserve.max(piece.len()));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

async fn next(session: &mut Session) -> Result<Option<Bytes>, Refusal> {
    session
        .downstream_session
        .read_request_body()
        .await
        .map_err(|_| Refusal::BodyUnfinished)
}

/// The body in the pieces that make it up once the change is in it; nothing of it is copied.
pub(super) fn spliced(body: &Bytes, change: Option<Splice>) -> Vec<Bytes> {
    let Some(Splice { at, with }) = change else {
        return vec![body.clone()];
    };
    vec![body.slice(..at.start), with, body.slice(at.end..)]
}
