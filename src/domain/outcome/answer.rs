//! An answer's head and, where that leaves open what it means, its body.

use std::time::SystemTime;

use http::{HeaderMap, StatusCode, header};

use super::{Fault, Outcome, error::ErrorBody};
use crate::domain::{additions::Added, wait};

impl Outcome {
    /// Reads an answer's head. `now` is for dates in `Retry-After`. What else an error's body may say,
    /// [`Outcome::of_error_body`] reads.
    pub fn of_response(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        match status.as_u16() {
            200..=299 if is_page(headers) => Self::NotTheApi,
            200..=299 => Self::Served,
            429 => Self::Throttled {
                wait: wait::after_throttle(headers, now),
            },
            401 | 403 => Self::IdentityRejected,
            // The only proxy that a client's SDK would look for is its own.
            407 => Self::NotTheApi,
            code @ (408 | 424 | 500..=599) => Self::Faulted {
                fault: Fault::of_status(code),
                wait: wait::retry_after(headers, now),
            },
            400..=499 => Self::CallerError,
            300..=399 => Self::Redirected,
            _ => Self::Served,
        }
    }

    /// Whether the body may say more than the head: whose mistake a 400 is, what was refused, what isn't there, whose tool
    /// failed, how long to wait.
    pub fn is_open_until_body(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> bool {
        match status.as_u16() {
            400 | 401 | 403 | 404 | 424 => true,
            429 => wait::after_throttle(headers, now).is_none_or(|wait| wait.is_zero()),
            _ => false,
        }
    }

    /// The same with the body of an answer that [`Outcome::is_open_until_body`]; what can't be read of it says nothing.
    pub fn of_error_body(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Self {
        let error = ErrorBody::read(body);
        let by_head = Self::of_response(status, headers, now);
        match (status.as_u16(), by_head) {
            (400, _) if error.says_set_up() => Self::IdentityUnfit,
            (400, _) if error.is_screened() => Self::Screened,
            (401 | 403, _) if error.names_permission() => Self::OperationRejected,
            (404, _) if error.is_missing_deployment() => Self::NotDeployed,
            (404, _) if error.is_missing_path() => Self::NotFound,
            (424, _) if error.is_callers_tool() => Self::CallerError,
            (_, Self::Throttled { wait }) if wait.is_none_or(|wait| wait.is_zero()) => {
                Self::Throttled {
                    wait: error.wait().or(wait),
                }
            }
            _ => by_head,
        }
    }

    /// The same for a 400 or a 422 to a request that something was added to, which its client did not say.
    pub fn of_added(body: &[u8], added: Added, otherwise: Self) -> Self {
        if !matches!(otherwise, Self::CallerError | Self::Refused) {
            return otherwise;
        }
        let error = ErrorBody::read(body);
        match added.limit {
            _ if added.usage && error.is_about(&["stream_options", "include_usage"]) => {
                Self::UsageRejected
            }
            // A member that is known is said on: without it nobody would be held to the limit.
            Some(limit) if error.is_about(&[limit]) && !error.is_of_value() => Self::LimitRejected,
            _ => otherwise,
        }
    }
}

/// Whether an answer is of a kind that browsers show and no operation of the API answers with: a proxy's page to log in, a
/// portal's front page. Its other answers are JSON, events, sound, pictures, plain text and subtitles (wire facts: Paths).
fn is_page(headers: &HeaderMap) -> bool {
    const PAGES: [&[u8]; 4] = [
        b"text/html",
        b"application/xhtml+xml",
        b"text/xml",
        b"application/xml",
    ];
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return false;
    };
    let kind = kind.as_bytes().trim_ascii_start();
    // JSON, events and sound are told by the letter behind the slash.
    let subtype = match kind.first() {
        Some(b't' | b'T') => kind.get("text/".len()),
        Some(b'a' | b'A') => kind.get("application/".len()),
        _ => None,
    };
    matches!(subtype, Some(b'h' | b'H' | b'x' | b'X'))
        && PAGES.iter().any(|page| {
            kind.get(..page.len())
                .is_some_and(|it| it.eq_ignore_ascii_case(page))
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_status_says_one_thing() {
        let at = |status| {
            Outcome::of_response(
                StatusCode::from_u16(status).unwrap(),
                &HeaderMap::new(),
                SystemTime::UNIX_EPOCH,
            )
        };
        let status_fault = Outcome::fault(Fault::Status);
        for (status, outcome) in [
            (200, Outcome::Served),
            (204, Outcome::Served),
            (301, Outcome::Redirected),
            (304, Outcome::Redirected),
            (307, Outcome::Redirected),
            (400, Outcome::CallerError),
            (401, Outcome::IdentityRejected),
            (403, Outcome::IdentityRejected),
            (404, Outcome::CallerError),
            (407, Outcome::NotTheApi),
            (408, Outcome::fault(Fault::Timeout)),
            (409, Outcome::CallerError),
            (422, Outcome::CallerError),
            (424, status_fault),
            (429, Outcome::Throttled { wait: None }),
            (500, status_fault),
            (503, Outcome::fault(Fault::Unavailable)),
            (599, status_fault),
        ] {
            assert_eq!(at(status), outcome, "{status}");
        }
    }

    #[test]
    fn a_web_page_is_no_answer_of_the_api() {
        let of = |status: u16, kind: &str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
            let status = StatusCode::from_u16(status).unwrap();
            Outcome::of_response(status, &headers, SystemTime::UNIX_EPOCH)
        };
        for kind in [
            "text/html",
            "Text/HTML; charset=utf-8",
            "application/xhtml+xml",
            "text/xml",
            "application/xml",
        ] {
            assert_eq!(of(200, kind), Outcome::NotTheApi, "{kind}");
            assert_eq!(of(400, kind), Outcome::CallerError, "{kind}");
        }
        for kind in [
            "application/json",
            "application/json; charset=utf-8",
            "text/event-stream",
            "text/plain",
            "text/vtt",
            "text/srt",
            "application/x-subrip",
            "audio/mpeg",
            "application/octet-stream",
            "image/png",
            "",
            "text",
        ] {
            assert_eq!(of(200, kind), Outcome::Served, "{kind}");
        }
    }

    #[test]
    fn a_refusal_of_what_the_gateway_added_is_known_by_what_it_names() {
        let added = Added {
            usage: true,
            limit: Some("max_tokens"),
        };
        let of = |body: &str| Outcome::of_added(body.as_bytes(), added, Outcome::CallerError);
        for body in [
            r#"{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error","param":null,"code":null}}"#,
            r#"{"error":{"message":"Unknown.","param":"stream_options.include_usage"}}"#,
            r#"{"detail":[{"loc":["body","stream_options"],"msg":"extra fields not permitted"}]}"#,
            r#"{"error":{"code":"422","message":"Validation failed.","details":[{"loc":["body","stream_options"],"msg":"extra"}]}}"#,
            r#"{"error":{"message":"Validation failed.","param":null,"details":[{"target":"stream_options.include_usage"}]}}"#,
        ] {
            assert_eq!(of(body), Outcome::UsageRejected, "{body}");
        }
        for body in [
            r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","param":"max_tokens","code":"unsupported_parameter"}}"#,
            r#"{"error":{"message":"Unrecognized request argument supplied: max_tokens","param":null}}"#,
            r#"{"error":{"message":"Validation failed.","details":[{"loc":["body","max_tokens"]}]}}"#,
        ] {
            assert_eq!(of(body), Outcome::LimitRejected, "{body}");
        }
        for body in [
            r#"{"error":{"message":"'stream_options' is no role","param":"messages[0].role"}}"#,
            r#"{"error":{"message":"Too long.","param":null}}"#,
            "",
        ] {
            assert_eq!(of(body), Outcome::CallerError, "{body}");
        }
    }

    #[test]
    fn a_body_may_say_more_than_its_head() {
        let with = |status: u16, headers: &HeaderMap, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            Outcome::of_error_body(status, headers, body.as_bytes(), SystemTime::UNIX_EPOCH)
        };
        let none = HeaderMap::new();
        let missing = r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#;
        assert_eq!(with(404, &none, missing), Outcome::NotDeployed);
        let id = r#"{"error":{"code":"404","message":"Resource not found"}}"#;
        assert_eq!(with(404, &none, id), Outcome::NotFound);
        let response =
            r#"{"error":{"code":null,"message":"Response with id 'resp_1' not found."}}"#;
        assert_eq!(with(404, &none, response), Outcome::CallerError);
        assert_eq!(with(404, &none, "<html>"), Outcome::CallerError);
        let seconds = |seconds| Outcome::Throttled {
            wait: Some(Duration::from_secs(seconds)),
        };
        let told = r#"{"error":{"code":429,"message":"Please retry after 3 seconds."}}"#;
        assert_eq!(with(429, &none, told), seconds(3));
        assert_eq!(with(429, &none, "Try again in 4 seconds"), seconds(4));
        assert_eq!(with(429, &none, ""), Outcome::Throttled { wait: None });
        let none_named = HeaderMap::from_iter([(http::header::RETRY_AFTER, "0".parse().unwrap())]);
        assert_eq!(with(429, &none_named, told), seconds(3));
        assert_eq!(with(429, &none_named, ""), seconds(0));
        let head = HeaderMap::from_iter([(http::header::RETRY_AFTER, "1".parse().unwrap())]);
        assert_eq!(with(429, &head, told), seconds(1));
    }

    #[test]
    fn a_limit_whose_value_is_refused_is_not_left_out() {
        let added = Added {
            usage: false,
            limit: Some("max_completion_tokens"),
        };
        let of = |body: &str| Outcome::of_added(body.as_bytes(), added, Outcome::CallerError);
        for body in [
            r#"{"error":{"message":"max_completion_tokens is too large: 100000. This model supports at most 16384 completion tokens.","param":"max_completion_tokens","code":"invalid_value"}}"#,
            r#"{"error":{"message":"Invalid 'max_completion_tokens': integer below minimum value.","param":"max_completion_tokens","code":"integer_below_min_value"}}"#,
            r#"{"error":{"message":"Validation failed.","details":[{"loc":["body","max_completion_tokens"],"msg":"Input should be less than or equal to 4096"}]}}"#,
        ] {
            assert_eq!(of(body), Outcome::CallerError, "{body}");
        }
        for body in [
            r#"{"error":{"message":"Unrecognized request argument supplied: max_completion_tokens","code":null}}"#,
            r#"{"error":{"message":"Validation failed.","details":[{"loc":["body","max_completion_tokens"],"msg":"Extra inputs are not permitted"}]}}"#,
        ] {
            assert_eq!(of(body), Outcome::LimitRejected, "{body}");
        }
    }

    fn with(status: u16, body: &str) -> Outcome {
        let status = StatusCode::from_u16(status).unwrap();
        let none = HeaderMap::new();
        Outcome::of_error_body(status, &none, body.as_bytes(), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_clients_own_tool_that_failed_is_the_clients_matter() {
        let tool = r#"{"error":{"message":"Error retrieving tool list from MCP server: 'x'.","type":"external_connector_error","param":"tools","code":"http_error"}}"#;
        assert_eq!(with(424, tool), Outcome::CallerError);
        let number = r#"{"error":{"message":"…","type":"external_connector_error","code":424}}"#;
        assert_eq!(with(424, number), Outcome::CallerError);
        let other = r#"{"error":{"code":"ModelDependencyFailed","message":"…"}}"#;
        for body in [other, "", "<html>"] {
            assert_eq!(with(424, body), Outcome::fault(Fault::Status), "{body}");
        }
    }

    #[test]
    fn a_400_about_the_gateways_credential_is_not_the_callers() {
        for body in [
            r#"{"error":{"code":"Tenant provided in token does not match resource token","message":"Token tenant 1-2 does not match resource tenant."}}"#,
            r#"{"error":{"code":"BadRequest","message":"Please provide a custom subdomain for token authentication, otherwise API key is required."}}"#,
            r#"{"error":{"code":"400","message":"Token tenant 1-2 does not match resource tenant."}}"#,
        ] {
            assert_eq!(with(400, body), Outcome::IdentityUnfit, "{body}");
        }
        // What a client wrote may be quoted.
        for body in [
            r#"{"error":{"code":null,"message":"'Please provide a custom subdomain for token authentication' is no role."}}"#,
            r#"{"error":{"code":"BadRequest","message":"Token tenant is missing in 'metadata'."}}"#,
        ] {
            assert_eq!(with(400, body), Outcome::CallerError, "{body}");
        }
        let filtered = r#"{"error":{"code":"content_filter","message":"…","status":400}}"#;
        assert_eq!(with(400, filtered), Outcome::Screened);
    }

    #[test]
    fn a_permission_denied_names_one_kind_of_work() {
        let denied = r#"{"error":{"code":"PermissionDenied","message":"The principal `x` lacks the required data action `Microsoft.CognitiveServices/accounts/OpenAI/images/generations/action`"}}"#;
        for status in [401, 403] {
            assert_eq!(with(status, denied), Outcome::OperationRejected);
            let key = r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key"}}"#;
            assert_eq!(with(status, key), Outcome::IdentityRejected);
        }
    }
}
