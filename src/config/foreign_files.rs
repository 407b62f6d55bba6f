//! Recognises files that are not a gateway's config, such as a simulator's.

use super::{
    node::{Content, Node},
    problem::Place,
};

pub(super) const MEND: &str = "this is a config of the simulator (run it with `forebay simulate --config FILE`), not of a gateway; see conf/minimal.yaml for a gateway config";

/// What only a simulation has at its top, and what only a gateway has.
const SIMULATION: [&str; 5] = ["control", "tokens", "issuer", "seed", "record"];
const GATEWAY: [&str; 4] = ["listeners", "models", "clients", "identities"];

/// Where a simulation begins, if it is one.
pub(super) fn simulation(root: &Node) -> Option<Place> {
    let Content::Map(entries) = &root.content else {
        return None;
    };
    let has = |names: &[&str]| {
        entries
            .iter()
            .any(|(key, _)| names.contains(&key.value.as_str()))
    };
    let is_one = !has(&GATEWAY) && (has(&SIMULATION) || entries.iter().any(has_deployments));
    is_one.then_some(Place::START)
}

/// Whether it is `instances:` with deployments in them: of a gateway's a model says that.
fn has_deployments((key, instances): &super::node::Entry) -> bool {
    let Content::Map(instances) = &instances.content else {
        return false;
    };
    let has = |instance: &Node| match &instance.content {
        Content::Map(members) => members.iter().any(|(key, _)| key.value == "deployments"),
        _ => false,
    };
    key.value == "instances" && instances.iter().any(|(_, instance)| has(instance))
}
