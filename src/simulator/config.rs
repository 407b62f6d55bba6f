//! What a simulation is made of: instances, what is deployed on them, how fast they answer, what they allow.
//!
//! Owns the YAML shapes and nothing else; the rooms beside it read these values. Every field that is absent
//! means "no limit" or "no delay", so the smallest useful file names an address, a key and a model.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, de};

use super::faults::Fault;

/// A whole simulation, as written in YAML.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where faults are switched and the statistics are read.
    #[serde(default = "any_port")]
    pub control: SocketAddr,
    /// The token endpoints; without them no bearer token is ever good.
    pub tokens: Option<Tokens>,
    /// Where clients' tokens are issued, if they are.
    pub issuer: Option<IssuerSetup>,
    /// All chance comes from here: the same seed and the same calls in the same order give the same answers.
    #[serde(default)]
    pub seed: u64,
    /// Threads of `forebay simulate`; inside another runtime this says nothing.
    #[serde(default = "one")]
    pub threads: usize,
    #[serde(default)]
    pub record: Record,
    pub instances: BTreeMap<String, Instance>,
}

/// How much is remembered of each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Headers and the body's hash, for tests.
    #[default]
    Full,
    /// Only the statistics, for benchmarks.
    Counts,
}

/// The token endpoints, shaped like IMDS, App Service and Entra, on one address.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    #[serde(default = "any_port")]
    pub address: SocketAddr,
    pub tls: Option<Tls>,
    /// How long a token is good for.
    #[serde(default = "one_hour", deserialize_with = "duration")]
    pub lifetime: Duration,
    /// For which part of its life a machine's own endpoint hands out the same token again, from 0 to 1. Azure's live a day
    /// and are kept for hours.
    #[serde(default = "half")]
    pub kept_for: f64,
    /// The tenant of the machine's identities.
    #[serde(default = "own_tenant")]
    pub tenant_id: String,
    /// Given, App Service's endpoint is there too, at `/msi/token`: it wants this in `X-IDENTITY-HEADER`.
    pub identity_header: Option<String>,
    /// The user-assigned identities that this machine has; absent: all there are.
    pub user_assigned: Option<Vec<UserAssigned>>,
    /// Who is registered at Entra; absent: everybody, with any secret but `wrong`.
    pub applications: Option<Vec<Application>>,
}

/// A user-assigned identity: by its client id alone, or by the other names too that it can be asked for with.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum UserAssigned {
    ClientId(String),
    Named(Names),
}

/// What a user-assigned identity is called.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    pub client_id: String,
    /// Of its service principal.
    pub object_id: Option<String>,
    /// Of its Azure resource: `/subscriptions/…`.
    pub resource_id: Option<String>,
}

/// An app registration, and how it proves itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    pub tenant_id: String,
    pub client_id: String,
    pub secret: Option<String>,
    /// PEM: the certificate it signs its assertions with. Read for each of them.
    pub certificate: Option<PathBuf>,
    /// The token of another issuer that is good now. Read for each request.
    pub federated_token: Option<PathBuf>,
}

/// An issuer of tokens for clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSetup {
    #[serde(default = "any_port")]
    pub address: SocketAddr,
    pub tls: Option<Tls>,
}

/// A certificate chain and its private key, both PEM files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// One Azure OpenAI resource, or one plain OpenAI server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    #[serde(default = "any_port")]
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
    #[serde(default = "yes")]
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

/// The two forms of spillover's headers (AZURE 8).
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
    #[serde(default = "half")]
    pub tells_reset: f64,
    /// A fault from the start.
    pub fault: Option<Fault>,
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
        #[serde(default = "yes")]
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

/// A duration in YAML: `20ms`, `1s`, or a bare `0`.
#[derive(Clone, Copy, Debug)]
pub struct Pause(pub Duration);

impl<'de> Deserialize<'de> for Pause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        duration(deserializer).map(Self)
    }
}

/// Why a config can't be used; says where.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Config {
    /// Reads a config; an error names the line and the column.
    pub fn parse(yaml: &str) -> Result<Self, ConfigError> {
        let config: Self =
            serde_yaml::from_str(yaml).map_err(|error| ConfigError(placed(&error)))?;
        config.checked()
    }

    fn checked(self) -> Result<Self, ConfigError> {
        for (name, instance) in &self.instances {
            for (text, what) in [(name.as_str(), "name"), (&instance.region, "region")] {
                if text.is_empty() || !text.bytes().all(|b| (32..127).contains(&b)) {
                    return Err(ConfigError(format!(
                        "instance {name:?}: its {what} must be plain text"
                    )));
                }
            }
            if let Some(odd) = instance
                .deployments
                .keys()
                .find(|d| d.is_empty() || d.bytes().any(|b| !(33..127).contains(&b)))
            {
                return Err(ConfigError(format!(
                    "instance {name:?}: deployment {odd:?} is no deployment name"
                )));
            }
            let spills = instance.deployments.values();
            let mut spills = spills.filter_map(|deployment| deployment.spillover.as_ref());
            if let Some(absent) = spills.find(|name| !instance.deployments.contains_key(*name)) {
                return Err(ConfigError(format!(
                    "instance {name:?}: no deployment {absent:?} to spill over to"
                )));
            }
            let mut spills = instance.deployments.iter();
            let is_ptu = |capacity| matches!(capacity, Capacity::Ptu { .. });
            if let Some((odd, _)) =
                spills.find(|(_, it)| it.spillover.is_some() && !is_ptu(it.capacity))
            {
                return Err(ConfigError(format!(
                    "instance {name:?}: deployment {odd:?} is not provisioned, and only those spill over"
                )));
            }
        }
        Ok(self)
    }
}

fn placed(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    match error.location() {
        Some(place) if !text.contains("line ") => {
            format!("line {} column {}: {text}", place.line(), place.column())
        }
        _ => text,
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Read;
    impl de::Visitor<'_> for Read {
        type Value = Duration;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a duration such as 20ms, 1s or 0")
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Duration, E> {
            if number == 0 {
                Ok(Duration::ZERO)
            } else {
                Err(E::custom(format!(
                    "{number} of what? Say {number}ms or {number}s"
                )))
            }
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Duration, E> {
            self.visit_u64(number.unsigned_abs())
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            if text == "0" {
                return Ok(Duration::ZERO);
            }
            humantime::parse_duration(text).map_err(|error| {
                E::custom(format!(
                    "{text:?} is no duration such as 20ms or 1s: {error}"
                ))
            })
        }
    }
    deserializer.deserialize_any(Read)
}

fn yes() -> bool {
    true
}

fn half() -> f64 {
    0.5
}

fn ten() -> usize {
    10
}

fn own_tenant() -> String {
    "simulator".into()
}

fn audiences() -> Vec<String> {
    ["cognitiveservices.azure.com", "ai.azure.com"]
        .map(Into::into)
        .into()
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn one() -> usize {
    1
}

fn one_hour() -> Duration {
    Duration::from_secs(3600)
}

fn v1() -> String {
    "/v1".into()
}

fn east_us() -> String {
    "East US".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_config_names_an_instance_a_key_and_a_model() {
        let config = Config::parse(
            "instances: { east: { keys: [k], deployments: { d: { model: gpt-4o } } } }",
        )
        .unwrap();
        assert_eq!(
            config.instances["east"].deployments["d"].capacity,
            Capacity::Unlimited
        );
        assert_eq!(config.instances["east"].address.port(), 0);
    }

    #[test]
    fn capacity_and_latency_are_read_as_written() {
        let config = Config::parse(
            "instances:\n  e:\n    deployments:\n      d:\n        model: m\n        capacity: { ptu: { tokens_per_minute: 30000 } }\n        latency: { first_token: { median: 300ms, p99: 1s }, between_tokens: { median: 0 } }\n",
        )
        .unwrap();
        let deployment = &config.instances["e"].deployments["d"];
        assert_eq!(
            deployment.capacity,
            Capacity::Ptu {
                tokens_per_minute: 30000,
                tells_utilization: false,
            }
        );
        let first = deployment.latency.first_token.unwrap();
        assert_eq!(first.p99.unwrap().0, Duration::from_secs(1));
        assert_eq!(
            deployment.latency.between_tokens.unwrap().median.0,
            Duration::ZERO
        );
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_column() {
        let error = Config::parse("seed: 1\ninstances:\n  e:\n    adress: 127.0.0.1:1\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("adress") && error.contains("line 4"),
            "{error}"
        );
    }

    #[test]
    fn a_spillover_goes_to_a_deployment_of_the_same_instance() {
        let error = Config::parse(
            "instances: { e: { deployments: { d: { model: m, spillover: elsewhere } } } }",
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains("\"elsewhere\""), "{error}");
        let error = Config::parse(
            "instances: { e: { deployments: { d: { model: m, spillover: f }, f: { model: m } } } }",
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains("not provisioned"), "{error}");
    }

    #[test]
    fn the_annotated_example_is_right() {
        let config = Config::parse(include_str!("../../conf/simulator.yaml")).unwrap();
        assert_eq!(config.instances.len(), 3);
    }
}
