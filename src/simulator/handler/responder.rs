//! What a request is answered with: its headers, its body, and the trace that ends with it.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};

use super::super::{
    answer::{Form, OperationAnswer},
    body::{Body, PacedBody},
    connection::ConnectionFate,
    deployment::Deployment,
    deviation::{BreakKind, BrokenOff, Deviation},
    recorder::Ending,
    refusal::Refusal,
    request_trace::RequestTrace,
};

/// What a fault made of a request that gets no answer.
pub(super) enum EarlyEnd {
    Refused(Refusal),
    Broken(&'static str),
}

/// Answers one request, once.
pub(super) struct Responder {
    pub(super) fate: ConnectionFate,
    pub(super) trace: RequestTrace,
    /// Of the answer.
    pub(super) headers: HeaderMap,
    pub(super) version: Version,
    pub(super) rng: fastrand::Rng,
}

impl Responder {
    pub(super) async fn deliver(
        mut self,
        answer: OperationAnswer,
        deployment: &Deployment,
        deviation: Deviation,
    ) -> Response<Body> {
        match answer.form {
            Form::Stream(writer) => {
                self.trace.end(Ending::Status(200));
                let (timing, rng) = (deployment.timing, self.rng);
                let paced = PacedBody::new(writer, timing, rng, self.trace, deviation, self.fate);
                let content_type = "text/event-stream; charset=utf-8";
                let body = Body::Paced(Box::new(paced));
                response(StatusCode::OK, self.headers, content_type, body)
            }
            Form::Whole {
                content_type,
                bytes,
            } => {
                let thinks = deployment
                    .timing
                    .whole(answer.spent.completion_tokens, &mut self.rng);
                let wait = thinks + deviation.silence.map_or(Duration::ZERO, |(_, long)| long);
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                let bytes = match deviation.odd_usage {
                    Some(odd) => odd.change_answer(bytes),
                    None => bytes,
                };
                // An error inside a stream has no place in a plain answer.
                let broken = deviation
                    .breaks
                    .as_ref()
                    .is_some_and(|b| !matches!(b.kind, BreakKind::Error(_)));
                if deviation.delay.is_none() && !broken {
                    return self.whole(StatusCode::OK, content_type, bytes);
                }
                let deviation = Deviation {
                    breaks: deviation.breaks.filter(|_| broken),
                    silence: None,
                    ..deviation
                };
                self.trace.end(Ending::Status(200));
                let body = Body::trickled(bytes, self.trace, deviation, self.fate);
                response(StatusCode::OK, self.headers, content_type, body)
            }
        }
    }

    pub(super) fn refuse(mut self, refusal: Refusal) -> Response<Body> {
        self.headers.extend(refusal.headers);
        let body = refusal.body.into_bytes();
        self.whole(refusal.status, "application/json", body)
    }

    pub(super) fn whole(
        mut self,
        status: StatusCode,
        content_type: &'static str,
        bytes: Vec<u8>,
    ) -> Response<Body> {
        self.trace.end(Ending::Status(status.as_u16()));
        let body = Body::whole(bytes, Some(self.trace));
        response(status, self.headers, content_type, body)
    }

    /// Ends the request as a fault says.
    pub(super) fn end(mut self, end: EarlyEnd) -> Result<Response<Body>, BrokenOff> {
        match end {
            EarlyEnd::Refused(refusal) => Ok(self.refuse(refusal)),
            EarlyEnd::Broken(label) => {
                self.trace.end(Ending::Fault(label));
                self.trace.finish();
                Err(BrokenOff)
            }
        }
    }
}

fn response(
    status: StatusCode,
    headers: HeaderMap,
    content_type: &'static str,
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    // A fault may have brought its own.
    response
        .headers_mut()
        .entry(header::CONTENT_TYPE)
        .or_insert(HeaderValue::from_static(content_type));
    response
}
