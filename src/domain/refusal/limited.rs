//! The refusals that a client's own limits lead to. Each names the limit, and whose it is.

use std::time::Duration;

use http::StatusCode;

use crate::domain::limit::{Bound, Limit};

/// How a client is at a limit of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limited {
    /// It may come back after a moment.
    ForNow { bound: Bound, wait: Duration },
    /// A period's tokens are spent.
    Until {
        bound: Bound,
        /// When the next period begins, for people.
        renews: String,
    },
    /// The request alone is larger than the limit.
    Never {
        bound: Bound,
        /// What it would reserve.
        tokens: u64,
    },
    /// It asks for more than one request may.
    TooMuch { field: &'static str, bound: Bound },
    /// What it asks for can't be read here, and might be read elsewhere.
    Unreadable { field: &'static str },
}

impl Limited {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::ForNow { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Until { .. } => StatusCode::FORBIDDEN,
            // No wait helps, and some clients try a 429 again for a quarter of an hour, whatever else it says.
            Self::Never { .. } | Self::TooMuch { .. } | Self::Unreadable { .. } => {
                StatusCode::BAD_REQUEST
            }
        }
    }

    /// In the body, in metrics and in logs: it names the limit.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::ForNow { bound, .. }
            | Self::Until { bound, .. }
            | Self::TooMuch { bound, .. } => match bound.limit {
                Limit::RequestsPerMinute => "requests_per_minute_exceeded",
                Limit::TokensPerMinute => "tokens_per_minute_exceeded",
                Limit::TokensPerHour => "tokens_per_hour_exceeded",
                Limit::TokensPerDay => "tokens_per_day_exceeded",
                Limit::TokensPerMonth => "tokens_per_month_exceeded",
                Limit::Concurrency => "concurrency_exceeded",
                Limit::MaxOutputTokens => "max_output_tokens_exceeded",
                Limit::N => "n_exceeded",
                Limit::BestOf => "best_of_exceeded",
            },
            Self::Never { .. } => "request_larger_than_limit",
            Self::Unreadable { .. } => "unreadable_limit",
        }
    }

    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::ForNow { wait, .. } => Some(*wait),
            _ => None,
        }
    }

    pub(super) fn message(&self, seconds: u64) -> String {
        match self {
            Self::ForNow { bound, .. } => {
                format!(
                    "This request exceeds the limit {bound}. Please retry after {seconds} seconds."
                )
            }
            Self::Until { bound, renews } => {
                format!("This request exceeds the limit {bound}. The limit renews at {renews}.")
            }
            Self::Never { bound, tokens } => format!(
                "This request counts as {tokens} tokens, its prompt and its maximum output together, and always exceeds the limit \
                 {bound}. Send a shorter prompt or ask for less output."
            ),
            Self::TooMuch { field, bound } => {
                format!("`{field}` is more than the limit {bound} allows. Ask for less.")
            }
            Self::Unreadable { field } => {
                format!(
                    "`{field}` must be a whole number, written with digits alone and only once."
                )
            }
        }
    }
}
