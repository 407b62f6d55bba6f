//! Every reason the gateway itself says no to a client. Status, code, message, metric label and log field
//! all come from the variant, so a new reason is one variant and the compiler lists what it still needs.

mod limited;
mod token;

use std::time::Duration;

use http::{HeaderName, StatusCode};

pub use limited::Limited;
pub use token::Rejection;

/// The longest wait ever told to a client: the official Python client does not retry at all after a longer
/// one (wire facts: What clients retry).
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// When to come back after a token could not be checked.
const KEYS_WAIT: Duration = Duration::from_secs(5);

/// When to come back after there was no room for a body.
const MEMORY_WAIT: Duration = Duration::from_secs(1);

/// Our own no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not follow the grammar of HTTP.
    MalformedRequest,
    /// Its body could end in more than one place.
    AmbiguousFraming,
    /// It could mean more than one host.
    AmbiguousHost,
    /// It expects something that is not known here.
    ExpectationFailed,
    UriTooLong,
    HeadTooSlow,
    /// It did not come through the operator's own Front Door.
    NotFrontDoor,
    /// It comes from no network that the operator allows.
    UnknownNetwork,
    UnknownPath,
    MethodNotAllowed {
        /// The path's methods; empty where it has none.
        allow: &'static str,
    },
    NoCredential,
    UnknownKey,
    /// Two credentials that belong to two clients.
    AmbiguousCredential,
    /// A certificate that its authority vouches for, and that is no client's.
    UnknownCertificate,
    /// A certificate that has ended since its connection was opened.
    EndedCertificate,
    /// A web page of elsewhere, with nothing but what its reader's browser sends by itself.
    ForeignOrigin,
    /// A token that lets nobody in; why is for our own eyes.
    InvalidToken(Rejection),
    /// A token whose issuer's keys could not be fetched yet: it may be good.
    UncheckedToken,
    /// Also what a client is told that may not use the model.
    UnknownModel,
    /// A header names a deployment by something that is no model of the client's, or none that is deployed beside the model
    /// asked for.
    NamedElsewhere {
        header: HeaderName,
    },
    /// The query has a parameter that does not go on; `None`: its name may be a value.
    UnknownParameter {
        name: Option<Box<str>>,
    },
    /// The query says something twice, or in a way that has two readings.
    AmbiguousParameter {
        name: Box<str>,
    },
    /// The client was not granted this kind of work.
    OperationNotAllowed {
        /// The grant that is missing, in the config's word.
        needs: &'static str,
    },
    /// A response in the background, which nobody could ask for afterwards.
    NoBackground,
    /// A path for WebSockets was asked for something else, or not over HTTP/1.1.
    NotAWebSocket,
    HeadersTooLarge,
    BodyTooLarge {
        max: usize,
    },
    /// The connection ended before the body did.
    BodyUnfinished,
    BodyTooSlow,
    /// There is no room to keep the body in.
    BodyMemoryFull,
    BodyNotJson,
    BodyTooDeep,
    BodyNotMultipart,
    /// A body that is compressed.
    UnsupportedContentEncoding,
    /// A body that others could read by another grammar than is read here.
    UnsupportedContentType,
    /// A member or field whose name is one that is read here, in other letters.
    MemberMisspelled {
        /// As the API writes it.
        name: &'static str,
    },
    /// A member that is read here stands twice.
    MemberTwice {
        name: &'static str,
    },
    /// A tool names a model that is none of the client's.
    ToolModel,
    /// A realtime call's id that is none.
    CallIdMalformed,
    ModelMissing,
    /// Its model is said to stand in a stored prompt, which no gateway can read.
    ModelInPrompt,
    ModelNotText,
    ModelTwice,
    /// Every deployment that could serve this said to come back later.
    Throttled {
        wait: Duration,
    },
    /// Every deployment that could serve this failed, or can't be asked.
    Unavailable {
        wait: Duration,
    },
    DeadlineExceeded,
    /// A deployment failed that may have done already what must not be done twice.
    MayHaveActed,
    /// A deployment was asked and said nothing in its time, and nobody else could serve.
    Silence,
    /// The client is at one of its own limits.
    Limited(Box<Limited>),
    /// A fault of the gateway's own.
    Internal,
}

impl From<Limited> for Refusal {
    fn from(limited: Limited) -> Self {
        Self::Limited(Box::new(limited))
    }
}

/// What one reason turns into.
struct Answer {
    status: StatusCode,
    /// In the body, where Azure has a code for the case Azure's own.
    code: &'static str,
    /// In metrics and logs.
    reason: &'static str,
    message: &'static str,
}

impl Refusal {
    pub fn status(&self) -> StatusCode {
        self.answer().status
    }

    /// The `code` of the body.
    pub fn code(&self) -> &'static str {
        self.answer().code
    }

    /// The label in metrics and the field in the log: a closed set.
    pub fn reason(&self) -> &'static str {
        self.answer().reason
    }

    /// What the log says beyond the reason, and no client hears: a closed set.
    pub fn detail(&self) -> Option<&'static str> {
        match self {
            Self::InvalidToken(rejection) => Some(rejection.as_str()),
            _ => None,
        }
    }

    /// What a 401 must ask for (RFC 6750, 3).
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::InvalidToken(_) => Some("Bearer error=\"invalid_token\""),
            Self::NoCredential | Self::UnknownKey | Self::AmbiguousCredential => Some("Bearer"),
            _ => None,
        }
    }

    /// The methods that a 405 must name (RFC 9110, 15.5.6).
    pub fn allow(&self) -> Option<&'static str> {
        match self {
            Self::MethodNotAllowed { allow } => Some(allow),
            _ => None,
        }
    }

    /// When to come back; at least a millisecond, at most two minutes.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Throttled { wait } | Self::Unavailable { wait } => {
                Some((*wait).clamp(Duration::from_millis(1), LONGEST_WAIT))
            }
            Self::BodyMemoryFull => Some(MEMORY_WAIT),
            Self::UncheckedToken => Some(KEYS_WAIT),
            Self::Limited(limited) => limited
                .wait()
                .map(|wait| wait.clamp(Duration::from_millis(1), LONGEST_WAIT)),
            _ => None,
        }
    }

    /// What a client that would retry by itself is told (wire facts: What clients retry): yes where the wait makes sense, no where a
    /// retry would only make it worse; `None`: as its own rules say.
    pub fn should_retry(&self) -> Option<bool> {
        match self {
            Self::Throttled { wait } | Self::Unavailable { wait } => Some(*wait <= LONGEST_WAIT),
            // It has waited this long already, and Azure may bill for each try.
            Self::DeadlineExceeded | Self::Silence => Some(false),
            // Whoever repeats it by itself could do it twice.
            Self::MayHaveActed => Some(false),
            Self::Limited(limited) => Some(limited.wait().is_some()),
            _ => None,
        }
    }

    /// What the client can do about it. It names no host, deployment or secret.
    pub fn message(&self) -> String {
        let message = self.answer().message;
        match self {
            Self::BodyTooLarge { max } => message.replace("{max}", &max.to_string()),
            Self::OperationNotAllowed { needs } => message.replace("{needs}", needs),
            Self::MemberMisspelled { name } | Self::MemberTwice { name } => {
                message.replace("{name}", name)
            }
            Self::NamedElsewhere { header } => message.replace("{header}", header.as_str()),
            Self::UnknownParameter { name: Some(name) } | Self::AmbiguousParameter { name } => {
                message.replace("{name}", name)
            }
            Self::Limited(limited) => limited.message(self.seconds()),
            Self::Throttled { .. }
            | Self::Unavailable { .. }
            | Self::BodyMemoryFull
            | Self::UncheckedToken => message.replace("{wait}", &self.seconds().to_string()),
            _ => message.to_owned(),
        }
    }

    /// The wait in whole seconds, rounded up, as `Retry-After` wants it; never 0, which some clients
    /// take for no word at all (wire facts: What clients retry).
    pub fn seconds(&self) -> u64 {
        let wait = self.wait().unwrap_or_default();
        wait.as_millis().div_ceil(1000).max(1) as u64
    }

    /// What of the request it is about, where that is one member of its body.
    pub fn param(&self) -> Option<&'static str> {
        match self {
            Self::NoBackground => Some("background"),
            Self::ToolModel => Some("tools"),
            Self::MemberMisspelled { name } | Self::MemberTwice { name } => Some(name),
            _ => None,
        }
    }

    /// The error's `type`, by OpenAI's words.
    pub fn kind(&self) -> &'static str {
        match self.status().as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "too_many_requests",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    fn answer(&self) -> Answer {
        let answer = |status, code, reason, message| Answer {
            status,
            code,
            reason,
            message,
        };
        match self {
            Self::MalformedRequest => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "malformed_request",
                "The request is not well-formed HTTP. Send it as RFC 9112 or RFC 9113 writes it, with special characters \
                 in the URL escaped.",
            ),
            Self::AmbiguousFraming => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "ambiguous_framing",
                "The length of the request's body is ambiguous. Send one Content-Length, or only Transfer-Encoding: chunked.",
            ),
            Self::AmbiguousHost => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "ambiguous_host",
                "The request's host is ambiguous. Send one Host header, the same as in the URL.",
            ),
            Self::ExpectationFailed => answer(
                StatusCode::EXPECTATION_FAILED,
                "417",
                "expectation_failed",
                "The request's Expect header is not supported. Send none, or 100-continue.",
            ),
            Self::UriTooLong => answer(
                StatusCode::URI_TOO_LONG,
                "414",
                "uri_too_long",
                "The request's URL is longer than 8192 bytes. Send a shorter one.",
            ),
            Self::HeadTooSlow => answer(
                StatusCode::REQUEST_TIMEOUT,
                "408",
                "head_too_slow",
                "The request's headers took too long to arrive. Send it again.",
            ),
            Self::NotFrontDoor => answer(
                StatusCode::FORBIDDEN,
                "403",
                "not_front_door",
                "Access denied: this gateway does not accept direct requests. Send requests to the address that its \
                 operator gave you.",
            ),
            Self::UnknownNetwork => answer(
                StatusCode::FORBIDDEN,
                "403",
                "unknown_network",
                "Access denied: this gateway does not accept requests from your network. Send requests to the address that its \
                 operator gave you.",
            ),
            Self::UnknownPath => answer(
                StatusCode::NOT_FOUND,
                "404",
                "unknown_path",
                "Resource not found. Paths are /openai/deployments/{model}/…, /openai/v1/… and /v1/….",
            ),
            Self::MethodNotAllowed { .. } => answer(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "method_not_allowed",
                "This path does not support this method: requests to models are POST, lists are GET.",
            ),
            Self::NoCredential => answer(
                StatusCode::UNAUTHORIZED,
                "401",
                "no_credential",
                "Access denied: no key or token was sent. Send a key as `api-key: KEY`, or either as `Authorization: Bearer …`.",
            ),
            Self::UnknownKey => answer(
                StatusCode::UNAUTHORIZED,
                "401",
                "unknown_key",
                "Access denied due to an invalid key. Use a key that this gateway's operator gave you.",
            ),
            Self::AmbiguousCredential => answer(
                StatusCode::UNAUTHORIZED,
                "401",
                "ambiguous_credential",
                "Access denied: the credentials sent (`api-key`, `Authorization`, certificate) belong to different clients. Send only one of them.",
            ),
            Self::UnknownCertificate => answer(
                StatusCode::UNAUTHORIZED,
                "401",
                "unknown_certificate",
                "Access denied: this client certificate is not known. Ask this gateway's operator to add it, or send a key.",
            ),
            Self::EndedCertificate => answer(
                StatusCode::UNAUTHORIZED,
                "401",
                "ended_certificate",
                "Access denied: the client certificate of this connection has expired. Connect again with a renewed one.",
            ),
            Self::ForeignOrigin => answer(
                StatusCode::FORBIDDEN,
                "403",
                "foreign_origin",
                "Access denied: the request comes from a web page of another origin, without a key or token. This gateway's \
                 operator can allow its origin.",
            ),
            Self::InvalidToken(_) => answer(
                StatusCode::UNAUTHORIZED,
                "401",
                "invalid_token",
                "Access denied due to an invalid token. Get one from the issuer, and for the audience, that this \
                 gateway's operator named.",
            ),
            Self::UncheckedToken => answer(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "unchecked_token",
                "The gateway can't check tokens of this issuer at the moment. Please retry after {wait} seconds.",
            ),
            Self::UnknownModel => answer(
                StatusCode::NOT_FOUND,
                "DeploymentNotFound",
                "unknown_model",
                "The API deployment for this resource does not exist, or you may not use this model. \
                 GET /openai/v1/models lists the models that you may use.",
            ),
            Self::NamedElsewhere { .. } => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "named_elsewhere",
                "The header `{header}` must name a model that you may use and that is deployed on an instance that also serves the \
                 requested model. GET /openai/v1/models lists the models that you may use.",
            ),
            Self::UnknownParameter { name } => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "unknown_parameter",
                match name {
                    Some(_) => {
                        "The query parameter `{name}` is not forwarded to deployments. Remove it; this gateway's operator can add it \
                         to `server.forward_query`. Send a key as `api-key: KEY` or `Authorization: Bearer KEY`."
                    }
                    None => {
                        "The query has a parameter that is not forwarded to deployments. Remove all but `api-version`. Send a \
                         key as `api-key: KEY` or `Authorization: Bearer KEY`."
                    }
                },
            ),
            Self::AmbiguousParameter { .. } => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "ambiguous_parameter",
                "The query parameter `{name}` is ambiguous. Send it once, with `;` in it escaped.",
            ),
            Self::OperationNotAllowed { .. } => answer(
                StatusCode::FORBIDDEN,
                "OperationNotAllowed",
                "operation_not_allowed",
                "This request needs the operation `{needs}`, which you were not granted. This gateway's operator can \
                 add it to your `operations`.",
            ),
            Self::NoBackground => answer(
                StatusCode::BAD_REQUEST,
                "OperationNotSupported",
                "no_background",
                "This gateway does not support `background: true`: it has no path to fetch or cancel a response by its id, so the response \
                 would be billed but could not be read. Remove `background`, and stream responses that take long.",
            ),
            Self::NotAWebSocket => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "not_a_websocket",
                "This path opens a WebSocket: send GET over HTTP/1.1 without a body, with `Connection: Upgrade`, \
                 `Upgrade: websocket`, `Sec-WebSocket-Version: 13` and one `Sec-WebSocket-Key`.",
            ),
            Self::HeadersTooLarge => answer(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "431",
                "headers_too_large",
                "The request's headers are too large. Send fewer or shorter ones.",
            ),
            Self::BodyTooLarge { .. } => answer(
                StatusCode::PAYLOAD_TOO_LARGE,
                "413",
                "body_too_large",
                "The request body is larger than the {max} bytes that this gateway accepts. Send a smaller one.",
            ),
            Self::BodyUnfinished => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "body_unfinished",
                "The request body ended early or was framed wrongly. Send all of it.",
            ),
            Self::BodyTooSlow => answer(
                StatusCode::REQUEST_TIMEOUT,
                "408",
                "body_too_slow",
                "The request body took too long to arrive. Send it again.",
            ),
            Self::BodyMemoryFull => answer(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "body_memory_full",
                "The gateway has no memory left for this request's body at the moment. Please retry after {wait} seconds.",
            ),
            Self::BodyNotJson => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "body_not_json",
                "The request body is not a JSON object, so its model can't be read. \
                 Send valid JSON.",
            ),
            Self::BodyTooDeep => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "body_too_deep",
                "The request body's JSON is nested more than 128 levels deep. Nest it less.",
            ),
            Self::BodyNotMultipart => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "body_not_multipart",
                "The multipart body is malformed or ambiguous. Send it with `Content-Type: multipart/form-data; \
                 boundary=…`, each part between delimiters on lines of their own (CRLF), with one `Content-Disposition: form-data; \
                 name=\"…\"`, nothing folded or escaped, and nothing after the end.",
            ),
            Self::UnsupportedContentEncoding => answer(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "415",
                "unsupported_content_encoding",
                "The request body is compressed (`Content-Encoding`), which this gateway does not support. Send it uncompressed.",
            ),
            Self::UnsupportedContentType => answer(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "415",
                "unsupported_content_type",
                "The request body's `Content-Type` is not supported. Send `application/json` in UTF-8, or \
                 `multipart/form-data` if the operation accepts forms.",
            ),
            Self::MemberMisspelled { .. } => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "member_misspelled",
                "The request body has a name that differs from `{name}` only in case or form (as `Model` from `model`), which is \
                 ambiguous. Write it `{name}`.",
            ),
            Self::MemberTwice { .. } => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "member_twice",
                "The request body has `{name}` more than once, which is ambiguous. Send it once.",
            ),
            Self::ToolModel => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "tool_model",
                "The `model` of a tool must be the name of a model that you may use. GET /openai/v1/models lists them; \
                 without `model` the tool uses its default.",
            ),
            Self::CallIdMalformed => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "call_id_malformed",
                "`call_id` is not a valid call id. Send it exactly as the API returned it.",
            ),
            Self::ModelMissing => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "model_missing",
                "The request names no model. Add `model` to the body, or to the query of a WebSocket.",
            ),
            Self::ModelInPrompt => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "model_in_prompt",
                "The request takes its model from a stored prompt, which the gateway can't read. Add `model` to the body: \
                 it overrides the prompt's.",
            ),
            Self::ModelNotText => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "model_not_text",
                "`model` must be a string: the name of a model.",
            ),
            Self::ModelTwice => answer(
                StatusCode::BAD_REQUEST,
                "400",
                "model_twice",
                "The request names its model more than once. Name it once.",
            ),
            Self::Throttled { .. } => answer(
                StatusCode::TOO_MANY_REQUESTS,
                "429",
                "throttled",
                "Every deployment of this model has reached its rate limit. Please retry after {wait} seconds.",
            ),
            Self::Unavailable { .. } => answer(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "unavailable",
                "No deployment of this model is available at the moment. Please retry after {wait} seconds.",
            ),
            Self::DeadlineExceeded => answer(
                StatusCode::GATEWAY_TIMEOUT,
                "Timeout",
                "deadline_exceeded",
                "No deployment answered within this gateway's deadline. Send the request again.",
            ),
            Self::MayHaveActed => answer(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "may_have_acted",
                "The deployment failed after it had started this request, and may have done what it asks for (a tool call, a turn of a \
                 conversation), so this gateway does not retry it. Check whether it was done before you send it again.",
            ),
            Self::Silence => answer(
                StatusCode::GATEWAY_TIMEOUT,
                "Timeout",
                "silence",
                "The deployment did not answer in time, and no other deployment is available at the moment. Use streaming \
                 for requests that take long.",
            ),
            Self::Limited(limited) => answer(limited.status(), limited.code(), limited.code(), ""),
            Self::Internal => answer(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                "internal",
                "The gateway failed to handle this request. Its operator can find the cause in the log by the request id.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_whole_seconds_rounded_up_and_never_zero() {
        for (wait_ms, told_ms, told_s) in [
            (0, 1, 1),
            (1, 1, 1),
            (1000, 1000, 1),
            (1001, 1001, 2),
            (86_400_000, 120_000, 120),
        ] {
            let refusal = Refusal::Throttled {
                wait: Duration::from_millis(wait_ms),
            };
            assert_eq!(refusal.wait(), Some(Duration::from_millis(told_ms)));
            assert_eq!(refusal.seconds(), told_s);
            assert!(
                refusal
                    .message()
                    .contains(&format!("after {told_s} seconds"))
            );
        }
    }

    #[test]
    fn a_client_is_told_to_retry_only_where_that_can_help() {
        let throttled = |seconds| Refusal::Throttled {
            wait: Duration::from_secs(seconds),
        };
        assert_eq!(throttled(120).should_retry(), Some(true));
        assert_eq!(throttled(121).should_retry(), Some(false));
        assert_eq!(Refusal::DeadlineExceeded.should_retry(), Some(false));
        assert_eq!(Refusal::MayHaveActed.should_retry(), Some(false));
        assert_eq!(Refusal::MayHaveActed.wait(), None);
        assert_eq!(Refusal::UnknownKey.should_retry(), None);
    }

    #[test]
    fn a_limit_is_named_in_its_message() {
        assert!(
            Refusal::BodyTooLarge { max: 1024 }
                .message()
                .contains("1024 bytes")
        );
    }
}
