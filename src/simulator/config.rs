//! What a simulation is made of: instances, what is deployed on them, how fast they answer, what they allow.
//!
//! Owns the YAML shapes and nothing else; the rooms beside it read these values. Every field that is absent
//! means "no limit" or "no delay", so the smallest useful file names an address, a key and a model.

mod defaults;
mod deployment;
mod duration;
mod instance;
mod tls;
mod tokens;

pub use deployment::Capacity;
pub(super) use deployment::{Deployment, Latency, RequestWindows, Spread};
pub(super) use duration::Pause;
pub use instance::Kind;
pub(super) use instance::{Instance, Role, SpilloverHeaders};
pub(super) use tls::Tls;
pub(super) use tokens::{Application, IssuerSetup, Tokens, UserAssigned};

use std::{collections::BTreeMap, net::SocketAddr};

use serde::Deserialize;

/// A whole simulation, as written in YAML.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where faults are switched and the statistics are read.
    #[serde(default = "defaults::any_port")]
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
                    "instance {name:?}: deployment {odd:?} is not a valid deployment name"
                )));
            }
            let mut spills = instance
                .deployments
                .values()
                .filter_map(|deployment| deployment.spillover.as_ref());
            if let Some(absent) = spills.find(|name| !instance.deployments.contains_key(*name)) {
                return Err(ConfigError(format!(
                    "instance {name:?}: no deployment {absent:?} to spill over to"
                )));
            }
            let mut spills = instance.deployments.iter();
            if let Some((odd, _)) =
                spills.find(|(_, it)| it.spillover.is_some() && !it.is_provisioned())
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

fn one() -> usize {
    1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains("not provisioned"), "{error}");
    }

    #[test]
    fn the_annotated_example_is_right() {
        let config = Config::parse(include_str!("../../conf/simulator.yaml")).unwrap();
        assert_eq!(config.instances.len(), 3);
    }
}
