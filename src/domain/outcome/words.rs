//! The words that Azure and OpenAI have for what went wrong: codes, types and statuses, in bodies and in events (wire facts: Error bodies,
//! Streams). Each is compared in lower case.

use std::time::SystemTime;

use http::{HeaderMap, StatusCode};

use super::{Fault, Outcome};

/// What a request's own images, files and tools can do to it: the codes of a failed response, and of the events of its
/// stream, but for those of the service's own state (openai-python, `ResponseError.code`).
const CALLERS: [&str; 19] = [
    "invalid_prompt",
    "vector_store_timeout",
    "invalid_image",
    "invalid_image_format",
    "invalid_base64_image",
    "invalid_image_url",
    "image_too_large",
    "image_too_small",
    "image_parse_error",
    "image_content_policy_violation",
    "invalid_image_mode",
    "image_file_too_large",
    "unsupported_image_media_type",
    "empty_image_file",
    "failed_to_download_image",
    "image_file_not_found",
    "previous_response_not_found",
    "invalid_encrypted_content",
    "bio_policy",
];
/// Who runs the tool that failed is the client.
const CALLERS_TOOL: [&str; 2] = ["external_connector_error", "tool_user_error"];
/// The prompt was read, and the model's limits or a filter said no.
const SCREENED: [&str; 4] = [
    "content_filter",
    "content_policy_violation",
    "responsibleaipolicyviolation",
    "context_length_exceeded",
];

/// What several words say together, the lightest of them counting; `None`: none of them is known.
pub(in crate::domain) fn lightest(words: &[String], now: SystemTime) -> Option<Outcome> {
    let known = words.iter().filter_map(|word| of_word(word, now));
    known.min_by_key(weight)
}

/// Whether an error is about the gateway's credential, although its status is 400. What a client wrote may be quoted in a
/// message, but does not begin it.
pub(in crate::domain) fn says_set_up(code: &str, message: &str) -> bool {
    code.eq_ignore_ascii_case("Tenant provided in token does not match resource token")
        || message.starts_with("Please provide a custom subdomain for token authentication")
        || message.starts_with("Token tenant ")
            && message.contains(" does not match resource tenant")
}

pub(super) fn is_callers_tool(word: &str) -> bool {
    CALLERS_TOOL
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known))
}

pub(super) fn is_screened(code: &str) -> bool {
    SCREENED
        .iter()
        .any(|known| code.eq_ignore_ascii_case(known))
}

/// What a code, a type or a status says by itself, if it is one that Azure or OpenAI use.
fn of_word(word: &str, now: SystemTime) -> Option<Outcome> {
    let status = word.parse::<StatusCode>().ok();
    if let Some(status) = status.filter(|it| it.as_u16() >= 400) {
        return Some(Outcome::of_response(status, &HeaderMap::new(), now));
    }
    let outcome = match word {
        "too_many_requests"
        | "no_capacity"
        | "rate_limit_exceeded"
        | "ratelimitreached"
        | "rate_limit_error"
        | "insufficient_quota" => Outcome::Throttled { wait: None },
        "permissiondenied" => Outcome::OperationRejected,
        "forbidden"
        | "unauthorized"
        | "accessdenied"
        | "authentication_error"
        | "permission_error" => Outcome::IdentityRejected,
        "deploymentnotfound" | "model_not_found" => Outcome::NotDeployed,
        "user_error"
        | "invalid_request_error"
        | "bad_request"
        | "badrequest"
        | "operationnotsupported" => Outcome::CallerError,
        word if CALLERS.contains(&word) || is_callers_tool(word) => Outcome::CallerError,
        word if is_screened(word) => Outcome::Screened,
        "server_error" | "internalservererror" => Outcome::fault(Fault::Status),
        "timeout" => Outcome::fault(Fault::Timeout),
        "serviceunavailable" | "service_unavailable" => Outcome::fault(Fault::Unavailable),
        _ => return None,
    };
    Some(outcome)
}

/// Which of several words counts: the lightest.
fn weight(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Throttled { .. } => 0,
        Outcome::OperationRejected => 1,
        Outcome::IdentityRejected => 2,
        Outcome::NotDeployed => 3,
        Outcome::Screened => 4,
        Outcome::CallerError => 5,
        _ => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Option<Outcome> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        lightest(&words, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn what_a_request_brought_along_is_its_own_whatever_type_is_beside_it() {
        for code in CALLERS {
            assert_eq!(
                of(&[code, "server_error"]),
                Some(Outcome::CallerError),
                "{code}"
            );
        }
        let tool = of(&["http_error", "external_connector_error"]);
        assert_eq!(tool, Some(Outcome::CallerError));
    }

    #[test]
    fn what_is_unknown_goes_by_what_is_known_beside_it() {
        assert_eq!(
            of(&["brand_new", "invalid_request_error"]),
            Some(Outcome::CallerError)
        );
        assert_eq!(
            of(&["brand_new", "server_error"]),
            Some(Outcome::fault(Fault::Status))
        );
        assert_eq!(of(&["brand_new", ""]), None);
    }
}
