//! What loads, what it becomes, and that the files in `conf/` are sound and show everything.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use serde_json::{Map, Value};

use super::*;
use crate::{
    config::node::{Content, Node},
    domain::{client::Clients, identity::Proof, quota::OverMaxOutput},
};

/// A folder with a certificate and its key, gone when dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("forebay-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(path.join("tls.crt"), own.cert.pem()).unwrap();
        fs::write(path.join("tls.key"), own.signing_key.serialize_pem()).unwrap();
        let app = include_str!("../../../tests/gateway/identities/app.key");
        let key = rcgen::KeyPair::from_pem(app).unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key);
        let pem = certificate.unwrap().pem();
        fs::write(path.join("app.key"), app).unwrap();
        fs::write(path.join("app.pem"), format!("{pem}{app}")).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn read(&self, text: &str) -> Result<Loaded, String> {
        let parsed = parse(text.as_bytes(), &self.0.join("f.yaml"), &|_| None);
        parsed.map_err(|problems| problems.to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The example configs, with their names.
fn examples() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let yaml = files.filter(|path| path.extension().is_some_and(|it| it == "yaml"));
    let configs = yaml.filter(|path| !path.ends_with("simulator.yaml"));
    configs
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

#[test]
fn every_example_loads_without_a_warning() {
    let folder = Folder::new("examples");
    let path = folder.0.display().to_string();
    let environment = |name: &str| match name {
        "TLS_FOLDER" | "LOG_FOLDER" | "STATE_FOLDER" => Some(path.clone()),
        "CA_FILE" => Some(format!("{path}/tls.crt")),
        "APP_FILE" => Some(format!("{path}/app.pem")),
        name if name.ends_with("_HASH") => Some(hash_key(name).unwrap().hash.to_string()),
        _ => Some("swordfish".into()),
    };
    let examples = examples();
    assert!(examples.len() >= 5);
    for (file, text) in examples {
        let loaded = parse(text.as_bytes(), &file, &environment).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(loaded.warnings, [], "{file:?}");
    }
}

#[test]
fn the_examples_show_every_field_that_the_schema_knows() {
    let schema = schema();
    let mut missing = BTreeSet::new();
    for (section, definition) in schema["$defs"].as_object().unwrap() {
        missing.extend(fields(definition).map(|name| format!("{section}.{name}")));
    }
    missing.extend(fields(&schema).map(|name| format!("Forebay.{name}")));
    assert!(missing.len() > 50);
    for (_, text) in examples() {
        let (tree, _) = node::tree(&text, &mut Findings::default()).unwrap();
        tick(&tree, "Forebay", &schema, &schema, &mut missing);
    }
    assert_eq!(missing, BTreeSet::new());
}

fn fields(definition: &Value) -> impl Iterator<Item = &String> {
    definition["properties"]
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
}

/// Strikes the fields that `node` uses out of `missing`.
fn tick(node: &Node, section: &str, at: &Value, schema: &Value, missing: &mut BTreeSet<String>) {
    if let Some(section) = at["$ref"]
        .as_str()
        .and_then(|to| to.strip_prefix("#/$defs/"))
    {
        return tick(node, section, &schema["$defs"][section], schema, missing);
    }
    let forms = at["anyOf"].as_array().into_iter().flatten();
    if let (Some(long), Content::Map(_)) = (forms.last(), &node.content) {
        return tick(node, section, long, schema, missing);
    }
    match &node.content {
        Content::List(items) => items
            .iter()
            .for_each(|item| tick(item, section, &at["items"], schema, missing)),
        Content::Map(entries) => {
            for (key, value) in entries {
                missing.remove(&format!("{section}.{}", key.value));
                let field = at["properties"].get(&key.value);
                tick(
                    value,
                    section,
                    field.unwrap_or(&at["additionalProperties"]),
                    schema,
                    missing,
                );
            }
        }
        _ => {}
    }
}

#[test]
fn the_defaults_that_the_schema_tells_are_those_a_plan_gets() {
    let (schema, short) = (schema(), SOUND.replace("failover:", "# "));
    let mut long = short.clone();
    for (field, section) in [
        ("server", "Server"),
        ("failover", "Failover"),
        ("drain", "Drain"),
        ("breaker", "Breaker"),
    ] {
        long.push_str(&format!("{field}:\n"));
        for (name, property) in schema["$defs"][section]["properties"].as_object().unwrap() {
            if let Some(default) = property.get("default") {
                long.push_str(&format!("  {name}: {default}\n"));
            }
        }
    }
    let (short, long) = (read(short).unwrap().plan, read(long).unwrap().plan);
    assert_eq!(
        (
            short.server,
            short.bounds.clone(),
            short.drain,
            short.breaker
        ),
        (long.server, long.bounds.clone(), long.drain, long.breaker)
    );
    assert_eq!(long.bounds, crate::domain::deployment::Bounds::default());
}

#[test]
fn a_config_becomes_what_it_says() {
    let text = with("deadline: 10m", "deadline: 1m 30s")
        .replace("identity: vm", "identity: vm, connect_to: 10.0.0.4");
    let loaded = read(text).unwrap();
    let plan = loaded.plan;
    assert_eq!(loaded.warnings, []);
    assert_eq!(
        (plan.bounds.deadline, plan.bounds.max_body),
        (Duration::from_secs(90), 32 << 20)
    );
    let pool = &plan.models[0].deployments;
    let shown: Vec<_> = pool
        .iter()
        .map(|d| {
            (
                d.instance.name.as_str(),
                d.name.as_str(),
                d.priority.get(),
                d.weight.get(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [("swc", "gpt-4o", 1, 2), ("frc", "gpt-4o-1120", 2, 1)]
    );
    assert_eq!(
        plan.instances[0].connect_to,
        Some("10.0.0.4:443".parse().unwrap())
    );
    assert!(matches!(plan.clients, Clients::Listed(_)));
    assert_eq!(plan.clients.by_key(b"demo").unwrap().name.as_str(), "app");
}

#[test]
fn a_string_may_hold_variables_and_files_anywhere() {
    let folder = Folder::new("references");
    fs::write(folder.0.join("key"), "sword${x}\r\n").unwrap();
    let loaded = folder
        .read(&with("swordfish", "\"a-${file:key}-$${env:X}\""))
        .unwrap();
    let Proof::ApiKey(key) = &loaded.plan.identities[1].proof else {
        panic!("an api key")
    };
    assert_eq!(key.expose(), "a-sword${x}-${env:X}");
    assert!(!format!("{loaded:?}").contains("sword"));
}

#[test]
fn anchors_and_aliases_save_typing() {
    let text = with(
        "{ deadline: 10m",
        "{ deadline: &long 10m, idle_timeout: *long",
    );
    assert_eq!(
        read(text).unwrap().plan.bounds.idle_timeout,
        Duration::from_secs(600)
    );
}

#[test]
fn a_key_of_the_files_own_is_for_its_aliases() {
    let text = with("{ deadline: 10m", "{ <<: *bounds");
    let text =
        format!("x-bounds: &bounds {{ deadline: 7m, attempts: 2 }}\nx-more: [1, two]\n{text}");
    let loaded = read(&text).unwrap();
    assert_eq!(loaded.plan.bounds.deadline, Duration::from_secs(420));
    assert_eq!(loaded.warnings, []);
    assert!(read(text.replace("x-more", "y-more")).is_err());
    let schema = schema();
    assert_eq!(schema["patternProperties"]["^x-"], true);
}

#[test]
fn certificates_and_keys_are_looked_at_before_a_start() {
    let folder = Folder::new("tls");
    let other = Folder::new("other-tls");
    let tls = |certificate: &str, key: &str| {
        let files = format!("tls: {{ certificate: {certificate}, key: {key} }}");
        folder.read(&with(
            "\"127.0.0.1:8080\"",
            &format!("\"127.0.0.1:8443\", {files}"),
        ))
    };
    let loaded = tls("tls.crt", "tls.key").unwrap();
    assert_eq!(
        loaded.plan.listeners[0].tls.as_ref().unwrap().key,
        folder.0.join("tls.key")
    );
    let strange = other.0.join("tls.key").display().to_string();
    for (certificate, key, words) in [
        ("none", "tls.key", ":1:62: "),
        ("tls.key", "tls.key", "tls.key contains no certificate"),
        ("tls.crt", "tls.crt", "tls.crt contains no private key"),
        (
            "tls.crt",
            &strange,
            "this key does not match the certificate",
        ),
    ] {
        let answer = tls(certificate, key).unwrap_err();
        assert!(
            answer.contains(words) && answer.lines().count() == 1,
            "{answer}"
        );
    }
    for (more, words) in [
        ("client_ca: tls.crt", ""),
        ("client_ca: tls.crt, client_certificate: optional", ""),
        ("client_ca: none", ":1:96: "),
        ("client_ca: tls.key", "tls.key contains no certificate"),
        (
            "client_certificate: required",
            ":1:105: client_certificate: needs client_ca:",
        ),
        (
            "client_ca: tls.crt, client_certificate: maybe",
            "known names: `required`, `optional`",
        ),
    ] {
        let answer = tls("tls.crt", &format!("tls.key, {more}"));
        match answer {
            Ok(_) => assert_eq!(words, "", "{more}"),
            Err(answer) => assert!(
                !words.is_empty() && answer.contains(words) && answer.lines().count() == 1,
                "{answer}"
            ),
        }
    }
    assert!(
        folder
            .read(&with("identity: vm", "identity: vm, ca: tls.crt"))
            .is_ok()
    );
    let answer = folder
        .read(&with("identity: vm", "identity: vm, ca: tls.key"))
        .unwrap_err();
    assert!(answer.contains("contains no certificate"), "{answer}");
}

#[test]
fn what_is_allowed_but_odd_is_a_warning() {
    for (part, other, warning) in [
        (
            "admin: { address: \"127.0.0.1:9090\" }",
            "admin: { address: \"0.0.0.0:9090\", token: \"sha256:2a97516c354b68848cdbd8f54a226a0a55b21ed138e207ad6c5cbb9c00aa5aea\" }",
            "f.yaml:2:19: without tls: the token can be read on the network",
        ),
        (
            "identity: legacy",
            "identity: vm",
            "f.yaml:5:3: no instance uses",
        ),
        (
            "      - { instance: frc, deployment: gpt-4o-1120, priority: 2 }\n",
            "",
            "f.yaml:8:3: no model has",
        ),
        (
            "https://contoso-frc",
            "https://Contoso-swc",
            "f.yaml:8:20: this endpoint is already in line 7",
        ),
        (
            "models: [gpt-4o] }",
            "models: [gpt-4o], limits: { tokens_per_day: 5 } }",
            "f.yaml:1:1: a restart would reset",
        ),
        (
            "failover:",
            "counters: { file: counters.redb }\nfailover:",
            "f.yaml:16:19: no client has a limit",
        ),
    ] {
        let warnings = read(with(part, other)).unwrap().warnings;
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].to_string().starts_with(warning),
            "{}",
            warnings[0]
        );
    }
}

#[test]
fn any_free_port_may_be_asked_for_twice() {
    let text = with(
        "\"127.0.0.1:8080\" }",
        "\"127.0.0.1:0\" }, { address: \"127.0.0.1:0\" }",
    );
    assert_eq!(read(text).unwrap().plan.listeners.len(), 2);
}

#[test]
fn limits_are_those_of_the_client_and_those_with_its_models() {
    let text = with(
        "models: [gpt-4o] }",
        "models: [gpt-4o], limits: { tokens_per_minute: 60000, models: { gpt-4o: { n: 2, max_output_tokens: 99, \
         over_max_output_tokens: refuse } } } }",
    ) + "counters: { time_zone: Asia/Kathmandu }\n";
    let plan = read(text).unwrap().plan;
    let limits = &plan.clients.all()[0].limits;
    assert_eq!(limits.own.tokens_per_minute, Some(60_000));
    assert_eq!(limits.own.all().len(), 1);
    let of_model = &limits.models["gpt-4o"];
    assert_eq!(
        (of_model.n, of_model.max_output_tokens),
        (Some(2), Some(99))
    );
    assert_eq!(of_model.over_max_output_tokens, OverMaxOutput::Refuse);
    assert_eq!(plan.counters.calendar.name(), "Asia/Kathmandu");
}
