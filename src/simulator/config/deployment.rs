//! A model deployed on an instance, as written in YAML: what it allows and how fast it answers.

use serde::Deserialize;

use super::{super::faults::Fault, defaults, duration::Pause};

/// A model deployed on an instance.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    pub model: String,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub capacity: Capacity,
    #[serde(default)]
    pub latency: Latency,
    /// How many tokens an answer has, the request's own maximum permitting. Absent: a short echo.
    pub output_tokens: Option<Spread<f64>>,
    /// What its usage has beside prompt, cached and completion tokens.
    #[serde(default)]
    pub usage: Usage,
    /// Prompts longer than this many tokens are refused with `context_length_exceeded`.
    pub context_length: Option<u64>,
    /// The deployment of the same instance that serves what this one can't (Azure's own spillover).
    ///
    /// Only a provisioned one spills over.
    pub spillover: Option<String>,
    /// How often a standard deployment's answers say when its limits reset, from 0 to 1: Azure's don't always.
    #[serde(default = "defaults::half")]
    pub tells_reset: f64,
    /// A fault from the start.
    pub fault: Option<Fault>,
}

impl Deployment {
    /// Only these spill over.
    pub(crate) fn is_provisioned(&self) -> bool {
        matches!(self.capacity, Capacity::Ptu { .. })
    }
}

/// What a deployment's usage has of the rarer kinds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Usage {
    /// How many tokens it thinks before it answers; absent: as its model does.
    pub reasoning: Option<u64>,
    /// How many of a prompt's tokens are audio, if it has as many.
    pub audio_input: u64,
    /// How many tokens it speaks beside what it writes.
    pub audio_output: u64,
    /// As its answers name their `service_tier`; absent: chats name none.
    pub tier: Option<String>,
}

/// What a deployment allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Capacity {
    #[default]
    Unlimited,
    /// Pay as you go: two counters.
    Standard {
        tokens_per_minute: u64,
        requests_per_minute: u64,
        #[serde(default)]
        request_windows: RequestWindows,
        /// Whether a request that is refused counts as one of them.
        #[serde(default = "defaults::yes")]
        counts_refused: bool,
    },
    /// Provisioned throughput: a leaky bucket.
    Ptu {
        tokens_per_minute: u64,
        /// Whether its answers say how full it is, as those of older offers do.
        #[serde(default)]
        tells_utilization: bool,
    },
}

/// Over what time requests per minute are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestWindows {
    /// One second and ten seconds: the requests of a minute have to be spread over it.
    #[default]
    Both,
    OneSecond,
    TenSeconds,
}

/// How long answers take.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    #[serde(default)]
    pub first_token: Option<Spread<Pause>>,
    #[serde(default)]
    pub between_tokens: Option<Spread<Pause>>,
}

/// A log-normal distribution by its median and its 99th percentile.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread<T> {
    pub median: T,
    /// The median itself, if absent: then nothing varies.
    pub p99: Option<T>,
}
