//! Who the gateway is to Azure: each kind of identity against token endpoints that check what they are shown, as the
//! simulator's do, over TLS with an authority of the test's own.

mod certificates;
mod endpoint_failures;
mod kinds;
mod link_local;
mod rollover;

use std::{fmt::Write as _, fs, ops::Deref, path::PathBuf};

use forebay::simulator::{self, Config, Simulator, TokenFault};
use reqwest::Response;
use serde_json::Value;

use crate::harness::{CHAT, Gateway, Harness, INSTANCE_KEY, KEY, client, folder};

/// A harness of which each instance is asked with an identity of its own, by the same name.
struct IdentityFixture {
    harness: Harness,
    /// The files that identities and token endpoints read.
    folder: PathBuf,
}

impl Deref for IdentityFixture {
    type Target = Harness;
    fn deref(&self) -> &Harness {
        &self.harness
    }
}

impl Drop for IdentityFixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What a stage is made of. In `tokens`, proofs and variables `{folder}` stands for the stage's files, `{tokens}` for the
/// token endpoints' address and `{port}` for their port.
#[derive(Default)]
struct Setup<'a> {
    /// More of the simulator's `tokens:`.
    tokens: &'a str,
    /// Names, in the order of priority, with what proves the gateway there and more fields of the instance.
    proofs: &'a [(&'a str, &'a str, &'a str)],
    /// More lines of the gateway's config.
    more: &'a str,
    variables: &'a [(&'a str, &'a str)],
    /// What the token endpoints do from the start.
    fault: Option<TokenFault>,
}

impl Setup<'_> {
    async fn open(self) -> IdentityFixture {
        let folder = folder();
        certificates::lay_out(&folder);
        let fill_in = |text: &str| text.replace("{folder}", &folder.display().to_string());
        let simulation = fill_in(&self.simulation());
        let simulator = simulator::start(Config::parse(&simulation).unwrap())
            .await
            .unwrap();
        simulator.set_token_fault(self.fault.clone());
        let tokens = simulator.tokens().unwrap();
        let fill_in = |text: &str| {
            fill_in(text)
                .replace("{tokens}", &tokens.to_string())
                .replace("{port}", &tokens.port().to_string())
        };
        let config = fill_in(&self.config(&simulator));
        let variables: Vec<_> = self
            .variables
            .iter()
            .map(|(name, value)| (*name, fill_in(value)))
            .collect();
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        IdentityFixture {
            harness: Harness {
                simulator,
                gateway: Gateway::start_with(&config, "", &variables).await,
                http: client(),
            },
            folder,
        }
    }

    fn simulation(&self) -> String {
        let address = if self.tokens.contains("address:") {
            ""
        } else {
            "address: 127.0.0.1:0, "
        };
        let mut yaml = format!(
            "control: 127.0.0.1:0\nseed: 7\ntokens: {{ {address}{} }}\ninstances:\n",
            self.tokens
        );
        for (name, _, _) in self.proofs {
            writeln!(yaml, "  {name}: {{ address: 127.0.0.1:0, keys: [{INSTANCE_KEY}], deployments: {{ gpt-4o: {{ model: gpt-4o }}, own: {{ model: gpt-4o }} }} }}").unwrap();
        }
        yaml
    }

    /// All instances serve `gpt-4o`, by priority; each alone serves a model by its own name.
    fn config(&self, simulator: &Simulator) -> String {
        let (mut identities, mut instances, mut pool, mut models) = Default::default();
        for (priority, (name, proof, more)) in (1..).zip(self.proofs) {
            let address = simulator.address(name).unwrap();
            let add = |text: &mut String, line: String| writeln!(text, "  {line}").unwrap();
            add(&mut identities, format!("{name}: {{ {proof} }}"));
            add(
                &mut instances,
                format!("{name}: {{ endpoint: \"http://{address}\", identity: {name}{more} }}"),
            );
            add(
                &mut pool,
                format!("    - {{ instance: {name}, deployment: gpt-4o, priority: {priority} }}"),
            );
            add(
                &mut models,
                format!("{name}: {{ deployments: [{{ instance: {name}, deployment: own }}] }}"),
            );
        }
        let hash = forebay::config::hash_key(KEY).unwrap().hash;
        format!(
            "identities:\n{identities}instances:\n{instances}models:\n{models}  gpt-4o:\n    deployments:\n{pool}\
             clients: {{ tests: {{ keys: [\"{hash}\"], models: [\"*\"] }} }}\n{}\n",
            self.more
        )
    }
}

impl IdentityFixture {
    async fn ask(&self, model: &str) -> Response {
        let body =
            serde_json::json!({ "model": model, "messages": [{"role": "user", "content": "?"}] });
        self.post(CHAT).json(&body).send().await.unwrap()
    }

    /// What `/status` says of an identity.
    async fn identity(&self, name: &str) -> Value {
        let page = self.status().await;
        let all = page["identities"].as_array().unwrap().clone();
        let found = all.into_iter().find(|it| it["identity"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {page:#}"))
    }

    /// What `/status` says of the deployment of an instance in `gpt-4o`.
    async fn deployment(&self, instance: &str) -> Value {
        let page = self.status().await;
        let pools = page["models"].as_array().unwrap();
        let pool = pools.iter().find(|it| it["model"] == "gpt-4o").unwrap();
        let all = pool["deployments"].as_array().unwrap();
        let found = all.iter().find(|it| it["instance"] == instance);
        found.unwrap().clone()
    }

    async fn health(&self, model: &str) -> u16 {
        let url = self.url(&format!("/health/models/{model}"));
        let request = self.http.get(url).header("api-key", KEY);
        request.send().await.unwrap().status().as_u16()
    }

    /// The lines of the gateway's own log that hold all of these.
    fn said(&self, words: &[&str]) -> Vec<String> {
        let text = self.gateway.stderr();
        let lines = text.lines();
        lines
            .filter(|line| words.iter().all(|word| line.contains(word)))
            .map(str::to_owned)
            .collect()
    }

    /// Everything that an operator sees; none of the secrets may be in it.
    async fn keeps_to_itself(&self, secrets: &[&str]) {
        let (metrics, page) = (self.metrics().await, self.status().await.to_string());
        for text in [&metrics, &page, &self.gateway.stderr()] {
            for secret in secrets {
                let line = text.lines().find(|line| line.contains(secret));
                assert!(line.is_none(), "{secret} in {line:?}");
            }
        }
    }
}
