//! In which words a 429 tells its wait.

use serde::{Deserialize, Serialize};

/// How the message of a 429 tells its wait (wire facts: Error bodies).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wording {
    /// "Requests to the … Operation … Please retry after 7 seconds."
    RetryAfter,
    /// "Rate limit is exceeded. Try again in 7 seconds."
    #[default]
    TryAgain,
    /// "Your requests to … have exceeded … Please retry after 7 seconds."
    YourRequests,
    /// "Rate limit of 8000 per 60s exceeded … Please wait 7 seconds …": the first seconds are not the wait.
    PleaseWait,
    /// "… experiencing high demand …": no wait at all.
    HighDemand,
}
