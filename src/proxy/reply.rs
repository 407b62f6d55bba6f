//! What the gateway answers by itself: a refusal in Azure's error shape, a list of models, its health.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::{Result, http::ResponseHeader, protocols::http::ServerSession};
use pingora_proxy::Session;
use serde_json::{Value, json};

use crate::domain::refusal::Refusal;

/// An answer of the gateway's own.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    pub(super) retry_after: Option<(u64, u128)>,
    pub(super) should_retry: Option<bool>,
    /// `WWW-Authenticate` of a 401.
    pub(super) challenge: Option<&'static str>,
    /// The methods of a 405's path.
    pub(super) allow: Option<&'static str>,
    /// Whether a cache may keep it; an error never.
    pub(super) no_store: bool,
    /// What is left of its client's own limits, and what its client's browser wants to know.
    pub(super) limits: Vec<(HeaderName, HeaderValue)>,
}

impl Reply {
    pub(super) fn ok(body: Value) -> Self {
        Self {
            status: StatusCode::OK,
            body,
            retry_after: None,
            should_retry: None,
            challenge: None,
            allow: None,
            no_store: false,
            limits: Vec::new(),
        }
    }

    pub(super) fn refusal(refusal: &Refusal) -> Self {
        let body = json!({"error": {
            "code": refusal.code(),
            "message": refusal.message(),
            "type": refusal.kind(),
            "param": refusal.param(),
        }});
        let retry_after = refusal
            .wait()
            .map(|wait| (refusal.seconds(), wait.as_millis()));
        Self {
            status: refusal.status(),
            retry_after,
            should_retry: refusal.should_retry(),
            challenge: refusal.challenge(),
            allow: refusal.allow(),
            no_store: true,
            ..Self::ok(body)
        }
    }

    fn head(&self, request_id: &str, length: usize) -> Result<Box<ResponseHeader>> {
        let mut head = ResponseHeader::build(self.status, Some(9))?;
        head.insert_header(header::CONTENT_TYPE, "application/json")?;
        head.insert_header(header::CONTENT_LENGTH, length)?;
        head.insert_header("x-request-id", request_id)?;
        if self.no_store {
            head.insert_header(header::CACHE_CONTROL, "no-store")?;
        }
        if let Some((seconds, milliseconds)) = self.retry_after {
            head.insert_header(header::RETRY_AFTER, seconds)?;
            head.insert_header("retry-after-ms", milliseconds.to_string())?;
        }
        if let Some(challenge) = self.challenge {
            head.insert_header(header::WWW_AUTHENTICATE, challenge)?;
        }
        if let Some(allow) = self.allow {
            head.insert_header(header::ALLOW, allow)?;
        }
        if let Some(should_retry) = self.should_retry {
            head.insert_header("x-should-retry", should_retry.to_string())?;
        }
        for (name, value) in &self.limits {
            head.insert_header(name.clone(), value.clone())?;
        }
        Ok(Box::new(head))
    }

    /// As HTTP/1 writes it, for a connection that ends with it.
    pub(super) fn wire(self, request_id: &str) -> (Vec<u8>, usize) {
        let body = self.body.to_string();
        let head = self
            .head(request_id, body.len())
            .expect("a refusal's headers are well formed");
        let reason = self.status.canonical_reason().unwrap_or_default();
        let mut wire = format!("HTTP/1.1 {} {reason}\r\n", self.status.as_u16()).into_bytes();
        for (name, value) in &head.headers {
            wire.extend_from_slice(name.as_str().as_bytes());
            wire.extend_from_slice(b": ");
            wire.extend_from_slice(value.as_bytes());
            wire.extend_from_slice(b"\r\n");
        }
        let date = httpdate::fmt_http_date(SystemTime::now());
        wire.extend_from_slice(
            format!("date: {date}\r\nconnection: close\r\n\r\n{body}").as_bytes(),
        );
        (wire, body.len())
    }

    /// The headers over HTTP/2, and the body, which is left out where there is no room for so many bytes: its code then
    /// stands in a header, by Azure's name for that (Azure REST API Guidelines, "Handling errors").
    pub(super) fn parts(
        self,
        request_id: &str,
        code: &'static str,
        has_room: impl FnOnce(usize) -> bool,
    ) -> (HeaderMap, Vec<u8>) {
        let mut body = self.body.to_string().into_bytes();
        let is_whole = has_room(body.len());
        if !is_whole {
            body.clear();
        }
        let head = self
            .head(request_id, body.len())
            .expect("a refusal's headers are well formed");
        let mut headers = head.headers.clone();
        if !is_whole {
            headers.remove(header::CONTENT_TYPE);
            headers.insert("x-ms-error-code", HeaderValue::from_static(code));
        }
        let date = httpdate::fmt_http_date(SystemTime::now()).try_into();
        headers.insert(header::DATE, date.expect("a date is a header's value"));
        (headers, body)
    }

    /// Over HTTP/2, where nothing of a request has been read but its head.
    pub(super) async fn send_over(
        self,
        session: &mut ServerSession,
        request_id: &str,
    ) -> Result<u64> {
        let body = Bytes::from(self.body.to_string());
        let length = body.len();
        session
            .write_response_header(self.head(request_id, length)?)
            .await?;
        session.write_response_body(body, true).await?;
        Ok(length as u64)
    }

    /// Sends it. The connection stays usable wherever what is left of the request can be read past.
    pub(super) async fn send(self, session: &mut Session, request_id: &str) -> Result<u64> {
        let request = session.req_header();
        let without_body = request.method == Method::HEAD;
        let waits_to_send =
            request.headers.contains_key(header::EXPECT) && session.response_written().is_none();
        if waits_to_send && !session.is_body_done() {
            // Whether the body still comes is the client's choice; what follows on this connection can't be told apart.
            session.set_keepalive(None);
        }
        let body = Bytes::from(self.body.to_string());
        let length = body.len();
        session
            .write_response_header(self.head(request_id, length)?, without_body)
            .await?;
        if without_body {
            return Ok(0);
        }
        session.write_response_body(Some(body), true).await?;
        Ok(length as u64)
    }
}

/// The event that ends a stream whose deployment broke off, in the API's own shape. What stood before it may
/// have ended inside an event, so it starts on a line of its own.
/// `may_repeat`: the request does no harm if it is done twice.
pub(super) fn broken_stream(is_responses: bool, may_repeat: bool) -> Bytes {
    let message = if may_repeat {
        "The deployment broke off its answer. Send the request again."
    } else {
        "The deployment broke off its answer, and may have done what it was asked for. Look whether it was done before \
             you send the request again."
    };
    let error =
        json!({"code": "server_error", "message": message, "type": "server_error", "param": null});
    let event = if is_responses {
        let error =
            json!({"type": "error", "code": "server_error", "message": message, "param": null});
        format!("\n\nevent: error\ndata: {error}\n\n")
    } else {
        format!("\n\ndata: {}\n\n", json!({"error": error}))
    };
    event.into()
}
