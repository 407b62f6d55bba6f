//! The simulation's switchboard: faults, ports, statistics and remembered requests over plain HTTP and JSON.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    body::Body, connection_fate::ConnectionFate, deviation::BrokenOff, faults::Fault,
    issuer::Issuer, server::Service, simulation::Simulation, tokens::TokenFault,
};

/// Far more than any fault needs.
const MOST_BODY: usize = 1 << 20;

const CALLS: &str = "PUT|GET|DELETE /instances/{instance}/deployments/{deployment or *}/fault, POST /instances/{instance}/down|up, \
    GET|DELETE /books, GET|DELETE /requests?instance=…, POST|DELETE /tokens/fault, POST /tokens/revoke (?kept: IMDS doesn't know), \
    POST /issuer/token|rotate|bind|down|up, POST|DELETE /issuer/fault";

/// The control endpoint.
pub(crate) struct Control(pub(crate) Arc<Simulation>);

/// What a call comes to: JSON, or a complaint.
enum Reply {
    Json(Vec<u8>),
    NoContent,
    BadRequest(StatusCode, String),
}

impl Service for Control {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        _fate: ConnectionFate,
    ) -> Result<Response<Body>, BrokenOff> {
        let (parts, incoming) = request.into_parts();
        let body = Limited::new(incoming, MOST_BODY)
            .collect()
            .await
            .map_err(|_| BrokenOff)?
            .to_bytes();
        let (status, bytes) = match self
            .call(&parts.method, parts.uri.path(), parts.uri.query(), body)
            .await
        {
            Reply::Json(json) => (StatusCode::OK, json),
            Reply::NoContent => (StatusCode::NO_CONTENT, Vec::new()),
            Reply::BadRequest(status, message) => {
                (status, json!({ "error": message }).to_string().into_bytes())
            }
        };
        let mut response = Response::new(Body::uncounted(bytes));
        *response.status_mut() = status;
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        Ok(response)
    }
}

impl Control {
    async fn call(&self, method: &Method, path: &str, query: Option<&str>, body: Bytes) -> Reply {
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
            ("GET", ["books"]) => json(&self.0.stats()),
            ("DELETE", ["books"]) => {
                self.0.clear_stats();
                Reply::NoContent
            }
            ("GET", ["requests"]) => {
                let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
                let instance = pairs.find(|(name, _)| name == "instance");
                json(
                    &self
                        .0
                        .requests(instance.as_ref().map(|(_, value)| &**value)),
                )
            }
            ("DELETE", ["requests"]) => {
                self.0.clear_requests();
                Reply::NoContent
            }
            (method, ["instances", instance, "deployments", deployment, "fault"]) => {
                let deployment = Some(*deployment).filter(|name| *name != "*");
                self.fault(method, instance, deployment, &body)
            }
            ("POST", ["instances", instance, "down"]) => done_or_wrong(self.0.down(instance).await),
            ("POST", ["instances", instance, "up"]) => done_or_wrong(self.0.up(instance).await),
            (method, ["tokens", what]) => self.tokens(method, what, query, &body),
            (method, ["issuer", what]) => match &self.0.issuer {
                Some(issuer) => ask_issuer(issuer, method, what, &body).await,
                None => bad_request("this simulation has no issuer".to_owned()),
            },
            _ => no_call(method.as_str(), path),
        }
    }

    /// A call about the fault of a deployment, or of a whole instance.
    fn fault(&self, method: &str, instance: &str, deployment: Option<&str>, body: &[u8]) -> Reply {
        let set = |fault| done_or_wrong(self.0.set_fault(instance, deployment, fault));
        match method {
            "PUT" => match Fault::parse(body) {
                Ok(fault) => set(Some(fault)),
                Err(error) => bad_request(error),
            },
            "DELETE" => set(None),
            "GET" => match self.0.fault(instance, deployment) {
                Ok(fault) => json(&fault),
                Err(error) => bad_request(error.to_string()),
            },
            method => no_call(method, "/instances/…/fault"),
        }
    }

    /// A call about the token endpoints.
    fn tokens(&self, method: &str, what: &str, query: Option<&str>, body: &[u8]) -> Reply {
        let store = &self.0.token_store;
        match (method, what) {
            ("POST", "fault") => match serde_json::from_slice::<TokenFault>(body) {
                Ok(fault) => store.set_fault(Some(fault)),
                Err(error) => return bad_request(error.to_string()),
            },
            ("DELETE", "fault") => store.set_fault(None),
            ("POST", "revoke") => store.revoke(query == Some("kept")),
            (method, what) => return no_call(method, &format!("/tokens/{what}")),
        }
        Reply::NoContent
    }
}

fn no_call(method: &str, path: &str) -> Reply {
    bad_request(format!(
        "{method} {path} is not a call of this endpoint; known calls: {CALLS}"
    ))
}

fn json(value: &impl Serialize) -> Reply {
    Reply::Json(super::answer::json(value))
}

fn done_or_wrong<E: std::fmt::Display>(result: Result<(), E>) -> Reply {
    result.map_or_else(
        |error| bad_request(error.to_string()),
        |()| Reply::NoContent,
    )
}

fn bad_request(message: impl Into<String>) -> Reply {
    Reply::BadRequest(StatusCode::BAD_REQUEST, message.into())
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
        ("POST", "token") => match serde_json::from_slice(body) {
            Ok(claims) => json(&json!({ "token": issuer.token(&claims) })),
            Err(error) => bad_request(error.to_string()),
        },
        ("POST", "rotate") => json(&json!({ "key": issuer.rotate() })),
        ("POST", "bind") => match serde_json::from_slice::<Binding>(body) {
            Ok(Binding { key, tenant_id }) => {
                issuer.bind(&key, &tenant_id);
                Reply::NoContent
            }
            Err(error) => bad_request(error.to_string()),
        },
        ("POST", "fault") => match serde_json::from_slice(body) {
            Ok(fault) => {
                issuer.set_fault(Some(fault));
                Reply::NoContent
            }
            Err(error) => bad_request(error.to_string()),
        },
        ("DELETE", "fault") => {
            issuer.set_fault(None);
            Reply::NoContent
        }
        ("POST", "down") => {
            issuer.down().await;
            Reply::NoContent
        }
        ("POST", "up") => match issuer.up().await {
            Ok(()) => Reply::NoContent,
            Err(error) => bad_request(error.to_string()),
        },
        _ => bad_request(format!(
            "{method} {what} is not a call of the issuer; known calls: {CALLS}"
        )),
    }
}
