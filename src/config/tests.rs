//! The config as its writers meet it: what loads, and what each mistake is answered with.

use std::path::Path;

use super::*;

const SOUND: &str = r#"
listeners: [{ address: "127.0.0.1:8080" }]
identities: { vm: { managed_identity: {} } }
instances:
  swc: { endpoint: "https://contoso.openai.azure.com", identity: vm }
models:
  gpt-4o:
    deployments: [{ instance: swc }]
anonymous: true
"#;

fn read(text: &str) -> Result<Loaded, String> {
    let environment = |name: &str| (name == "SET").then(|| "vm".to_owned());
    parse(text.as_bytes(), Path::new("f.yaml"), &environment)
        .map_err(|problems| problems.to_string())
}

#[test]
fn a_small_config_gets_every_default() {
    let loaded = read(SOUND).unwrap();
    println!("{loaded:?}");
}

#[test]
fn a_tour() {
    println!("{}", read("listeners:\n  - addres: 1\ninstances:\n  a: {identity: b, kind: x, weight: 3}\n  b:\n    identity: c\nidentities:\n  c: {api_key: 5}\nmodels: \n  - 4\nserver:\n").unwrap_err());
    println!("{}", read("a: [").unwrap_err());
    println!("{}", read("").unwrap_err());
    println!("{}", serde_json::to_string_pretty(&schema()).unwrap());
}
