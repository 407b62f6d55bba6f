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
                "Where the request's body ends is not clear. Send one Content-Length, or Transfer-Encoding: chunked alone.",
            ),
            Self::AmbiguousHost => bad_request(
                "ambiguous_host",
                "Which host the request means is not clear. Send one Host header, the same as in the URL.",
            ),
            Self::ExpectationFailed => answer(
                StatusCode::EXPECTATION_FAILED,
                "417",
                "expectation_failed",
                "The request expects what this gateway does not know. Send no Expect header, or 100-continue.",
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
                "Access denied: this gateway is not to be reached directly. Send requests to the address that its \
                 operator gave you.",
            ),
            Self::UnknownNetwork => forbidden(
                "unknown_network",
                "Access denied: this gateway is not open to your network. Send requests to the address that its \
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
                "This path does not take that method: requests to models are POST, lists are GET.",
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
                "Access denied: the credentials sent (`api-key`, `Authorization`, certificate) are not one client's. Send one of them.",
            ),
            Self::UnknownCertificate => unauthorized(
                "unknown_certificate",
                "Access denied: this certificate is no client's. Ask this gateway's operator to name it, or send a key.",
            ),
            Self::EndedCertificate => unauthorized(
                "ended_certificate",
                "Access denied: the certificate of this connection has ended. Connect again with a renewed one.",
            ),
            Self::ForeignOrigin => forbidden(
                "foreign_origin",
                "Access denied: a web page of another origin asks, and shows neither key nor token. This gateway's \
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
                "The API deployment for this resource does not exist: no model of this name is open to you. \
                 GET /openai/v1/models lists those that are.",
            ),
            Self::NamedElsewhere { .. } => bad_request(
                "named_elsewhere",
                "The header `{header}` must name a model that is open to you and deployed on an instance that also serves the \
                 model you ask for. GET /openai/v1/models lists those that are open to you.",
            ),
            Self::UnknownParameter { name } => bad_request(
                "unknown_parameter",
                match name {
                    Some(_) => {
                        "The query parameter `{name}` does not go on to deployments. Leave it out; this gateway's operator can add it \
                         to `server.forward_query`. A key is sent as `api-key: KEY` or `Authorization: Bearer KEY`."
                    }
                    None => {
                        "The query has a parameter that does not go on to deployments. Leave out all but `api-version`. A key is \
                         sent as `api-key: KEY` or `Authorization: Bearer KEY`."
                    }
                },
            ),
            Self::AmbiguousParameter { .. } => bad_request(
                "ambiguous_parameter",
                "The query parameter `{name}` could be read in two ways. Give it once, with `;` in it escaped.",
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
                "This gateway does not pass on `background: true`: it has no path to fetch or cancel a response by its id, so the response \
                 would be paid for and could not be read. Leave `background` out, and stream the response where it takes long.",
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
                "The request body is larger than the {max} bytes this gateway takes. Send less in one request.",
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
                "The gateway has no room for this request's body at the moment. Please retry after {wait} seconds.",
            ),
            Self::BodyNotJson => bad_request(
                "body_not_json",
                "The request body is not a JSON object, so the model it asks for can't be read. \
                 Send valid JSON.",
            ),
            Self::BodyTooDeep => bad_request(
                "body_too_deep",
                "The request body's JSON is nested more than 128 levels deep. Nest it less.",
            ),
            Self::BodyNotMultipart => bad_request(
                "body_not_multipart",
                "The multipart body can't be read, or could be read in two ways. Send it under `Content-Type: multipart/form-data; \
                 boundary=…`, each part between delimiters on lines of their own (CRLF), with one `Content-Disposition: form-data; \
                 name=\"…\"`, nothing folded or escaped, and nothing behind the end.",
            ),
            Self::UnsupportedContentEncoding => answer(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "415",
                "unsupported_content_encoding",
                "The request body is compressed (`Content-Encoding`), which this gateway does not take. Send it uncompressed.",
            ),
            Self::UnsupportedContentType => answer(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "415",
                "unsupported_content_type",
                "The request body's `Content-Type` is none that this gateway takes. Send `application/json` in UTF-8, or \
                 `multipart/form-data` where the operation takes forms.",
            ),
            Self::MemberMisspelled { .. } => bad_request(
                "member_misspelled",
                "The request body has the name `{name}` in other letters or another form (as `Model` would be of `model`), which could be \
                 read in two ways. Write it `{name}`.",
            ),
            Self::MemberTwice { .. } => bad_request(
                "member_twice",
                "The request body has `{name}` more than once, which could be read in two ways. Send it once.",
            ),
            Self::ToolModel => bad_request(
                "tool_model",
                "The `model` of a tool must be the name of a model that is open to you. GET /openai/v1/models lists those that are; \
                 without `model` the tool's default serves.",
            ),
            Self::CallIdMalformed => bad_request(
                "call_id_malformed",
                "`call_id` is no id of a call. Send it as the API gave it to you.",
            ),
            Self::ModelMissing => bad_request(
                "model_missing",
                "The request names no model. Add `model` to the body, or to the query of a WebSocket.",
            ),
            Self::ModelInPrompt => bad_request(
                "model_in_prompt",
                "The request leaves its model to a stored prompt, which the gateway can't read. Add `model` to the body: \
                 it wins over the prompt's.",
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
                "Every deployment of this model is at its limit. Please retry after {wait} seconds.",
            ),
            Self::Unavailable { .. } => answer(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "unavailable",
                "No deployment of this model can answer at the moment. Please retry after {wait} seconds.",
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
                "The deployment failed after it had begun on this request, and may have done what it asks for (a tool's work, a turn of a \
                 conversation): this gateway does not repeat that. Look whether it was done before you send it again.",
            ),
            Self::Silence => answer(
                StatusCode::GATEWAY_TIMEOUT,
                "Timeout",
                "silence",
                "The deployment did not answer in its time, and none other can answer at the moment. What takes long is best \
                 asked for as a stream.",
            ),
            Self::Limited(limited) => answer(limited.status(), limited.code(), limited.code(), ""),
            Self::Internal => answer(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                "internal",
                "The gateway failed to handle this request. Its operator finds why under the request id.",
            ),
        }
    }
}
