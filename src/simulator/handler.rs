//! A request's way through an instance, from its head to its answer.
//!
//! The order is Azure's, with faults in front: what is broken on purpose breaks whoever asks; then the
//! credential, the path, the deployment, the body, the limits. Shapes are other rooms' matter.

mod inject_fault;
mod spillover;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use sha2::{Digest, Sha256};

use super::{
    answer::{Answer, Call, Form},
    body::{Body, PacedBody},
    connection_fate::ConnectionFate,
    deployment::Deployment,
    deviation::{BreakKind, BrokenOff, Deviation},
    headers,
    instance::Instance,
    limits::LimitState,
    models, operations,
    realtime::{self, Session},
    recorder::Ending,
    refusal::{Called, Refusal},
    request_body,
    request_trace::RequestTrace,
    route::{Address, Operation, Route},
};

use inject_fault::{End, Injected};

/// The largest body an instance reads.
const MOST_BODY: usize = 40 << 20;

/// One request on its way through an instance.
pub(super) struct Handler {
    pub(super) instance: Arc<Instance>,
    pub(super) fate: ConnectionFate,
    pub(super) trace: RequestTrace,
    pub(super) headers: HeaderMap,
    pub(super) request: HeaderMap,
    pub(super) version: Version,
    pub(super) rng: fastrand::Rng,
    /// The connection, if it is to become a session's.
    pub(super) upgrade: Option<OnUpgrade>,
}

impl Handler {
    pub(super) async fn run(
        mut self,
        address: Option<Address>,
        incoming: Incoming,
    ) -> Result<Response<Body>, BrokenOff> {
        let azure = self.instance.azure();
        headers::identify(&mut self.headers, &self.request, azure, &mut self.rng);
        let named = address
            .as_ref()
            .and_then(|address| self.named_in_path(address));
        if let Some(fault) = self.instance.fault(named.as_deref(), true) {
            return self.break_early(fault, named);
        }
        let body = match Limited::new(incoming, MOST_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Ok(self.refuse(Refusal::too_large()));
            }
            Err(_) => return Err(BrokenOff), // the client left while it was sending
        };
        self.record_body(&body);
        if headers::custom(&self.request) > self.instance.custom_headers && azure {
            return Ok(self.refuse(Refusal::too_many_headers()));
        }
        let deployment = match (&address, named) {
            (Some(address), None) => self.named_in_body(address, &body),
            (_, named) => named.ok_or_else(Refusal::no_resource),
        };
        if let Ok(deployment) = &deployment {
            self.reach(deployment);
        }
        let (address, at) = (address.as_ref(), deployment.as_ref().ok().cloned());
        let fault = self.instance.fault(at.as_deref(), false);
        let called = Called::new(address, at.as_ref().map_or("", |at| at.name.as_str()));
        let injected = match fault {
            Some(fault) => self.inject(fault, &called, &body).await,
            None => Injected::Deviating(Deviation::default()),
        };
        let served = match injected {
            Injected::Ended(End::Broken(label)) => return self.broken(label),
            Injected::Ended(End::Refused(refusal)) => Err(refusal),
            Injected::Deviating(deviation) => {
                let work = self.work(address, deployment, &body);
                work.map(|work| (work, deviation))
            }
        };
        let served = match (served, &at) {
            (Err(own), Some(from)) => self.spill(address, from, &body, own).await,
            (served, _) => served,
        };
        match served {
            Ok((Work::Answer(answer, deployment), deviation)) => {
                Ok(self.deliver(answer, &deployment, deviation).await)
            }
            Ok((Work::Session(deployment), deviation)) => {
                // Dated paths are the preview's.
                let preview = address.is_some_and(|address| !address.key_as_bearer);
                Ok(self.open_session(deployment, preview, deviation))
            }
            Ok((Work::List(list), _)) => Ok(self.whole(StatusCode::OK, "application/json", list)),
            Err(refusal) => Ok(self.refuse(refusal)),
        }
    }

    fn named_in_path(&self, address: &Address) -> Option<Arc<Deployment>> {
        match &address.route {
            Route::Call {
                deployment: Some(name),
                ..
            } => self.instance.deployment(name).cloned(),
            _ => None,
        }
    }

    fn named_in_body(&self, address: &Address, body: &[u8]) -> Result<Arc<Deployment>, Refusal> {
        match address.route {
            Route::Call {
                deployment: None, ..
            } => {
                let content_type = self
                    .request
                    .get(header::CONTENT_TYPE)
                    .and_then(|value| value.to_str().ok());
                let model = request_body::model(body, content_type)?;
                if let Some(seen) = self.trace.seen() {
                    seen.lock().model = Some(model.clone());
                }
                self.instance
                    .deployment(&model)
                    .cloned()
                    .ok_or_else(Refusal::no_deployment)
            }
            _ => Err(Refusal::no_deployment()),
        }
    }

    fn record_body(&mut self, body: &Bytes) {
        if let Some(seen) = self.trace.seen() {
            let hash = hex::encode(Sha256::digest(body));
            let mut seen = seen.lock();
            seen.body_length = body.len();
            self.headers
                .insert("x-simulator-body-sha256", headers::text(&hash));
            seen.body_sha256 = Some(hash);
        }
    }

    fn reach(&mut self, deployment: &Deployment) {
        self.trace.reach(deployment);
        self.name(deployment);
    }

    /// Says in the answer which deployment gives it.
    fn name(&mut self, deployment: &Deployment) {
        if self.trace.seen().is_some() {
            let place = [self.instance.name.as_str(), "/", &deployment.name].concat();
            self.headers
                .insert("x-simulator-deployment", headers::text(&place));
        }
        if self.instance.azure() {
            self.headers
                .insert("x-ms-deployment-name", headers::text(&deployment.name));
        }
    }

    fn work(
        &mut self,
        address: Option<&Address>,
        deployment: Result<Arc<Deployment>, Refusal>,
        body: &[u8],
    ) -> Result<Work, Refusal> {
        self.instance.authenticate(
            &self.request,
            address.is_none_or(|address| address.key_as_bearer),
            address.map_or("OpenAI/read", Address::action),
        )?;
        let address = address.ok_or_else(Refusal::no_resource)?;
        if address.is_of_another_version() {
            return Err(Refusal::no_version());
        }
        let operation = match &address.route {
            Route::Call { operation, .. } => *operation,
            Route::Models { id, classic } => {
                return models::list(self.instance.deployments.values(), id.as_deref(), *classic)
                    .map(Work::List);
            }
        };
        let deployment = deployment?;
        if operation == Operation::Realtime {
            realtime::key(&self.request)?;
            let called = Called::new(Some(address), &deployment.name);
            self.admit(&deployment, 0, &called)?;
            return Ok(Work::Session(deployment));
        }
        let answer = match memchr::memmem::find(body, request_body::FILTER_MARKER.as_bytes()) {
            Some(_) => Err(Refusal::content_filter()),
            None => operations::answer(
                operation,
                Call::new(&deployment, body, self.instance.azure()),
            ),
        };
        let answer = answer.inspect_err(|_| {
            // It counts all the same (AZURE 5).
            deployment.limiter.lock().note_refused(Instant::now());
        })?;
        let called = Called::new(Some(address), &deployment.name);
        self.admit(&deployment, answer.estimate, &called)?;
        self.trace.spent = answer.spent;
        self.trace.hold(deployment.clone(), answer.estimate);
        Ok(Work::Answer(answer, deployment))
    }

    fn admit(
        &mut self,
        deployment: &Deployment,
        estimate: u64,
        called: &Called<'_>,
    ) -> Result<(), Refusal> {
        let limit_state = deployment.limiter.lock().admit(estimate, Instant::now());
        match limit_state {
            Ok(LimitState::Unlimited) => Ok(()),
            Ok(limit_state) => {
                let tells_reset = deployment.tells_reset(&mut self.rng);
                headers::insert_limit_headers(&mut self.headers, &limit_state, tells_reset);
                Ok(())
            }
            Err(no) => {
                let tells_reset = deployment.tells_reset(&mut self.rng);
                headers::insert_limit_headers(&mut self.headers, &no.limit_state, tells_reset);
                Err(Refusal::throttled(&no, called))
            }
        }
    }

    async fn deliver(
        mut self,
        answer: Answer,
        deployment: &Deployment,
        deviation: Deviation,
    ) -> Response<Body> {
        match answer.form {
            Form::Stream(writer) => {
                self.trace.end(Ending::Status(200));
                let paced = PacedBody::new(
                    writer,
                    deployment.timing,
                    self.rng,
                    self.trace,
                    deviation,
                    self.fate,
                );
                response(
                    StatusCode::OK,
                    self.headers,
                    "text/event-stream; charset=utf-8",
                    Body::paced(paced),
                )
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
                response(
                    StatusCode::OK,
                    self.headers,
                    content_type,
                    Body::trickled(bytes, self.trace, deviation, self.fate),
                )
            }
        }
    }

    /// The session begins once the answer has gone out and the connection is free.
    fn open_session(
        mut self,
        deployment: Arc<Deployment>,
        preview: bool,
        deviation: Deviation,
    ) -> Response<Body> {
        let upgrade = self.upgrade.take();
        let (Ok(key), Some(upgrade)) = (realtime::key(&self.request), upgrade) else {
            return self.refuse(Refusal::no_resource());
        };
        let response = realtime::accept(key, &self.request, self.headers);
        let fate = self.fate.clone();
        let session = Session::new(upgrade, deployment, preview, self.trace, deviation, fate);
        self.fate.take_over(session.run());
        response
    }

    fn refuse(mut self, refusal: Refusal) -> Response<Body> {
        self.headers.extend(refusal.headers);
        self.whole(
            refusal.status,
            "application/json",
            refusal.body.into_bytes(),
        )
    }

    fn whole(
        mut self,
        status: StatusCode,
        content_type: &'static str,
        bytes: Vec<u8>,
    ) -> Response<Body> {
        self.trace.end(Ending::Status(status.as_u16()));
        response(
            status,
            self.headers,
            content_type,
            Body::whole(bytes, self.trace),
        )
    }
}

/// What the deployment's own work came to.
enum Work {
    Answer(Answer, Arc<Deployment>),
    Session(Arc<Deployment>),
    List(Vec<u8>),
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
