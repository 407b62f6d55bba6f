//! The configs of a harness: its simulated instances, and the gateway before them.

use std::fmt::Write as _;

use forebay::simulator::Simulator;

use super::{INSTANCE_KEY, KEY};

pub(super) fn simulation(instances: &[(&str, u32, u32)]) -> String {
    let mut yaml = "control: 127.0.0.1:0\ntokens: { address: 127.0.0.1:0, lifetime: 1h, kept_for: 0 }\nseed: 7\nrecord: full\ninstances:\n".to_owned();
    for (name, _, _) in instances {
        writeln!(
            yaml,
            "  {name}:\n    address: 127.0.0.1:0\n    keys: [{INSTANCE_KEY}]\n    api_versions: [\"*\"]\n    deployments:"
        )
        .unwrap();
        for model in ["gpt-4o", "text-embedding-3-small", "gpt-image-1"] {
            writeln!(
                yaml,
                "      {name}-{model}: {{ model: {model}, version: \"1\" }}"
            )
            .unwrap();
        }
    }
    yaml
}

/// Every other instance is asked with an api-key, the rest with tokens.
pub(super) fn gateway_config(
    simulator: &Simulator,
    instances: &[(&str, u32, u32)],
    more: &str,
) -> String {
    let (tokens, key) = (
        simulator.tokens().unwrap(),
        forebay::config::hash_key(KEY).unwrap().hash,
    );
    let mut yaml = format!(
        "identities:\n  vm: {{ managed_identity: {{ endpoint: \"http://{tokens}\" }} }}\n  legacy: {{ api_key: {INSTANCE_KEY} }}\ninstances:\n"
    );
    for (i, (name, _, _)) in instances.iter().enumerate() {
        let (address, identity) = (simulator.address(name).unwrap(), ["vm", "legacy"][i % 2]);
        writeln!(
            yaml,
            "  {name}: {{ endpoint: \"http://{address}\", identity: {identity} }}"
        )
        .unwrap();
    }
    yaml.push_str("models:\n");
    for model in ["gpt-4o", "text-embedding-3-small", "gpt-image-1"] {
        writeln!(yaml, "  {model}:\n    deployments:").unwrap();
        for (name, priority, weight) in instances {
            let entry = format!(
                "instance: {name}, deployment: {name}-{model}, priority: {priority}, weight: {weight}"
            );
            writeln!(yaml, "      - {{ {entry} }}").unwrap();
        }
    }
    writeln!(
        yaml,
        "clients:\n  tests: {{ keys: [\"{key}\"], models: [\"*\"], operations: [inference, stateful, realtime, data_sources] }}\n{more}"
    )
    .unwrap();
    yaml
}
