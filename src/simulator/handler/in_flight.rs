//! One request on its way through an instance: which deployment it names, and what that deployment's own work comes to.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, header};
use hyper::upgrade::OnUpgrade;
use sha2::{Digest, Sha256};

use super::{
    super::{
        answer::{Call, OperationAnswer},
        chat, completions,
        deployment::Deployment,
        embeddings, headers,
        instance::Instance,
        limits::{LimitState, Throttled},
        media, models, realtime,
        refusal::{Called, Refusal},
        request_body, responses,
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
            let headers = &mut self.responder.headers;
            headers.insert("x-simulator-body-sha256", headers::text(&hash));
            let mut seen = seen.lock();
            (seen.body_length, seen.body_sha256) = (body.len(), Some(hash));
        }
    }

    pub(super) fn reach(&mut self, deployment: &Deployment) {
        self.responder.trace.reach(deployment);
        self.name(deployment);
    }

    /// Says in the answer which deployment gives it.
    pub(super) fn name(&mut self, deployment: &Deployment) {
        let Responder { headers, trace, .. } = &mut self.responder;
        if trace.seen().is_some() {
            let place = [self.instance.name.as_str(), "/", &deployment.name].concat();
            headers.insert("x-simulator-deployment", headers::text(&place));
        }
        if self.instance.azure() {
            headers.insert("x-ms-deployment-name", headers::text(&deployment.name));
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
        let called = Called::new(Some(address), &deployment.name);
        if operation == Operation::Realtime {
            realtime::key(&self.request_headers)?;
            self.admit(&deployment, 0, &called)?;
            return Ok(Work::Session(deployment));
        }
        let worked_out = match memchr::memmem::find(body, request_body::FILTER_MARKER.as_bytes()) {
            Some(_) => Err(Refusal::content_filter()),
            None => answer(
                operation,
                Call::new(&deployment, body, self.instance.azure()),
            ),
        };
        let answer = worked_out.inspect_err(|_| {
            // It counts all the same (wire facts: Status codes).
            deployment.limiter.lock().note_refused(Instant::now());
        })?;
        self.admit(&deployment, answer.estimate, &called)?;
        let trace = &mut self.responder.trace;
        trace.spent = answer.spent;
        trace.hold(deployment.clone(), answer.estimate);
        Ok(Work::Answer(answer, deployment))
    }

    fn admit(
        &mut self,
        deployment: &Deployment,
        estimate: u64,
        called: &Called<'_>,
    ) -> Result<(), Refusal> {
        let admitted = deployment.limiter.lock().admit(estimate, Instant::now());
        let (Ok(limit_state) | Err(Throttled { limit_state, .. })) = admitted;
        if limit_state != LimitState::Unlimited {
            let Responder { headers, rng, .. } = &mut self.responder;
            headers::insert_limit_headers(headers, &limit_state, deployment.tells_reset(rng));
        }
        admitted.map_err(|no| Refusal::throttled(&no, called))?;
        Ok(())
    }
}

/// What a deployment answers to an operation.
fn answer(operation: Operation, call: Call<'_>) -> Result<OperationAnswer, Refusal> {
    match operation {
        Operation::Chat => chat::answer(call),
        Operation::Completions => completions::answer(call),
        Operation::Embeddings => embeddings::answer(call),
        Operation::Responses => responses::answer(call),
        Operation::ImageGenerations => media::generate(call),
        Operation::ImageEdits => media::edit(call),
        Operation::Speech => media::speak(call),
        Operation::Transcriptions | Operation::Translations => media::hear(call),
        Operation::Compact => responses::compact(call),
        Operation::InputTokens => responses::count(call),
        Operation::Realtime => Err(Refusal::no_resource()),
    }
}
