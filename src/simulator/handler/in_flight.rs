//! One request on its way through an instance: which deployment it names, and what that deployment's own work comes to.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, header};
use hyper::upgrade::OnUpgrade;
use sha2::{Digest, Sha256};

use super::{
    super::{
        answer::{Call, OperationAnswer},
        deployment::Deployment,
        headers,
        instance::Instance,
        limits::LimitState,
        models, operations, realtime,
        refusal::{Called, Refusal},
        request_body,
        route::{Address, Operation, Route},
    },
    responder::Responder,
};

/// A request whose head has been read.
pub(super) struct InFlight {
    pub(super) instance: Arc<Instance>,
    pub(super) responder: Responder,
    pub(super) request_headers: HeaderMap,
    /// The connection, if it is to become a session's.
    pub(super) upgrade: Option<OnUpgrade>,
}

/// What the deployment's own work came to.
pub(super) enum Work {
    Answer(OperationAnswer, Arc<Deployment>),
    Session(Arc<Deployment>),
    List(Vec<u8>),
}

impl InFlight {
    pub(super) fn named_in_path(&self, address: &Address) -> Option<Arc<Deployment>> {
        match &address.route {
            Route::Call {
                deployment: Some(name),
                ..
            } => self.instance.deployment(name).cloned(),
            _ => None,
        }
    }

    pub(super) fn named_in_body(
        &self,
        address: &Address,
        body: &[u8],
    ) -> Result<Arc<Deployment>, Refusal> {
        match address.route {
            Route::Call {
                deployment: None, ..
            } => {
                let content_type = self
                    .request_headers
                    .get(header::CONTENT_TYPE)
                    .and_then(|value| value.to_str().ok());
                let model = request_body::model(body, content_type)?;
                if let Some(seen) = self.responder.trace.seen() {
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

    pub(super) fn record_body(&mut self, body: &Bytes) {
        if let Some(seen) = self.responder.trace.seen() {
            let hash = hex::encode(Sha256::digest(body));
            let mut seen = seen.lock();
            seen.body_length = body.len();
            self.responder
                .headers
                .insert("x-simulator-body-sha256", headers::text(&hash));
            seen.body_sha256 = Some(hash);
        }
    }

    pub(super) fn reach(&mut self, deployment: &Deployment) {
        self.responder.trace.reach(deployment);
        self.name(deployment);
    }

    /// Says in the answer which deployment gives it.
    pub(super) fn name(&mut self, deployment: &Deployment) {
        if self.responder.trace.seen().is_some() {
            let place = [self.instance.name.as_str(), "/", &deployment.name].concat();
            self.responder
                .headers
                .insert("x-simulator-deployment", headers::text(&place));
        }
        if self.instance.azure() {
            self.responder
                .headers
                .insert("x-ms-deployment-name", headers::text(&deployment.name));
        }
    }

    pub(super) fn work(
        &mut self,
        address: Option<&Address>,
        deployment: Result<Arc<Deployment>, Refusal>,
        body: &[u8],
    ) -> Result<Work, Refusal> {
        self.instance.authenticate(
            &self.request_headers,
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
            realtime::key(&self.request_headers)?;
            let called = Called::new(Some(address), &deployment.name);
            self.admit(&deployment, 0, &called)?;
            return Ok(Work::Session(deployment));
        }
        let worked_out = match memchr::memmem::find(body, request_body::FILTER_MARKER.as_bytes()) {
            Some(_) => Err(Refusal::content_filter()),
            None => operations::answer(
                operation,
                Call::new(&deployment, body, self.instance.azure()),
            ),
        };
        let answer = worked_out.inspect_err(|_| {
            // It counts all the same (wire facts: Status codes).
            deployment.limiter.lock().note_refused(Instant::now());
        })?;
        let called = Called::new(Some(address), &deployment.name);
        self.admit(&deployment, answer.estimate, &called)?;
        self.responder.trace.spent = answer.spent;
        self.responder
            .trace
            .hold(deployment.clone(), answer.estimate);
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
                let tells_reset = deployment.tells_reset(&mut self.responder.rng);
                headers::insert_limit_headers(
                    &mut self.responder.headers,
                    &limit_state,
                    tells_reset,
                );
                Ok(())
            }
            Err(no) => {
                let tells_reset = deployment.tells_reset(&mut self.responder.rng);
                headers::insert_limit_headers(
                    &mut self.responder.headers,
                    &no.limit_state,
                    tells_reset,
                );
                Err(Refusal::throttled(&no, called))
            }
        }
    }
}
