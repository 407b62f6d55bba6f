//! What answers used, by three accounts that must agree: the simulator's own books, the metrics, and the access log.

mod exact;
mod include_usage;
mod odd_usage;
mod partial;
mod totals;

use std::{collections::BTreeMap, fmt::Write as _, ops::AddAssign};

use forebay::simulator::{self, Config, Spent};
use serde_json::Value;

use crate::{
    harness::{Gateway, Harness, INSTANCE_KEY, KEY, client, eventually_async},
    metrics_page::{label, samples},
};

/// Tokens by type, as metrics and logs name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens([u64; 6]);

const TYPES: [&str; 6] = [
    "input",
    "cached",
    "audio_input",
    "output",
    "reasoning",
    "audio_output",
];

impl Tokens {
    /// Of a log line's `usage`; none where it has none.
    fn of_line(line: &Value) -> Self {
        Self(TYPES.map(|kind| line["usage"][kind].as_u64().unwrap_or(0)))
    }

    fn from_stats(spent: &Spent) -> Self {
        Self([
            spent.prompt_tokens,
            spent.cached_tokens,
            spent.audio_prompt_tokens,
            spent.completion_tokens,
            spent.reasoning_tokens,
            spent.audio_completion_tokens,
        ])
    }

    fn input(&self) -> u64 {
        self.0[0]
    }

    fn output(&self) -> u64 {
        self.0[3]
    }
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, more: Self) {
        for (sum, more) in self.0.iter_mut().zip(more.0) {
            *sum += more;
        }
    }
}

/// What `/metrics` counts by client and deployment.
fn counted(page: &str) -> BTreeMap<(String, String), Tokens> {
    let mut counted: BTreeMap<_, Tokens> = BTreeMap::new();
    for (labels, number) in samples(page, "forebay_tokens_total{") {
        let at = (label(labels, "client"), label(labels, "deployment"));
        let kind = label(labels, "type");
        let kind = TYPES.iter().position(|known| *known == kind).unwrap();
        counted.entry(at).or_default().0[kind] += number;
    }
    counted
}

/// How many answers of any deployment were estimated for this reason.
fn estimated(page: &str, reason: &str) -> u64 {
    let samples = samples(page, "forebay_usage_estimated_total{");
    let of_it = samples.filter(|(labels, _)| label(labels, "reason") == reason);
    of_it.map(|(_, number)| number).sum()
}

/// A gateway before simulated deployments of one instance, `only`, each of a model of its own name. `deployments`: name
/// and the rest of its entry in the simulator's config.
async fn harness(deployments: &[(&str, &str)], instance: &str, more: &str) -> Harness {
    let mut simulation = format!(
        "seed: 7\ninstances:\n  only:\n    keys: [{INSTANCE_KEY}]\n{instance}    deployments:\n"
    );
    let mut models = String::new();
    for (name, entry) in deployments {
        writeln!(simulation, "      {name}: {{ {entry} }}").unwrap();
        writeln!(
            models,
            "  {name}: {{ deployments: [{{ instance: only }}] }}"
        )
        .unwrap();
    }
    let simulator = simulator::start(Config::parse(&simulation).unwrap());
    let simulator = simulator.await.unwrap();
    let kind = if instance.contains("openai") {
        "/v1\", kind: openai"
    } else {
        "\""
    };
    let config = format!(
        "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\n\
         instances:\n  only: {{ endpoint: \"http://{}{kind}, identity: key }}\n\
         models:\n{models}\
         clients: {{ tests: {{ keys: [\"{}\"], models: [\"*\"], operations: [inference, data_sources] }} }}\nbreaker: {{ faults: 1000 }}\n{more}",
        simulator.address("only").unwrap(),
        forebay::config::hash_key(KEY).unwrap().hash,
    );
    Harness {
        gateway: Gateway::start(&config).await,
        simulator,
        http: client(),
    }
}

impl Harness {
    /// What a deployment of `only` counts itself.
    fn stats(&self, deployment: &str) -> Tokens {
        Tokens::from_stats(&self.simulator.stats().deployment("only", deployment).spent)
    }

    /// The metrics once they count so many requests.
    async fn metrics_of(&self, requests: u64) -> String {
        let mut page = String::new();
        eventually_async("every request is counted", async || {
            page = self.metrics().await;
            let counted = samples(&page, "forebay_requests_total{");
            counted.map(|(_, number)| number).sum::<u64>() >= requests
        })
        .await;
        page
    }
}
