//! Where tokens come from: a VM's endpoint, App Service's and Entra's, on one address (wire facts: Tokens).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    applications::{EntraError, Fields, Registry, bad_request},
    body::Body,
    config::{Tokens, UserAssigned},
    connection::ConnectionFate,
    deviation::BrokenOff,
    imds::{self, Rate},
    server::{self, Service},
    tokens::{TokenFault, TokenStore, unix_seconds},
};

const IMDS: &str = "/metadata/identity/oauth2/token";
const APP_SERVICE: &str = "/msi/token";
const APP_SERVICE_VERSION: &str = "2019-08-01";

/// All token endpoints.
pub(crate) struct TokenEndpoint {
    token_store: Arc<TokenStore>,
    config: Tokens,
    registry: Registry,
    rate: Rate,
}

/// Who asks a machine's own endpoint for what.
struct Wanted<'a> {
    /// Of a user-assigned identity.
    client_id: Option<&'a str>,
    resource: &'a str,
    /// How old its token is.
    age: Duration,
}

/// By what a user-assigned identity may be asked for.
const NAMES: [&str; 4] = ["client_id", "object_id", "msi_res_id", "mi_res_id"];

impl Service for TokenEndpoint {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        _fate: ConnectionFate,
    ) -> Result<Response<Body>, BrokenOff> {
        let (parts, incoming) = request.into_parts();
        let body = server::read(incoming).await?;
        self.token_store.note_asked();
        let is_imds = parts.uri.path() == IMDS;
        // Counts for as long as it is being answered.
        let entered = is_imds.then(|| self.rate.enter(Instant::now()));
        if let Some(None) = entered {
            return Ok(self.throttle(1));
        }
        Ok(match self.token_store.fault() {
            Some(TokenFault::Hang {}) => std::future::pending().await,
            Some(TokenFault::Garbage {}) => {
                reply(StatusCode::OK, b"<html>not a token</html>".to_vec())
            }
            Some(TokenFault::Empty {}) => ok(&self.token("", None)),
            Some(TokenFault::ExpiresOn { value }) => {
                let mut token = self.token("nobody knows when this ends", None);
                (token["expires_on"], token["expires_in"]) = (json!(value), json!(value));
                ok(&token)
            }
            Some(TokenFault::Throttle { seconds }) => self.throttle(seconds),
            Some(TokenFault::Status { status }) => {
                let status = StatusCode::from_u16(status);
                self.refuse((
                    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                    "temporarily_unavailable",
                    "AADSTS90033: A transient error has occurred. Please try again.",
                ))
            }
            Some(TokenFault::Slow { milliseconds }) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                self.route(&parts, &body)
            }
            None => self.route(&parts, &body),
        })
    }
}

impl TokenEndpoint {
    pub(crate) fn new(token_store: Arc<TokenStore>, config: &Tokens) -> Self {
        Self {
            token_store,
            registry: Registry::new(config.applications.clone()),
            config: config.clone(),
            rate: Rate::default(),
        }
    }

    fn route(&self, parts: &Parts, body: &[u8]) -> Response<Body> {
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let query: Vec<_> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let entra = path.strip_suffix("/oauth2/v2.0/token");
        let token = match (&parts.method, entra) {
            (&Method::GET, _) if path == IMDS => self.imds(&parts.headers, query),
            (&Method::GET, _) if path == APP_SERVICE => self.app_service(&parts.headers, query),
            (&Method::POST, Some(tenant)) if tenant.len() > 1 => {
                let origin = server::origin(self.config.tls.as_ref(), &parts.uri, &parts.headers);
                self.entra(&tenant[1..], &[&origin, path].concat(), body)
            }
            _ => Err((
                StatusCode::NOT_FOUND,
                "not_found",
                "There is no token endpoint at this path.",
            )),
        };
        token.map_or_else(|error| self.refuse(error), |token| ok(&token))
    }

    fn imds(&self, headers: &HeaderMap, query: Vec<(String, String)>) -> Result<Value, EntraError> {
        if let Some((error, description)) = imds::objection(headers, &query) {
            return Err(bad_request(error, description));
        }
        self.managed_identity(&query.into_iter().collect())
    }

    /// App Service wants its secret, and tells fewer times.
    fn app_service(
        &self,
        headers: &HeaderMap,
        query: Vec<(String, String)>,
    ) -> Result<Value, EntraError> {
        let shown = headers
            .get("x-identity-header")
            .and_then(|value| value.to_str().ok());
        if shown.is_none() || shown != self.config.identity_header.as_deref() {
            let description = "The identity header is missing or wrong.";
            return Err((StatusCode::UNAUTHORIZED, "unauthorized", description));
        }
        let fields: Fields = query.into_iter().collect();
        if fields.get("api-version").map(String::as_str) != Some(APP_SERVICE_VERSION) {
            let description = "The api-version query parameter is missing or unknown";
            return Err(bad_request("invalid_request", description));
        }
        let mut token = self.managed_identity(&fields)?;
        if let Some(fields) = token.as_object_mut() {
            for name in ["expires_in", "ext_expires_in", "not_before"] {
                fields.remove(name);
            }
        }
        Ok(token)
    }

    fn managed_identity(&self, fields: &Fields) -> Result<Value, EntraError> {
        let resource = fields.get("resource").map_or("", String::as_str);
        if resource.is_empty() {
            let description =
                "AADSTS50001: The application named resource was not found in the tenant.";
            return Err(bad_request("invalid_resource", description));
        }
        let client_id = self
            .assigned(fields)
            .ok_or(bad_request("invalid_request", "Identity not found"))?;
        let who = (
            self.config.tenant_id.as_str(),
            client_id.unwrap_or("system"),
        );
        let (text, age) = self.token_store.issue_kept(who, resource, Instant::now());
        let wanted = Wanted {
            client_id,
            resource,
            age,
        };
        Ok(self.token(&text, Some(&wanted)))
    }

    /// The client id of the user-assigned identity that is asked for, `Some(None)` for the machine's own; `None`: it isn't
    /// there, or is named in two ways.
    fn assigned<'a>(&'a self, fields: &'a Fields) -> Option<Option<&'a str>> {
        let mut names = NAMES.iter().filter_map(|by| Some((*by, fields.get(*by)?)));
        let Some((by, name)) = names.next() else {
            return Some(None);
        };
        if names.next().is_some() {
            return None;
        }
        let Some(all) = &self.config.user_assigned else {
            return Some(Some(name));
        };
        // Ids of resources have no case.
        let is_it = |it: &&UserAssigned| {
            it.called(by)
                .is_some_and(|it| it.eq_ignore_ascii_case(name))
        };
        all.iter().find(is_it).map(UserAssigned::client_id)
    }

    /// A machine's own endpoint gives its numbers as strings.
    fn token(&self, text: &str, wanted: Option<&Wanted<'_>>) -> Value {
        let age = wanted.map_or(Duration::ZERO, |it| it.age).as_secs();
        let (now, lifetime) = (unix_seconds(), self.token_store.lifetime.as_secs() - age);
        let client = wanted.and_then(|it| it.client_id.map(str::to_owned));
        json!({
            "access_token": text,
            "client_id": client.unwrap_or_else(|| self.token_store.uuid()),
            "expires_in": lifetime.to_string(), "ext_expires_in": lifetime.to_string(),
            "expires_on": (now + lifetime).to_string(), "not_before": (now - age).to_string(),
            "resource": wanted.map_or("", |it| it.resource), "token_type": "Bearer",
        })
    }

    /// Entra gives its numbers as numbers.
    fn entra(&self, tenant: &str, url: &str, form: &[u8]) -> Result<Value, EntraError> {
        let fields: Fields = form_urlencoded::parse(form).into_owned().collect();
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        if field("grant_type") != "client_credentials" {
            return Err(bad_request(
                "unsupported_grant_type",
                "AADSTS70003: The app requested an unsupported grant type.",
            ));
        }
        if field("client_id").is_empty() {
            return Err(bad_request(
                "invalid_request",
                "AADSTS900144: The request body must contain the following parameter: 'client_id'.",
            ));
        }
        let audience = field("scope").strip_suffix("/.default").ok_or(bad_request(
            "invalid_scope",
            "AADSTS1002012: The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier.",
        ))?;
        self.registry
            .convince(tenant, &fields, url, unix_seconds())?;
        let who = (tenant, field("client_id"));
        let token = self.token_store.issue(who, audience, Instant::now());
        let lifetime = self.token_store.lifetime.as_secs();
        Ok(
            json!({ "token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": token }),
        )
    }

    fn throttle(&self, seconds: u64) -> Response<Body> {
        let error = "too_many_requests";
        let mut response = self.refuse((StatusCode::TOO_MANY_REQUESTS, error, "Too many requests"));
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, seconds.into());
        response
    }

    fn refuse(&self, (status, error, description): EntraError) -> Response<Body> {
        self.token_store.refuse();
        let code = description
            .strip_prefix("AADSTS")
            .and_then(|rest| rest.split(':').next())
            .and_then(|code| code.parse::<u64>().ok());
        let body = json!({
            "error": error, "error_description": description, "error_codes": code.into_iter().collect::<Vec<_>>(),
            "trace_id": self.token_store.uuid(), "correlation_id": self.token_store.uuid(),
        });
        reply(status, body.to_string().into_bytes())
    }
}

fn ok(value: &Value) -> Response<Body> {
    reply(StatusCode::OK, value.to_string().into_bytes())
}

fn reply(status: StatusCode, bytes: Vec<u8>) -> Response<Body> {
    let mut response = server::reply(status, "application/json; charset=utf-8", bytes);
    let uncached = HeaderValue::from_static("no-store, no-cache");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, uncached);
    response
}
