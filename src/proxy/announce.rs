//! What the log says of a change in a deployment's state: the status that led to it, what becomes of clients, and, where it is
//! an operator's to mend, the next step. Loudly where it does not get better by itself.

use std::time::Instant;

use super::model_backend::ModelBackend;
use crate::domain::{
    breaker::{Cause, Transition},
    deployment::Deployment,
    pool::{Failure, Member},
    route::Operation,
    span::Span,
};

impl ModelBackend {
    pub(super) fn announce(&self, member: &Member, transition: Transition, now: Instant) {
        let model = self.pool.model();
        let Deployment { instance, name, .. } = member.deployment();
        let (at, identity) = (&instance.name, &instance.identity);
        let (until, cause) = match transition {
            Transition::Opened { until, cause } => (until, cause),
            Transition::Barred {
                operation,
                until,
                cause,
            } => return self.announce_bar(member, (operation, until, cause), now),
            Transition::Allowed { operation } => {
                let operation = operation.path();
                tracing::info!(event = "operation_allowed", %model, instance = %at, deployment = %name, operation, "{at}/{name} serves {operation} again");
                return;
            }
            Transition::Closed => {
                tracing::info!(event = "circuit_closed", %model, instance = %at, deployment = %name, "{at}/{name} is healthy again: circuit closed, it serves requests");
                return;
            }
        };
        let pause = Span(until.saturating_duration_since(now));
        let (retry_in_seconds, effect) = (pause.seconds(), self.pool.effect(now));
        let failure = member.failure(cause);
        let (why, status) = told(failure, cause);
        let cause_word = cause.as_str();
        match cause {
            Cause::Throttle => {
                tracing::info!(event = "deployment_throttled", %model, instance = %at, deployment = %name, cause = cause_word, status, retry_in_seconds, "{why} from {at}/{name}: throttled, cooldown of {pause}; {effect}");
            }
            Cause::Fault => {
                tracing::warn!(event = "circuit_open", %model, instance = %at, deployment = %name, cause = cause_word, status, retry_in_seconds, "{why} from {at}/{name}: circuit open, next retry in {pause}; {effect}; if it lasts, check the instance's metrics in Azure and Azure's status page");
            }
            Cause::Credential => {
                tracing::error!(event = "credential_refused", %model, instance = %at, deployment = %name, cause = cause_word, status, retry_in_seconds, "{why} from {at}/{name}: it rejects the credential of {identity} and is set aside, next retry in {pause}; {effect}; give the identity the role Cognitive Services OpenAI User on the instance, and check its scope and tenant, the instance's network rules and its custom subdomain");
            }
            Cause::Redirect => {
                tracing::error!(event = "deployment_redirects", %model, instance = %at, deployment = %name, cause = cause_word, status, retry_in_seconds, "{why} from {at}/{name}: it redirects requests and is set aside, next retry in {pause}; {effect}; compare the endpoint's scheme, host and path with what Azure shows for the resource");
            }
            Cause::NotTheApi => {
                tracing::error!(event = "not_the_api", %model, instance = %at, deployment = %name, cause = cause_word, status, retry_in_seconds, "{why} from {at}/{name}: the answer is not from the API, so the deployment is set aside, next retry in {pause}; {effect}; compare the endpoint with what Azure shows for the resource, and look for a proxy in between that asks for a login");
            }
            Cause::Configuration => {
                tracing::error!(event = "deployment_not_found", %model, instance = %at, deployment = %name, cause = cause_word, status, retry_in_seconds, "{why} from {at}/{name}: the instance has no deployment of this name, so it is set aside, next retry in {pause}; {effect}; correct the name in the config, or create the deployment in Azure");
            }
        }
    }

    /// It does other work, but not this.
    fn announce_bar(
        &self,
        member: &Member,
        (operation, until, cause): (Operation, Instant, Cause),
        now: Instant,
    ) {
        let model = self.pool.model();
        let Deployment { instance, name, .. } = member.deployment();
        let effect = self.pool.effect_beside(member, Some(operation), now);
        let (at, identity, operation) = (&instance.name, &instance.identity, operation.path());
        let pause = Span(until.saturating_duration_since(now));
        let (retry_in_seconds, cause_word) = (pause.seconds(), cause.as_str());
        let failure = member.failure_of_one(cause);
        let (why, status) = told(failure, cause);
        match cause {
            Cause::Credential => {
                tracing::error!(event = "operation_refused", %model, instance = %at, deployment = %name, operation, cause = cause_word, status, retry_in_seconds, "{why} from {at}/{name}: the identity {identity} is not allowed to do {operation}, so the deployment gets no such requests, next retry in {pause}; {effect}; give the identity a role on the instance that allows it");
            }
            _ => {
                tracing::error!(event = "operation_not_found", %model, instance = %at, deployment = %name, operation, cause = cause_word, status, retry_in_seconds, "{why} from {at}/{name}: it rejects {operation} requests that other deployments serve, so it gets no such requests, next retry in {pause}; {effect}; check the endpoint's path, the deployed model and the API version");
            }
        }
    }
}

/// What it was left alone for, and the status; without one, what such a cause goes with.
fn told(failure: Option<Failure>, cause: Cause) -> (String, Option<u16>) {
    match failure {
        Some(failure) => (failure.to_string(), failure.status),
        // A spillover deployment is closed by what its neighbour said.
        None => (usual(cause).to_owned(), None),
    }
}

fn usual(cause: Cause) -> &'static str {
    match cause {
        Cause::Throttle => "429",
        Cause::Fault => "faults",
        Cause::Credential => "401",
        Cause::Configuration => "404",
        Cause::Redirect => "a redirect",
        Cause::NotTheApi => "a web page",
    }
}
