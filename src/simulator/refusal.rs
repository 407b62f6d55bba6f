//! Every no a simulated instance says, in Azure's own words (wire facts: Error bodies).

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::{
    faults::Wording,
    limits::{Limit, Throttled},
    route::{Address, Route},
};

/// An error answer: status, body, and the headers that belong to this error only.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Another deployment could serve what is too long for this one.
    pub(crate) is_too_long: bool,
}

/// What was called, as Azure's messages name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Called<'a> {
    pub(crate) operation: &'a str,
    pub(crate) api_version: &'a str,
    pub(crate) deployment: &'a str,
}

impl<'a> Called<'a> {
    pub(crate) fn new(address: Option<&'a Address>, deployment: &'a str) -> Self {
        let (operation, api_version) = match address {
            Some(Address {
                route: Route::Call { operation, .. },
                api_version,
                ..
            }) => (operation.azure_name(), api_version.as_str()),
            _ => ("Models_List", "v1"),
        };
        Self {
            operation,
            api_version,
            deployment,
        }
    }
}

impl Refusal {
    fn new(status: StatusCode, error: Value) -> Self {
        Self {
            status,
            body: json!({ "error": error }).to_string(),
            headers: Vec::new(),
            is_too_long: false,
        }
    }

    fn coded(status: StatusCode, code: &str, message: &str) -> Self {
        Self::new(status, json!({ "code": code, "message": message }))
    }

    /// A 400 of the model's own checks.
    pub(crate) fn invalid(message: &str, param: Option<&str>, code: Option<&str>) -> Self {
        let error = json!({ "message": message, "type": "invalid_request_error", "param": param, "code": code });
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// As an API says it that is older than the argument.
    pub(crate) fn unknown_argument(name: &str) -> Self {
        let message = format!("Unrecognized request argument supplied: {name}");
        Self::invalid(&message, None, None)
    }

    pub(crate) fn missing(param: &str) -> Self {
        Self::invalid(
            &format!("Missing required parameter: '{param}'."),
            Some(param),
            Some("missing_required_parameter"),
        )
    }

    pub(crate) fn not_json() -> Self {
        let message = "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)";
        Self::invalid(message, None, None)
    }

    pub(crate) fn context_length(limit: u64, prompt: u64) -> Self {
        let message = format!(
            "This model's maximum context length is {limit} tokens. However, your messages resulted in {prompt} tokens. Please reduce the length of the messages."
        );
        let code = Some("context_length_exceeded");
        Self {
            is_too_long: true,
            ..Self::invalid(&message, Some("messages"), code)
        }
    }

    pub(crate) fn content_filter() -> Self {
        let safe = json!({ "filtered": false, "severity": "safe" });
        let error = json!({
            "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry. To learn more about our content filtering policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766",
            "type": null, "param": "prompt", "code": "content_filter", "status": 400,
            "innererror": {
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": {
                    "hate": safe, "self_harm": safe, "sexual": safe,
                    "jailbreak": { "filtered": false, "detected": false },
                    "violence": { "filtered": true, "severity": "high" },
                },
            },
        });
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// No key, or a wrong one.
    pub(crate) fn bad_key() -> Self {
        let message = "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.";
        Self::coded(StatusCode::UNAUTHORIZED, "401", message)
    }

    /// A bearer token that is unknown, expired, revoked, or for another audience than this.
    pub(crate) fn bad_token(audience: &str) -> Self {
        let message = format!(
            "Unauthorized. Access token is missing, invalid, audience is incorrect (https://{audience}), or have expired."
        );
        Self::coded(StatusCode::UNAUTHORIZED, "401", &message)
    }

    /// A bearer token at a resource that has no name of its own.
    pub(crate) fn no_custom_subdomain() -> Self {
        let message = "Please provide a custom subdomain for token authentication, otherwise API key is required.";
        Self::coded(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// A good token of a tenant that isn't the resource's.
    pub(crate) fn other_tenant(tenant: &str) -> Self {
        let code = "Tenant provided in token does not match resource token";
        let message = format!("Token tenant {tenant} does not match resource tenant.");
        Self::coded(StatusCode::BAD_REQUEST, code, &message)
    }

    /// A good token of somebody without a role for this.
    pub(crate) fn no_role(client: &str, action: &str) -> Self {
        let message = format!(
            "The principal `{client}` lacks the required data action `Microsoft.CognitiveServices/accounts/{action}` to perform `POST` operation."
        );
        Self::coded(StatusCode::UNAUTHORIZED, "PermissionDenied", &message)
    }

    pub(crate) fn too_many_headers() -> Self {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let message = "The request has too many custom headers.";
        Self::coded(status, "431", message)
    }

    /// A version that v1 doesn't have.
    pub(crate) fn no_version() -> Self {
        let message = "API version not supported";
        Self::coded(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn no_deployment() -> Self {
        let message = "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.";
        Self::coded(StatusCode::NOT_FOUND, "DeploymentNotFound", message)
    }

    pub(crate) fn no_resource() -> Self {
        Self::coded(StatusCode::NOT_FOUND, "404", "Resource not found")
    }

    pub(crate) fn too_large() -> Self {
        Self::coded(
            StatusCode::PAYLOAD_TOO_LARGE,
            "413",
            "The request body is larger than this resource accepts.",
        )
    }

    /// A 429 with both retry headers, as a deployment's own limit gives it.
    pub(crate) fn throttled(no: &Throttled, called: &Called<'_>) -> Self {
        let limit = match no.limit {
            Limit::Tokens => "token",
            Limit::Calls => "call",
        };
        Self::too_many(limit, no.wait, called)
    }

    pub(crate) fn too_many(limit: &str, wait: Duration, called: &Called<'_>) -> Self {
        let Called {
            operation,
            api_version,
            ..
        } = called;
        let seconds = whole_seconds(wait);
        let message = format!(
            "Requests to the {operation} Operation under Azure OpenAI API version {api_version} have exceeded {limit} rate limit of your current OpenAI S0 pricing tier. Please retry after {seconds} seconds. Please go here: https://aka.ms/oai/quotaincrease if you would like to further increase the default rate limit. For Free Account customers, upgrade to Pay as you Go here: https://aka.ms/429TrialUpgrade."
        );
        let mut refusal = Self::coded(StatusCode::TOO_MANY_REQUESTS, "429", &message);
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        refusal.headers.push((
            HeaderName::from_static("retry-after-ms"),
            HeaderValue::from(millis),
        ));
        refusal
            .headers
            .push((http::header::RETRY_AFTER, HeaderValue::from(seconds)));
        refusal
    }

    /// A 429 that has no header of a wait, in one of the wordings that Azure uses.
    pub(crate) fn in_words(wording: Wording, seconds: u64, called: &Called<'_>) -> Self {
        let Called {
            operation,
            api_version,
            deployment,
        } = called;
        let (code, message) = match wording {
            Wording::RetryAfter => (
                "429",
                format!(
                    "Requests to the {operation} Operation under Azure OpenAI API version {api_version} have exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after {seconds} seconds. Please go here: https://aka.ms/oai/quotaincrease if you would like to further increase the default rate limit."
                ),
            ),
            Wording::TryAgain => (
                "429",
                format!("Rate limit is exceeded. Try again in {seconds} seconds."),
            ),
            Wording::YourRequests => (
                "RateLimitReached",
                format!(
                    "Your requests to {deployment} for {deployment} in East US 2 have exceeded the token rate limit for your current AIServices S0 pricing tier. This request was for {operation} under Azure OpenAI API version {api_version}. Please retry after {seconds} seconds. To increase your default rate limit, visit: https://aka.ms/oai/quotaincrease."
                ),
            ),
            Wording::PleaseWait => (
                "RateLimitReached",
                format!(
                    "Rate limit of 8000 per 60s exceeded for UserByModelByMinuteUncachedInputTokens. Please wait {seconds} seconds before retrying."
                ),
            ),
            Wording::HighDemand => return Self::high_demand(),
        };
        let mut error = json!({ "code": code, "message": message });
        if wording == Wording::PleaseWait {
            error["details"] = json!(message);
        }
        Self::new(StatusCode::TOO_MANY_REQUESTS, error)
    }

    fn high_demand() -> Self {
        let message = "The system is currently experiencing high demand and cannot process your request. Your request exceeds the maximum usage size allowed during peak load. For improved capacity reliability, consider switching to Provisioned Throughput.";
        let error = json!({ "message": message, "type": "too_many_requests", "param": null, "code": "no_capacity" });
        Self::new(StatusCode::TOO_MANY_REQUESTS, error)
    }

    /// The usual body of a status, for faults that give none.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            400 => Self::invalid("The request is invalid.", None, None),
            401 => Self::bad_key(),
            403 => Self::coded(
                status,
                "403",
                "Access denied due to Virtual Network/Firewall rules.",
            ),
            404 => Self::no_resource(),
            408 => Self::coded(status, "Timeout", "The operation was timeout."),
            429 => Self::coded(status, "429", "Rate limit is exceeded. Try again later."),
            500 => Self::coded(
                status,
                "InternalServerError",
                "The server had an error while processing your request. Sorry about that!",
            ),
            503 => Self::coded(
                status,
                "ServiceUnavailable",
                "The service is temporarily unable to process your request. Please try again later.",
            ),
            other => Self::coded(
                status,
                &other.to_string(),
                status.canonical_reason().unwrap_or("Error"),
            ),
        }
    }
}

/// Rounded up, and never 0: clients take a zero for no header at all (wire facts: What clients retry).
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLED: Called<'_> = Called {
        operation: "ChatCompletions_Create",
        api_version: "2024-10-21",
        deployment: "gpt-4o",
    };

    #[test]
    fn a_429_says_its_wait_three_times_over() {
        let refusal = Refusal::too_many("token", Duration::from_millis(5_400), &CALLED);
        let header = |name: &str| {
            refusal
                .headers
                .iter()
                .find(|(n, _)| n == name)
                .unwrap()
                .1
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(
            (header("retry-after-ms"), header("retry-after")),
            ("5400".into(), "6".into())
        );
        assert!(
            refusal.body.contains("exceeded token rate limit")
                && refusal.body.contains("retry after 6 seconds")
        );
    }

    #[test]
    fn a_429_can_keep_its_wait_to_its_message_or_have_none() {
        for (wording, says) in [
            (Wording::RetryAfter, "retry after 9 seconds"),
            (Wording::TryAgain, "Try again in 9 seconds"),
            (Wording::YourRequests, "retry after 9 seconds"),
            (Wording::PleaseWait, "Please wait 9 seconds"),
            (Wording::HighDemand, "high demand"),
        ] {
            let refusal = Refusal::in_words(wording, 9, &CALLED);
            assert!(refusal.headers.is_empty() && refusal.status == 429);
            assert!(refusal.body.contains(says), "{}", refusal.body);
            let seconds = refusal.body.contains("9 seconds");
            assert_eq!(seconds, wording != Wording::HighDemand);
        }
    }

    #[test]
    fn a_wait_is_never_zero_seconds() {
        assert_eq!(whole_seconds(Duration::ZERO), 1);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
    }
}
