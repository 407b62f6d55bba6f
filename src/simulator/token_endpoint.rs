//! Where tokens come from: a managed identity's endpoint and Entra's, on one address (AZURE 12).

use std::{collections::HashMap, sync::Arc, time::Instant};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    body::{Body, BrokenOff},
    server::Service,
    tokens::{Mint, TokenFault, unix_seconds},
    wire::Fate,
};

const IMDS: &str = "/metadata/identity/oauth2/token";
const MOST_FORM: usize = 1 << 20;

/// Both token endpoints.
pub(crate) struct TokenEndpoint(pub(crate) Arc<Mint>);

type Fields = HashMap<String, String>;

impl Service for TokenEndpoint {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, _fate: Fate) -> Result<Response<Body>, BrokenOff> {
        let (parts, incoming) = request.into_parts();
        let body = Limited::new(incoming, MOST_FORM).collect().await.map_err(|_| BrokenOff)?.to_bytes();
        match self.0.fault() {
            Some(TokenFault::Hang {}) => std::future::pending().await,
            Some(TokenFault::Garbage {}) => return Ok(reply(StatusCode::OK, b"<html>not a token</html>".to_vec())),
            Some(TokenFault::Status { status }) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Ok(self.refuse(status, "temporarily_unavailable", "AADSTS90033: A transient error has occurred. Please try again."));
            }
            None => {}
        }
        let path = parts.uri.path();
        if parts.method == Method::GET && path == IMDS {
            let metadata = parts.headers.get("metadata").is_some_and(|value| value == "true");
            let query = parts.uri.query().unwrap_or_default();
            return Ok(self.managed_identity(metadata && !parts.headers.contains_key("x-forwarded-for"), query.as_bytes()));
        }
        match path.strip_suffix("/oauth2/v2.0/token") {
            Some(tenant) if parts.method == Method::POST && tenant.len() > 1 => Ok(self.entra(&body)),
            _ => Ok(self.refuse(StatusCode::NOT_FOUND, "not_found", "There is no token endpoint at this path.")),
        }
    }
}

impl TokenEndpoint {
    /// IMDS gives its numbers as strings.
    fn managed_identity(&self, permitted: bool, query: &[u8]) -> Response<Body> {
        if !permitted {
            return self.refuse(StatusCode::BAD_REQUEST, "bad_request_102", "Required metadata header not specified");
        }
        let fields = fields(query);
        if !fields.contains_key("api-version") {
            return self.refuse(StatusCode::BAD_REQUEST, "bad_request_100", "The api-version query parameter is missing");
        }
        let Some(resource) = fields.get("resource").filter(|resource| !resource.is_empty()) else {
            return self.refuse(StatusCode::BAD_REQUEST, "invalid_resource", "AADSTS50001: The application named resource was not found in the tenant.");
        };
        let (now, lifetime) = (unix_seconds(), self.0.lifetime().as_secs());
        ok(&json!({
            "access_token": self.0.issue(resource, Instant::now()),
            "client_id": fields.get("client_id").cloned().unwrap_or_else(|| self.0.uuid()),
            "expires_in": lifetime.to_string(), "ext_expires_in": lifetime.to_string(),
            "expires_on": (now + lifetime).to_string(), "not_before": now.to_string(),
            "resource": resource, "token_type": "Bearer",
        }))
    }

    /// Entra gives its numbers as numbers.
    fn entra(&self, form: &[u8]) -> Response<Body> {
        let fields = fields(form);
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        if field("grant_type") != "client_credentials" {
            return self.refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type", "AADSTS70003: The app requested an unsupported grant type.");
        }
        if field("client_id").is_empty() {
            return self.refuse(StatusCode::BAD_REQUEST, "invalid_request", "AADSTS900144: The request body must contain the following parameter: 'client_id'.");
        }
        let Some(audience) = field("scope").strip_suffix("/.default") else {
            return self.refuse(StatusCode::BAD_REQUEST, "invalid_scope", "AADSTS1002012: The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier.");
        };
        let secret = if field("client_secret").is_empty() { field("client_assertion") } else { field("client_secret") };
        if secret.is_empty() {
            return self.refuse(StatusCode::UNAUTHORIZED, "invalid_client", "AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or 'client_secret'.");
        }
        if secret == "wrong" {
            return self.refuse(StatusCode::UNAUTHORIZED, "invalid_client", "AADSTS7000215: Invalid client secret provided.");
        }
        let lifetime = self.0.lifetime().as_secs();
        ok(&json!({ "token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": self.0.issue(audience, Instant::now()) }))
    }

    fn refuse(&self, status: StatusCode, error: &str, description: &str) -> Response<Body> {
        self.0.refuse();
        let code = description.strip_prefix("AADSTS").and_then(|rest| rest.split(':').next()).and_then(|code| code.parse::<u64>().ok());
        let body = json!({
            "error": error, "error_description": description, "error_codes": code.into_iter().collect::<Vec<_>>(),
            "trace_id": self.0.uuid(), "correlation_id": self.0.uuid(),
        });
        reply(status, body.to_string().into_bytes())
    }
}

/// A query's or a form's fields, decoded.
fn fields(encoded: &[u8]) -> Fields {
    url::form_urlencoded::parse(encoded).into_owned().collect()
}

fn ok(value: &Value) -> Response<Body> {
    reply(StatusCode::OK, value.to_string().into_bytes())
}

fn reply(status: StatusCode, bytes: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::uncounted(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store, no-cache"));
    response
}
