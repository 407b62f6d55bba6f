//! The simulation's switchboard: faults, ports, statistics and remembered requests over plain HTTP and JSON.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    answer,
    body::Body,
    connection::ConnectionFate,
    deviation::BrokenOff,
    issuer::Issuer,
    server::{self, Service},
    simulation::Simulation,
};

const CALLS: &str = "PUT|GET|DELETE /instances/{instance}/deployments/{deployment or *}/fault, POST /instances/{instance}/down|up, \
    GET|DELETE /books, GET|DELETE /requests?instance=…, POST|DELETE /tokens/fault, POST /tokens/revoke (?kept: IMDS doesn't know), \
    POST /issuer/token|rotate|bind|down|up, POST|DELETE /issuer/fault";

/// The control endpoint.
pub(crate) struct Control(pub(crate) Arc<Simulation>);

/// What a call comes to: JSON or no content, or a complaint.
type Reply = Result<Option<Vec<u8>>, Complaint>;

struct Complaint(String);

impl<E: std::error::Error> From<E> for Complaint {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl Service for Control {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        _fate: ConnectionFate,
    ) -> Result<Response<Body>, BrokenOff> {
        let (parts, incoming) = request.into_parts();
        let body = server::read(incoming).await?;
        let reply = self.call(&parts.method, parts.uri.path(), parts.uri.query(), &body);
        let (status, bytes) = match reply.await {
            Ok(Some(json)) => (StatusCode::OK, json),
            Ok(None) => (StatusCode::NO_CONTENT, Vec::new()),
            Err(Complaint(message)) => {
                let error = answer::json(&json!({ "error": message }));
                (StatusCode::BAD_REQUEST, error)
            }
        };
        Ok(server::reply(status, "application/json", bytes))
    }
}

impl Control {
    async fn call(&self, method: &Method, path: &str, query: Option<&str>, body: &[u8]) -> Reply {
        let decoded: Vec<String> = path
            .split('/')
            .skip(1)
            .map(|part| {
                percent_encoding::percent_decode_str(part)
                    .decode_utf8_lossy()
                    .into_owned()
            })
            .collect();
        let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["books"]) => return json(&self.0.stats()),
            ("DELETE", ["books"]) => self.0.clear_stats(),
            ("GET", ["requests"]) => {
                let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
                let instance = pairs.find(|(name, _)| name == "instance");
                let instance = instance.as_ref().map(|(_, value)| &**value);
                return json(&self.0.request_log.requests(instance));
            }
            ("DELETE", ["requests"]) => self.0.request_log.clear(),
            (method, ["instances", instance, "deployments", deployment, "fault"]) => {
                let deployment = Some(*deployment).filter(|name| *name != "*");
                return self.fault(method, instance, deployment, body);
            }
            ("POST", ["instances", instance, "down"]) => self.0.down(instance).await?,
            ("POST", ["instances", instance, "up"]) => self.0.up(instance).await?,
            (method, ["tokens", what]) => return self.tokens(method, what, query, body),
            (method, ["issuer", what]) => match &self.0.issuer {
                Some(issuer) => return ask_issuer(issuer, method, what, body).await,
                None => return Err(Complaint("this simulation has no issuer".to_owned())),
            },
            _ => return no_call(method.as_str(), path),
        }
        Ok(None)
    }

    /// A call about the fault of a deployment, or of a whole instance.
    fn fault(&self, method: &str, instance: &str, deployment: Option<&str>, body: &[u8]) -> Reply {
        let fault = match method {
            "PUT" => Some(serde_json::from_slice(body)?),
            "DELETE" => None,
            "GET" => return json(&self.0.fault(instance, deployment)?),
            method => return no_call(method, "/instances/…/fault"),
        };
        self.0.set_fault(instance, deployment, fault)?;
        Ok(None)
    }

    /// A call about the token endpoints.
    fn tokens(&self, method: &str, what: &str, query: Option<&str>, body: &[u8]) -> Reply {
        let store = &self.0.token_store;
        match (method, what) {
            ("POST", "fault") => store.set_fault(Some(serde_json::from_slice(body)?)),
            ("DELETE", "fault") => store.set_fault(None),
            ("POST", "revoke") => store.revoke(query == Some("kept")),
            (method, what) => return no_call(method, &format!("/tokens/{what}")),
        }
        Ok(None)
    }
}

fn no_call(method: &str, path: &str) -> Reply {
    Err(Complaint(format!(
        "{method} {path} is not a call of this endpoint; known calls: {CALLS}"
    )))
}

fn json(value: &impl Serialize) -> Reply {
    Ok(Some(answer::json(value)))
}

/// Whose tokens a key is for.
#[derive(Deserialize)]
struct Binding {
    key: String,
    tenant_id: String,
}

/// A call about the issuer: a token that says what the body does, a new key, a fault, its port.
async fn ask_issuer(issuer: &Issuer, method: &str, what: &str, body: &[u8]) -> Reply {
    match (method, what) {
        ("POST", "token") => {
            let token = issuer.token(&serde_json::from_slice(body)?);
            return json(&json!({ "token": token }));
        }
        ("POST", "rotate") => return json(&json!({ "key": issuer.rotate() })),
        ("POST", "bind") => {
            let Binding { key, tenant_id } = serde_json::from_slice(body)?;
            issuer.bind(&key, &tenant_id);
        }
        ("POST", "fault") => issuer.set_fault(Some(serde_json::from_slice(body)?)),
        ("DELETE", "fault") => issuer.set_fault(None),
        ("POST", "down") => issuer.down().await,
        ("POST", "up") => issuer.up().await?,
        _ => {
            return Err(Complaint(format!(
                "{method} {what} is not a call of the issuer; known calls: {CALLS}"
            )));
        }
    }
    Ok(None)
}
