//! The values of a `limits:`.

use std::collections::BTreeMap;

use super::calendar::Period;
use crate::domain::{limit::Limit, name::ModelName};

/// The limits of a client, or of a client with one model. What is `None` is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub requests_per_minute: Option<u64>,
    pub tokens_per_minute: Option<u64>,
    pub tokens_per_hour: Option<u64>,
    pub tokens_per_day: Option<u64>,
    pub tokens_per_month: Option<u64>,
    /// Requests at the same time.
    pub concurrency: Option<u64>,
    pub max_output_tokens: Option<u64>,
    pub over_max_output_tokens: OverMaxOutput,
    pub n: Option<u64>,
    pub best_of: Option<u64>,
}

/// What becomes of a request that asks for more output than its client may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverMaxOutput {
    /// It asks for as much as it may have.
    #[default]
    Clamp,
    Refuse,
}

/// The limits of one client: its own, and those with single models. Both hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientLimits {
    pub own: Limits,
    pub models: BTreeMap<ModelName, Limits>,
}

impl Limits {
    pub fn of_period(&self, period: Period) -> Option<u64> {
        match period {
            Period::Hour => self.tokens_per_hour,
            Period::Day => self.tokens_per_day,
            Period::Month => self.tokens_per_month,
        }
    }

    /// Whether tokens are limited, over whatever time.
    pub fn counts_tokens(&self) -> bool {
        self.tokens_per_minute.is_some() || self.has_periods()
    }

    /// Whether something is counted that a restart should not forget.
    pub fn has_periods(&self) -> bool {
        Period::ALL
            .into_iter()
            .any(|period| self.of_period(period).is_some())
    }

    /// Whether a request's body has to be read for them.
    pub fn need_body(&self) -> bool {
        let in_body = [self.max_output_tokens, self.n, self.best_of];
        self.counts_tokens() || in_body.iter().any(Option::is_some)
    }

    /// Each that is set, by its name.
    pub fn all(&self) -> Vec<(Limit, u64)> {
        let all = [
            (Limit::RequestsPerMinute, self.requests_per_minute),
            (Limit::TokensPerMinute, self.tokens_per_minute),
            (Limit::TokensPerHour, self.tokens_per_hour),
            (Limit::TokensPerDay, self.tokens_per_day),
            (Limit::TokensPerMonth, self.tokens_per_month),
            (Limit::Concurrency, self.concurrency),
            (Limit::MaxOutputTokens, self.max_output_tokens),
            (Limit::N, self.n),
            (Limit::BestOf, self.best_of),
        ];
        let set = |(limit, most): (Limit, Option<u64>)| Some((limit, most?));
        all.into_iter().filter_map(set).collect()
    }
}

impl ClientLimits {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn has_periods(&self) -> bool {
        self.own.has_periods() || self.models.values().any(Limits::has_periods)
    }

    /// Whether a request's body has to be read for them, whichever model it names.
    pub fn need_body(&self) -> bool {
        self.own.need_body() || self.models.values().any(Limits::need_body)
    }
}
