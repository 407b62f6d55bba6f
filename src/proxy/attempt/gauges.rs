//! What a deployment says of itself in passing (AZURE.md 4).

use http::HeaderName;
use pingora::http::ResponseHeader;

use crate::telemetry::metrics::DeploymentMetrics;

const UTILIZATION: HeaderName = HeaderName::from_static("azure-openai-deployment-utilization");
const REMAINING_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-tokens");
const REMAINING_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const SERVED_BY: HeaderName = HeaderName::from_static("x-ms-deployment-name");
/// What a deployment says of names goes into the log no longer than this, in bytes.
const LONGEST_NAME: usize = 128;

/// How busy it is, and what is left of its limits.
pub(super) fn read(metrics: &DeploymentMetrics, head: &ResponseHeader) {
    if let Some(percent) = text(head, UTILIZATION)
        && let Ok(percent) = percent.trim_end_matches('%').parse::<f64>()
        && percent.is_finite()
    {
        metrics.say_utilization(percent / 100.0);
    }
    let number = |name| text(head, name).and_then(|number| number.parse().ok());
    if let Some(tokens) = number(REMAINING_TOKENS) {
        metrics.say_remaining_tokens(tokens);
    }
    if let Some(requests) = number(REMAINING_REQUESTS) {
        metrics.say_remaining_requests(requests);
    }
}

/// Who served in the deployment's place.
pub(super) fn served_by(head: &ResponseHeader) -> Option<&str> {
    let name = head.headers.get(SERVED_BY)?.to_str().ok()?;
    (name.len() <= LONGEST_NAME).then_some(name)
}

fn text(head: &ResponseHeader, name: HeaderName) -> Option<&str> {
    Some(head.headers.get(name)?.to_str().ok()?.trim())
}
