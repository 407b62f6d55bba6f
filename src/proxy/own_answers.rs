//! The gateway's own answers: its health, and its list of models.

use std::time::Instant;

use serde_json::json;

use super::{gateway::Gateway, reply::Reply};
use crate::domain::{client::Client, refusal::Refusal};

/// How the gateway is, or one of its models.
pub(super) fn health(is_well: bool) -> Reply {
    if is_well {
        return Reply {
            no_store: true,
            ..Reply::ok(json!({"status": "ok"}))
        };
    }
    let status = http::StatusCode::SERVICE_UNAVAILABLE;
    Reply {
        status,
        body: json!({"status": "unavailable"}),
        retry_after: None,
        should_retry: None,
        challenge: None,
        allow: None,
        no_store: true,
        limits: Vec::new(),
    }
}

/// How one model is.
pub(super) fn model_health(gateway: &Gateway, model: &str) -> Result<Reply, Refusal> {
    let served = gateway.known(model).ok_or(Refusal::UnknownModel)?;
    let is_well = !gateway.drain.is_draining() && served.is_ready(Instant::now());
    Ok(health(is_well))
}

/// The models that a client may use.
pub(super) fn list(gateway: &Gateway, client: &Client) -> Reply {
    let mut models: Vec<&str> = gateway.models.keys().map(|model| model.as_str()).collect();
    models.retain(|model| client.may_use(model));
    models.sort_unstable();
    let data: Vec<_> = models
        .into_iter()
        .map(|model| described(gateway, model))
        .collect();
    Reply::ok(json!({"object": "list", "data": data}))
}

/// One model, as a list of them says it.
pub(super) fn described(gateway: &Gateway, model: &str) -> serde_json::Value {
    json!({"id": model, "object": "model", "created": gateway.started, "owned_by": "forebay"})
}
