//! One simulated resource, as written in YAML.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::Deserialize;

use super::{super::faults::Fault, defaults, deployment::Deployment, tls::Tls};

/// One Azure OpenAI resource, or one plain OpenAI server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    #[serde(default = "defaults::any_port")]
    pub address: SocketAddr,
    pub tls: Option<Tls>,
    /// The `api-key`s it accepts, beside every bearer token of the simulation's own endpoints.
    #[serde(default)]
    pub keys: Vec<String>,
    #[serde(default)]
    pub kind: Kind,
    /// For `kind: openai`: what its paths begin with.
    #[serde(default = "v1")]
    pub base_path: String,
    /// The dated versions of the API that it knows beside Azure's own; `*`: whatever is asked for.
    #[serde(default)]
    pub api_versions: Vec<String>,
    /// The tenant whose tokens it takes; absent: every tenant's.
    pub tenant_id: Option<String>,
    /// The audiences of the tokens it takes; Azure takes both of its own.
    #[serde(default = "audiences")]
    pub audiences: Vec<String>,
    /// Who has which role, by client id (`system` is a machine's own identity); absent: everybody may do everything.
    pub roles: Option<BTreeMap<String, Role>>,
    /// Whether it has a name of its own. One that is reached by its region's name takes no tokens.
    #[serde(default = "defaults::yes")]
    pub custom_subdomain: bool,
    /// How many headers that HTTP doesn't define a request may have; one more is answered with 431.
    #[serde(default = "ten")]
    pub custom_headers: usize,
    /// How its answers tell of Azure's own spillover.
    #[serde(default)]
    pub spillover_headers: SpilloverHeaders,
    /// Display text, sent as `x-ms-region`.
    #[serde(default = "east_us")]
    pub region: String,
    pub deployments: BTreeMap<String, Deployment>,
    /// A fault of every deployment, from the start.
    pub fault: Option<Fault>,
}

/// Whose paths an instance speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    #[default]
    AzureOpenai,
    /// A resource of Foundry's: the model inference paths (`/models/…`) beside those of Azure OpenAI.
    Foundry,
    Openai,
}

/// What an application or identity may do at an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Cognitive Services OpenAI User: the paths of Azure OpenAI.
    OpenaiUser,
    /// Cognitive Services User: those of Foundry's model inference too.
    User,
    /// Reader: to look at the resource, and none of its data.
    Reader,
}

/// The two forms of spillover's headers (wire facts: Spillover).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum SpilloverHeaders {
    /// Since 2026-06: a spilled answer is the other deployment's, good or bad, and names what the first one had.
    #[default]
    #[serde(rename = "since_2026_06")]
    Since202606,
    /// Before: it names the first one only if it is good; else the answer is the first one's own.
    #[serde(rename = "before_2026_06")]
    Before202606,
}

fn v1() -> String {
    "/v1".into()
}

fn ten() -> usize {
    10
}

fn audiences() -> Vec<String> {
    ["cognitiveservices.azure.com", "ai.azure.com"]
        .map(Into::into)
        .into()
}

fn east_us() -> String {
    "East US".into()
}
