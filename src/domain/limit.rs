//! The kinds of limits that a client can have, and whom one applies to.

use std::fmt;

use super::name::{ClientName, ModelName};

/// A limit by its name in the config, in metrics and in messages: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    RequestsPerMinute,
    TokensPerMinute,
    TokensPerHour,
    TokensPerDay,
    TokensPerMonth,
    Concurrency,
    MaxOutputTokens,
    N,
    BestOf,
}

impl Limit {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestsPerMinute => "requests_per_minute",
            Self::TokensPerMinute => "tokens_per_minute",
            Self::TokensPerHour => "tokens_per_hour",
            Self::TokensPerDay => "tokens_per_day",
            Self::TokensPerMonth => "tokens_per_month",
            Self::Concurrency => "concurrency",
            Self::MaxOutputTokens => "max_output_tokens",
            Self::N => "n",
            Self::BestOf => "best_of",
        }
    }
}

/// A limit, and whom it binds: what a message names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub limit: Limit,
    pub most: u64,
    pub client: ClientName,
    /// `None`: the client, whatever the model.
    pub model: Option<ModelName>,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            limit,
            most,
            client,
            model,
        } = self;
        write!(f, "{} of {most} for client {client}", limit.as_str())?;
        match model {
            Some(model) => write!(f, " with model {model}"),
            None => Ok(()),
        }
    }
}
