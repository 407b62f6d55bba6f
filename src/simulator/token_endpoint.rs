//! Where tokens come from: a VM's endpoint, App Service's and Entra's, on one address (wire facts: Tokens).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    applications::{Fields, Registry},
    body::Body,
    config::{Names, Tokens, UserAssigned},
    connection_fate::ConnectionFate,
    deviation::BrokenOff,
    imds::{self, Rate},
    server::Service,
    tokens::{TokenFault, TokenStore, unix_seconds},
};

const IMDS: &str = "/metadata/identity/oauth2/token";
const APP_SERVICE: &str = "/msi/token";
const APP_SERVICE_VERSION: &str = "2019-08-01";
const MOST_FORM: usize = 1 << 20;

/// All token endpoints.
pub(crate) struct TokenEndpoint {
    token_store: Arc<TokenStore>,
    scheme: &'static str,
    registry: Registry,
    /// What App Service's endpoint wants to be shown; without it there is none.
    identity_header: Option<String>,
    /// The tenant of the machine's identities.
    tenant_id: String,
    /// The user-assigned ones; `None`: any.
    user_assigned: Option<Vec<Names>>,
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

/// What an identity that is named so is called, if it has such a name.
fn called<'a>(names: &'a Names, by: &str) -> Option<&'a str> {
    match by {
        "client_id" => Some(&names.client_id),
        "object_id" => names.object_id.as_deref(),
        _ => names.resource_id.as_deref(),
    }
}

impl Service for TokenEndpoint {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        _fate: ConnectionFate,
    ) -> Result<Response<Body>, BrokenOff> {
        let (parts, incoming) = request.into_parts();
        let body = Limited::new(incoming, MOST_FORM)
            .collect()
            .await
            .map_err(|_| BrokenOff)?
            .to_bytes();
        self.token_store.note_asked();
        let is_imds = parts.uri.path() == IMDS;
        // Counts for as long as it is being answered.
        let entered = is_imds.then(|| self.rate.enter(Instant::now()));
        if let Some(None) = entered {
            return Ok(self.throttle(1));
        }
        match self.token_store.fault() {
            Some(TokenFault::Hang {}) => std::future::pending().await,
            Some(TokenFault::Garbage {}) => {
                Ok(reply(StatusCode::OK, b"<html>not a token</html>".to_vec()))
            }
            Some(TokenFault::Empty {}) => Ok(ok(&self.token("", None))),
            Some(TokenFault::ExpiresOn { value }) => {
                let mut token = self.token("nobody knows when this ends", None);
                (token["expires_on"], token["expires_in"]) = (json!(value), json!(value));
                Ok(ok(&token))
            }
            Some(TokenFault::Throttle { seconds }) => Ok(self.throttle(seconds)),
            Some(TokenFault::Status { status }) => {
                let status =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Ok(self.refuse(
                    status,
                    "temporarily_unavailable",
                    "AADSTS90033: A transient error has occurred. Please try again.",
                ))
            }
            Some(TokenFault::Slow { milliseconds }) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                Ok(self.route(&parts, &body))
            }
            None => Ok(self.route(&parts, &body)),
        }
    }
}

impl TokenEndpoint {
    pub(crate) fn new(token_store: Arc<TokenStore>, config: &Tokens) -> Self {
        Self {
            token_store,
            scheme: if config.tls.is_some() {
                "https"
            } else {
                "http"
            },
            registry: Registry::new(config.applications.clone()),
            identity_header: config.identity_header.clone(),
            tenant_id: config.tenant_id.clone(),
            user_assigned: config.user_assigned.clone().map(|all| {
                let names = |one| match one {
                    UserAssigned::ClientId(client_id) => Names {
                        client_id,
                        ..Names::default()
                    },
                    UserAssigned::Named(names) => names,
                };
                all.into_iter().map(names).collect()
            }),
            rate: Rate::default(),
        }
    }

    fn route(&self, parts: &Parts, body: &[u8]) -> Response<Body> {
        let path = parts.uri.path();
        let query = parts.uri.query().unwrap_or_default();
        let query: Vec<_> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let entra = path.strip_suffix("/oauth2/v2.0/token");
        match (&parts.method, entra) {
            (&Method::GET, _) if path == IMDS => self.imds(&parts.headers, query),
            (&Method::GET, _) if path == APP_SERVICE => self.app_service(&parts.headers, query),
            (&Method::POST, Some(tenant)) if tenant.len() > 1 => {
                self.entra(&tenant[1..], &self.url(parts), body)
            }
            _ => self.refuse(
                StatusCode::NOT_FOUND,
                "not_found",
                "There is no token endpoint at this path.",
            ),
        }
    }

    /// As its caller knows it.
    fn url(&self, parts: &Parts) -> String {
        let by_header = || parts.headers.get(header::HOST)?.to_str().ok();
        let host = parts
            .uri
            .authority()
            .map(|it| it.as_str())
            .or_else(by_header)
            .unwrap_or_default();
        format!("{}://{host}{}", self.scheme, parts.uri.path())
    }

    fn imds(&self, headers: &HeaderMap, query: Vec<(String, String)>) -> Response<Body> {
        if let Some((error, description)) = imds::objection(headers, &query) {
            return self.refuse(StatusCode::BAD_REQUEST, error, description);
        }
        let fields = query.into_iter().collect();
        self.managed_identity(&fields, |token| token)
    }

    /// App Service wants its secret, and tells fewer times.
    fn app_service(&self, headers: &HeaderMap, query: Vec<(String, String)>) -> Response<Body> {
        let shown = headers
            .get("x-identity-header")
            .and_then(|value| value.to_str().ok());
        if shown.is_none() || shown != self.identity_header.as_deref() {
            let description = "The identity header is missing or wrong.";
            return self.refuse(StatusCode::UNAUTHORIZED, "unauthorized", description);
        }
        let fields: Fields = query.into_iter().collect();
        if fields.get("api-version").map(String::as_str) != Some(APP_SERVICE_VERSION) {
            let description = "The api-version query parameter is missing or unknown";
            return self.refuse(StatusCode::BAD_REQUEST, "invalid_request", description);
        }
        self.managed_identity(&fields, |mut token| {
            if let Some(fields) = token.as_object_mut() {
                for name in ["expires_in", "ext_expires_in", "not_before"] {
                    fields.remove(name);
                }
            }
            token
        })
    }

    fn managed_identity(
        &self,
        fields: &Fields,
        shaped: impl FnOnce(Value) -> Value,
    ) -> Response<Body> {
        let resource = fields.get("resource").map_or("", String::as_str);
        if resource.is_empty() {
            return self.refuse(
                StatusCode::BAD_REQUEST,
                "invalid_resource",
                "AADSTS50001: The application named resource was not found in the tenant.",
            );
        }
        let Some(client_id) = self.assigned(fields) else {
            let description = "Identity not found";
            return self.refuse(StatusCode::BAD_REQUEST, "invalid_request", description);
        };
        let who = (self.tenant_id.as_str(), client_id.unwrap_or("system"));
        let (text, age) = self.token_store.issue_kept(who, resource, Instant::now());
        let wanted = Wanted {
            client_id,
            resource,
            age,
        };
        ok(&shaped(self.token(&text, Some(&wanted))))
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
        let Some(all) = &self.user_assigned else {
            return Some(Some(name));
        };
        // Ids of resources have no case.
        let is_it = |it: &&Names| called(it, by).is_some_and(|it| it.eq_ignore_ascii_case(name));
        all.iter().find(is_it).map(|it| Some(it.client_id.as_str()))
    }

    /// A machine's own endpoint gives its numbers as strings.
    fn token(&self, text: &str, wanted: Option<&Wanted<'_>>) -> Value {
        let age = wanted.map_or(Duration::ZERO, |it| it.age).as_secs();
        let (now, lifetime) = (unix_seconds(), self.token_store.lifetime().as_secs() - age);
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
    fn entra(&self, tenant: &str, url: &str, form: &[u8]) -> Response<Body> {
        let fields: Fields = form_urlencoded::parse(form).into_owned().collect();
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        if field("grant_type") != "client_credentials" {
            return self.refuse(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "AADSTS70003: The app requested an unsupported grant type.",
            );
        }
        if field("client_id").is_empty() {
            return self.refuse(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "AADSTS900144: The request body must contain the following parameter: 'client_id'.",
            );
        }
        let Some(audience) = field("scope").strip_suffix("/.default") else {
            return self.refuse(StatusCode::BAD_REQUEST, "invalid_scope", "AADSTS1002012: The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier.");
        };
        let convinced = self.registry.convince(tenant, &fields, url, unix_seconds());
        if let Err((status, error, description)) = convinced {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::UNAUTHORIZED);
            return self.refuse(status, error, description);
        }
        let lifetime = self.token_store.lifetime().as_secs();
        let token = self
            .token_store
            .issue((tenant, field("client_id")), audience, Instant::now());
        ok(
            &json!({ "token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": token }),
        )
    }

    fn throttle(&self, seconds: u64) -> Response<Body> {
        let mut response = self.refuse(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "Too many requests",
        );
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, seconds.into());
        response
    }

    fn refuse(&self, status: StatusCode, error: &str, description: &str) -> Response<Body> {
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
    let mut response = Response::new(Body::uncounted(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json; charset=utf-8"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        http::HeaderValue::from_static("no-store, no-cache"),
    );
    response
}
