//! The table of answers: what each reason for a no turns into.

use http::StatusCode;

use super::Refusal;

/// What one reason turns into.
pub(super) struct RefusalAnswer {
    pub(super) status: StatusCode,
    /// In the body, where Azure has a code for the case Azure's own.
    pub(super) code: &'static str,
    /// In metrics and logs.
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
}

impl Refusal {
    pub(super) fn answer(&self) -> RefusalAnswer {
        let answer = |status, code, reason, message| RefusalAnswer {
            status,
            code,
            reason,
            message,
        };
        let bad_request = |reason, message| answer(StatusCode::BAD_REQUEST, "400", reason, message);
        let unauthorized =
            |reason, message| answer(StatusCode::UNAUTHORIZED, "401", reason, message);
        let forbidden = |reason, message| answer(StatusCode::FORBIDDEN, "403", reason, message);
        match self {
            Self::MalformedRequest => bad_request(
                "malformed_request",
                "The request is not well-formed HTTP. Send it as RFC 9112 or RFC 9113 writes it, with special characters \
                 in the URL escaped.",
            ),
            Self::AmbiguousFraming => bad_request(
                "ambiguous_framing",
                "The length of the request's body is ambiguous. Send one Content-Length, or only Transfer-Encoding: chunked.",
            ),
            Self::AmbiguousHost => bad_request(
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
            Self::NotFrontDoor => forbidden(
                "not_front_door",
                "Access denied: this gateway does not accept direct requests. Send requests to the address that its \
                 operator gave you.",
            ),
            Self::UnknownNetwork => forbidden(
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
            Self::NoCredential => unauthorized(
                "no_credential",
                "Access denied: no key or token was sent. Send a key as `api-key: KEY`, or either as `Authorization: Bearer …`.",
            ),
            Self::UnknownKey => unauthorized(
                "unknown_key",
                "Access denied due to an invalid key. Use a key that this gateway's operator gave you.",
            ),
            Self::AmbiguousCredential => unauthorized(
                "ambiguous_credential",
                "Access denied: the credentials sent (`api-key`, `Authorization`, certificate) belong to different clients. Send only one of them.",
            ),
            Self::UnknownCertificate => unauthorized(
                "unknown_certificate",
                "Access denied: this client certificate is not known. Ask this gateway's operator to add it, or send a key.",
            ),
            Self::EndedCertificate => unauthorized(
                "ended_certificate",
                "Access denied: the client certificate of this connection has expired. Connect again with a renewed one.",
            ),
            Self::ForeignOrigin => forbidden(
                "foreign_origin",
                "Access denied: the request comes from a web page of another origin, without a key or token. This gateway's \
                 operator can allow its origin.",
            ),
            Self::InvalidToken(_) => unauthorized(
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
            Self::NamedElsewhere { .. } => bad_request(
                "named_elsewhere",
                "The header `{header}` must name a model that you may use and that is deployed on an instance that also serves the \
                 requested model. GET /openai/v1/models lists the models that you may use.",
            ),
            Self::UnknownParameter { name } => bad_request(
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
            Self::AmbiguousParameter { .. } => bad_request(
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
            Self::NotAWebSocket => bad_request(
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
            Self::BodyUnfinished => bad_request(
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
            Self::BodyNotJson => bad_request(
                "body_not_json",
                "The request body is not a JSON object, so its model can't be read. \
                 Send valid JSON.",
            ),
            Self::BodyTooDeep => bad_request(
                "body_too_deep",
                "The request body's JSON is nested more than 128 levels deep. Nest it less.",
            ),
            Self::BodyNotMultipart => bad_request(
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
            Self::MemberMisspelled { .. } => bad_request(
                "member_misspelled",
                "The request body has a name that differs from `{name}` only in case or form (as `Model` from `model`), which is \
                 ambiguous. Write it `{name}`.",
            ),
            Self::MemberTwice { .. } => bad_request(
                "member_twice",
                "The request body has `{name}` more than once, which is ambiguous. Send it once.",
            ),
            Self::ToolModel => bad_request(
                "tool_model",
                "The `model` of a tool must be the name of a model that you may use. GET /openai/v1/models lists them; \
                 without `model` the tool uses its default.",
            ),
            Self::CallIdMalformed => bad_request(
                "call_id_malformed",
                "`call_id` is not a valid call id. Send it exactly as the API returned it.",
            ),
            Self::ModelMissing => bad_request(
                "model_missing",
                "The request names no model. Add `model` to the body, or to the query of a WebSocket.",
            ),
            Self::ModelInPrompt => bad_request(
                "model_in_prompt",
                "The request takes its model from a stored prompt, which the gateway can't read. Add `model` to the body: \
                 it overrides the prompt's.",
            ),
            Self::ModelNotText => bad_request(
                "model_not_text",
                "`model` must be a string: the name of a model.",
            ),
            Self::ModelTwice => bad_request(
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
