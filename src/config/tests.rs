//! The config as its writers meet it: what loads, and what each mistake is answered with.

mod certificates;
mod examples;
mod hidden;
mod identities;
mod mistakes;
mod records;
mod syntax;
mod tokens_go;

use std::path::Path;

use super::*;

/// A config without a mistake. Tests replace parts of it.
const SOUND: &str = r#"listeners: [{ address: "127.0.0.1:8080" }]
admin: { address: "127.0.0.1:9090" }
identities:
  vm: { managed_identity: {} }
  legacy: { api_key: swordfish }
instances:
  swc: { endpoint: "https://contoso-swc.openai.azure.com", identity: vm }
  frc: { endpoint: "https://contoso-frc.openai.azure.com", identity: legacy }
models:
  gpt-4o:
    deployments:
      - { instance: swc, priority: 1, weight: 2 }
      - { instance: frc, deployment: gpt-4o-1120, priority: 2 }
clients:
  app: { keys: ["sha256:2a97516c354b68848cdbd8f54a226a0a55b21ed138e207ad6c5cbb9c00aa5aea"], models: [gpt-4o] }
failover: { deadline: 10m, max_body: 32MiB, attempts: 4 }
"#;

/// Reads `text` as `f.yaml` in a folder without files, in an environment of which `SET` is all.
fn read(text: impl AsRef<[u8]>) -> Result<Loaded, Problems> {
    let environment = |name: &str| (name == "SET").then(|| "swordfish".to_owned());
    parse(text.as_ref(), Path::new("f.yaml"), &environment)
}

/// The sound config with `part`, which stands there once, replaced.
fn with(part: &str, other: &str) -> String {
    assert_eq!(SOUND.matches(part).count(), 1, "{part}");
    SOUND.replacen(part, other, 1)
}
