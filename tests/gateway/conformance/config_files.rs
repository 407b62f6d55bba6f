//! The configs of the table's simulator and gateway.

use std::fmt::Write as _;

use forebay::simulator::{FaultKind, Simulator};

use super::{
    fixture::Case,
    row::Does,
    rows::{LONGEST_PAUSE, PAUSE},
};
use crate::harness::{INSTANCE_KEY, KEY};

pub(super) fn simulation(cases: &[Case<'_>]) -> String {
    let mut yaml =
        "tokens: { lifetime: 1h }\nseed: 7\ninstances:\n  gone: { deployments: {} }\n".to_owned();
    for instance in ["first", "second"] {
        writeln!(
            yaml,
            "  {instance}:\n    keys: [{INSTANCE_KEY}]\n    deployments:"
        )
        .unwrap();
        for case in cases {
            writeln!(yaml, "      {}: {{ model: gpt-4o }}", case.model).unwrap();
        }
    }
    yaml
}

pub(super) fn config(simulator: &Simulator, cases: &[Case<'_>]) -> String {
    let address = |name| simulator.address(name).unwrap();
    let (mut identities, mut instances, mut models) = (String::new(), String::new(), String::new());
    for (name, endpoint) in [
        ("first", format!("http://{}", address("first"))),
        ("second", format!("http://{}", address("second"))),
        ("gone", format!("http://{}", address("gone"))),
        ("no-tls", format!("https://{}", address("first"))),
        ("no-name", "https://nowhere.invalid".to_owned()),
    ] {
        writeln!(
            instances,
            "  {name}: {{ endpoint: \"{endpoint}\", identity: key }}"
        )
        .unwrap();
    }
    for case in cases {
        let (first, model) = (case.first(), &case.model);
        if case.row.by_token {
            let (tokens, address) = (simulator.tokens().unwrap(), address("first"));
            writeln!(
                identities,
                "  {first}: {{ client_secret: {{ tenant_id: t, client_id: c, secret: s, authority: \"http://{tokens}\" }} }}"
            )
            .unwrap();
            writeln!(
                instances,
                "  {first}: {{ endpoint: \"http://{address}\", identity: {first} }}"
            )
            .unwrap();
        }
        let hangs = case.row.does == Does::Fails(FaultKind::Hang {});
        let timeout = if hangs {
            "first_byte_timeout: 4s, "
        } else {
            ""
        };
        writeln!(
            models,
            "  {model}: {{ {timeout}deployments: [{{ instance: {first}, priority: 1 }}, {{ instance: second, priority: 2 }}] }}"
        )
        .unwrap();
    }
    let hash = forebay::config::hash_key(KEY).unwrap().hash;
    format!(
        "identities:\n  key: {{ api_key: {INSTANCE_KEY} }}\n{identities}instances:\n{instances}models:\n{models}\
         clients: {{ tests: {{ keys: [\"{hash}\"], models: [\"*\"] }} }}\nreveal: true\n\
         failover: {{ more_statuses: [451] }}\nbreaker: {{ pause: {PAUSE}s, longest_pause: {LONGEST_PAUSE}s }}\n"
    )
}
