//! What is asked, read once at the intake: every attempt sends this, whatever became of those before it.

use std::{sync::Arc, time::Instant};

use http::{HeaderName, HeaderValue};

use super::{model_backend::ModelBackend, named_deployments::Named, session::Relay};
use crate::domain::{
    ask::Ask,
    client::Client,
    deployment::Instance,
    query::Query,
    quota::Wanted,
    route::{Dialect, Operation},
};

/// A request that may be sent to a deployment.
pub(super) struct Call {
    pub(super) arrived: Instant,
    /// Each attempt is a span of the request's trace.
    pub(super) is_traced: bool,
    pub(super) client: Arc<Client>,
    pub(super) served: Arc<ModelBackend>,
    pub(super) dialect: Dialect,
    pub(super) operation: Operation,
    /// What goes on of the client's query.
    pub(super) query: Query,
    /// Those of the client's headers that every attempt sends.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Further deployments that its headers name.
    pub(super) named: Vec<Named>,
    pub(super) ask: Ask,
    /// What it wants, where its client has limits to that.
    pub(super) wanted: Option<Wanted>,
    /// Holds the body.
    pub(super) relay: Arc<Relay>,
}

impl Call {
    /// The call as this instance is asked for it.
    pub(super) fn at(&self, instance: &Instance) -> (Dialect, Operation) {
        (self.dialect.at(instance), self.operation)
    }

    /// Whether the first byte of its answer comes when all of it is generated. Embeddings take no time worth mention.
    pub(super) fn comes_whole(&self) -> bool {
        let is_quick = matches!(self.operation, Operation::Embeddings | Operation::Realtime);
        !is_quick && !self.ask.stream
    }
}
