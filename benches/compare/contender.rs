//! Who is measured, and how each is started. What their configs say and why that is fair stands in the files beside this
//! one. Each serves with one worker on the contenders' core.

use std::{
    env,
    fmt::Write,
    process::{Command, Stdio},
};

use crate::{
    Result,
    ground::{FOREBAY, Ground, Upstreams, free_address, program},
    load::{self, Weight},
    pass_through,
    process::Process,
    traffic::{Ask, CHAT, MODELS, Manner},
    wire::Door,
};

/// Who there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Forebay,
    Pingora,
    Nginx,
    Haproxy,
    Envoy,
    Portkey,
    Litellm,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Forebay,
        Self::Pingora,
        Self::Nginx,
        Self::Haproxy,
        Self::Envoy,
        Self::Portkey,
        Self::Litellm,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Forebay => "forebay",
            Self::Pingora => "pingora",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Portkey => "portkey",
            Self::Litellm => "litellm",
        }
    }

    /// The first two come with the bench.
    pub(crate) fn is_installed(self) -> bool {
        matches!(self, Self::Forebay | Self::Pingora) || program(self.name()).is_some()
    }

    /// How much less it is given to do: it would take minutes for what the others do in seconds.
    pub(crate) fn slowness(self) -> u32 {
        match self {
            Self::Portkey => 20,
            Self::Litellm => 100,
            _ => 1,
        }
    }

    /// Whether it can be put up so: these two are asked over plain HTTP.
    pub(crate) fn can(self, setup: &Setup) -> bool {
        !(setup.tls.is_some() && matches!(self, Self::Portkey | Self::Litellm))
    }
}

/// What a contender is put between.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) upstreams: Upstreams,
    /// The protocol that its clients speak over TLS, if they do.
    pub(crate) tls: Option<&'static str>,
    pub(crate) threads: usize,
    /// Of Forebay: how many of each its config has, the ones in use among them.
    pub(crate) deployments: usize,
    pub(crate) clients: usize,
}

impl Setup {
    pub(crate) const PLAIN: Self = Self {
        upstreams: Upstreams::Plain,
        tls: None,
        threads: 1,
        deployments: 3,
        clients: 1,
    };
}

/// A proxy that runs.
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    pub(crate) door: Door,
    pub(crate) manner: Manner,
    pub(crate) process: Process,
}

impl Contender {
    /// Starts one, without waiting for it.
    pub(crate) fn start(kind: Kind, ground: &Ground<'_>, setup: &Setup) -> Result<Self> {
        let address = free_address()?;
        let starting = Starting {
            ground,
            setup,
            address,
        };
        let manner = match kind {
            Kind::Portkey => starting.portkey_manner()?,
            Kind::Litellm => Manner {
                path: "/v1/chat/completions",
                ..Manner::default()
            },
            _ => Manner::default(),
        };
        let mut command = match kind {
            Kind::Forebay => starting.forebay()?,
            Kind::Pingora => starting.pingora()?,
            Kind::Nginx => starting.nginx()?,
            Kind::Haproxy => starting.haproxy()?,
            Kind::Envoy => starting.envoy()?,
            Kind::Portkey => starting.portkey()?,
            Kind::Litellm => starting.litellm()?,
        };
        if kind != Kind::Forebay && kind != Kind::Pingora {
            // They talk more than a table has room for.
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        let tls = setup.tls.map(|protocol| ground.client_tls(protocol));
        Ok(Self {
            kind,
            door: Door { address, tls },
            manner,
            process: Process::start(&mut command)?,
        })
    }

    /// Starts one, and waits until it has answered.
    pub(crate) async fn ready(kind: Kind, ground: &Ground<'_>, setup: &Setup) -> Result<Self> {
        let mut contender = Self::start(kind, ground, setup)?;
        let mut door = contender.door.clone();
        if let Some(tls) = &mut door.tls {
            *tls = ground.client_tls("http/1.1");
        }
        let chat = Ask::chat(1 << 10).written(&contender.manner);
        let process = &mut contender.process;
        load::first_answer(&door, &chat, || process.is_over()).await?;
        Ok(contender)
    }

    /// CPU time of one request, in µs; all must be answered.
    pub(crate) async fn cost(&self, ask: Ask, weight: Weight) -> Result<f64> {
        let request = ask.written(&self.manner);
        let before = self.process.cpu()?;
        let tally = load::drive(&self.door, &request, weight).await?;
        let used = self.process.cpu()?.saturating_sub(before);
        tally.all_ok()?;
        Ok(used.as_secs_f64() * 1e6 / tally.answered as f64)
    }
}

/// A contender's surroundings while its command is written.
struct Starting<'a> {
    ground: &'a Ground<'a>,
    setup: &'a Setup,
    address: std::net::SocketAddr,
}

impl Starting<'_> {
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.ground
            .cores
            .contender(program.as_ref(), self.setup.threads)
    }

    fn installed(&self, name: &str) -> Result<Command> {
        let program = program(name).ok_or_else(|| format!("{name} is not installed"))?;
        Ok(self.command(program))
    }

    fn port(&self) -> (&'static str, String) {
        ("PORT", self.address.port().to_string())
    }

    /// One text where there is TLS, another where there is none.
    fn if_tls(
        &self,
        name: &'static str,
        toward: Toward,
        with: &str,
        without: &str,
    ) -> (&'static str, String) {
        let has_tls = match toward {
            Toward::Clients => self.setup.tls.is_some(),
            Toward::Upstreams => self.setup.upstreams == Upstreams::Tls,
        };
        let text = if has_tls { with } else { without };
        (name, text.replace("@FOLDER@", &self.ground.file("")))
    }

    /// One line for each upstream: its name and its address stand for `NAME` and `HOST:PORT`.
    fn each_upstream(&self, line: &str) -> Result<String> {
        let upstreams = self.ground.upstreams(self.setup.upstreams)?;
        Ok(upstreams
            .iter()
            .fold(String::new(), |lines, (name, address)| {
                let line = line
                    .replace("NAME", name)
                    .replace("HOST:PORT", &address.to_string());
                let line = line.replace("HOST", &address.ip().to_string());
                lines + &line.replace("PORT", &address.port().to_string()) + "\n"
            }))
    }

    fn forebay(&self) -> Result<Command> {
        let (setup, admin) = (self.setup, free_address()?);
        let upstreams = self.ground.upstreams(setup.upstreams)?;
        let (mut instances, mut models, mut clients) =
            (String::new(), String::new(), String::new());
        let ca = if setup.upstreams == Upstreams::Tls {
            ", ca: ca.pem"
        } else {
            ""
        };
        for number in 0..setup.deployments {
            let (_, address) = upstreams[number % upstreams.len()];
            let url = format!("{}://{address}", setup.upstreams.scheme());
            writeln!(
                instances,
                "  i{number}: {{ endpoint: \"{url}\", identity: vm{ca} }}"
            )?;
        }
        for model in MODELS {
            // What is passed through asks for `gpt-4o`; here it has a name to change.
            let deployment =
                |number| format!("{{ instance: i{number}, deployment: {}-eu }}", model.name);
            let count = if model == CHAT {
                setup.deployments
            } else {
                upstreams.len()
            };
            let deployments: Vec<String> = (0..count).map(deployment).collect();
            writeln!(
                models,
                "  {}: {{ deployments: [{}] }}",
                model.name,
                deployments.join(", ")
            )?;
        }
        for number in 1..setup.clients {
            writeln!(
                clients,
                "  c{number}: {{ keys: [\"sha256:{number:064x}\"], models: [\"*\"] }}"
            )?;
        }
        let tls = "tls: { certificate: tls.crt, key: tls.key }";
        let file = self.ground.config(
            "forebay.yaml",
            &[
                ("INSTANCES", instances),
                ("MODELS", models),
                ("CLIENTS", clients),
                ("THREADS", setup.threads.to_string()),
                ("ADMIN", admin.to_string()),
                ("TOKENS", self.ground.address("tokens")?.to_string()),
                self.port(),
                self.if_tls("TLS", Toward::Clients, tls, ""),
            ],
        )?;
        let mut command = self.command(FOREBAY);
        command
            .args(["serve", "--config"])
            .arg(file)
            .env("FOREBAY_LOG", "error");
        Ok(command)
    }

    fn pingora(&self) -> Result<Command> {
        let mut command = self.command(env::current_exe()?);
        command
            .arg(pass_through::COMMAND)
            .arg(self.address.to_string());
        let (tls, none) = ("@FOLDER@tls", "");
        command.arg(self.if_tls("", Toward::Clients, tls, none).1);
        command.arg(self.if_tls("", Toward::Upstreams, "@FOLDER@ca.pem", none).1);
        command.arg(self.setup.threads.to_string());
        let upstreams = self.ground.upstreams(self.setup.upstreams)?;
        let count = self.setup.deployments;
        let each = upstreams.iter().cycle().take(count.max(upstreams.len()));
        command.args(each.map(|(_, address)| address.to_string()));
        Ok(command)
    }

    fn nginx(&self) -> Result<Command> {
        let values = [
            ("UPSTREAMS", self.each_upstream("    server HOST:PORT;")?),
            ("SCHEME", self.setup.upstreams.scheme().into()),
            self.port(),
            self.if_tls("LISTEN", Toward::Clients, "ssl http2", ""),
        ];
        let file = self.ground.config("nginx.conf", &values)?;
        let mut command = self.installed("nginx")?;
        command.arg("-c").arg(file);
        Ok(command)
    }

    fn haproxy(&self) -> Result<Command> {
        let tls = "ssl verify required ca-file @FOLDER@ca.pem sni str(localhost)";
        let (_, server) = self.if_tls("", Toward::Upstreams, tls, "");
        let mut values = vec![
            (
                "UPSTREAMS",
                self.each_upstream(&format!("  server NAME HOST:PORT {server}"))?,
            ),
            self.port(),
            self.if_tls(
                "BIND",
                Toward::Clients,
                "ssl crt @FOLDER@tls.pem alpn h2,http/1.1",
                "",
            ),
            // Versions before 3 can't.
            ("RETRY", "retry-on conn-failure 429".into()),
        ];
        let mut file = self.ground.config("haproxy.cfg", &values)?;
        let program = program("haproxy").ok_or("haproxy is not installed")?;
        let mut check = Command::new(&program);
        check
            .arg("-c")
            .arg("-f")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if !check.status()?.success() {
            values.pop();
            values.push(("RETRY", "retry-on conn-failure".into()));
            file = self.ground.config("haproxy.cfg", &values)?;
        }
        let mut command = self.command(program);
        command.arg("-db").arg("-f").arg(file);
        Ok(command)
    }

    fn envoy(&self) -> Result<Command> {
        let endpoint = "          - endpoint: { address: { socket_address: { address: HOST, port_value: PORT } } }";
        let values = [
            ("UPSTREAMS", self.each_upstream(endpoint)?),
            self.port(),
            self.if_tls("DOWNSTREAM_TLS", Toward::Clients, ENVOY_DOWNSTREAM, ""),
            self.if_tls("UPSTREAM_TLS", Toward::Upstreams, ENVOY_UPSTREAM, ""),
        ];
        let file = self.ground.config("envoy.yaml", &values)?;
        let mut command = self.installed("envoy")?;
        let threads = self.setup.threads.to_string();
        command
            .args([
                "--concurrency",
                &threads,
                "--disable-hot-restart",
                "-l",
                "off",
                "-c",
            ])
            .arg(file);
        Ok(command)
    }

    /// `PORTKEY` is its `build/start-server.js`, run by `node`.
    fn portkey(&self) -> Result<Command> {
        let server = program("portkey").ok_or("portkey is not installed")?;
        let mut command = self.command("node");
        command
            .arg(server)
            .args(["--headless", &format!("--port={}", self.address.port())]);
        Ok(command)
    }

    /// It is told with each request where it is to go.
    fn portkey_manner(&self) -> Result<Manner> {
        let upstreams = self.ground.upstreams(self.setup.upstreams)?;
        let target = |(_, address): &(&str, std::net::SocketAddr)| {
            serde_json::json!({"provider": "openai", "api_key": "bench", "custom_host":
                format!("{}://{address}/openai/v1", self.setup.upstreams.scheme())})
        };
        let config = serde_json::json!({
            "strategy": {"mode": "loadbalance"},
            "retry": {"attempts": 2, "on_status_codes": [429]},
            "targets": upstreams.iter().map(target).collect::<Vec<_>>(),
        });
        Ok(Manner {
            path: "/v1/chat/completions",
            headers: vec![("x-portkey-config", config.to_string())],
        })
    }

    fn litellm(&self) -> Result<Command> {
        let mut models = String::new();
        for model in MODELS {
            let line = format!(
                "  - {{ model_name: {0}, litellm_params: {{ model: openai/{0}, api_base: \"{1}://HOST:PORT/openai/v1\", \
                 api_key: bench }} }}",
                model.name,
                self.setup.upstreams.scheme(),
            );
            models += &self.each_upstream(&line)?;
        }
        let file = self.ground.config("litellm.yaml", &[("MODELS", models)])?;
        let mut command = self.installed("litellm")?;
        let port = self.address.port().to_string();
        command
            .args([
                "--port",
                &port,
                "--host",
                "127.0.0.1",
                "--num_workers",
                "1",
                "--config",
            ])
            .arg(file);
        command.env("SSL_CERT_FILE", self.ground.file("ca.pem"));
        // It would be given a key of its own to check, as the others are not.
        command.env(
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY",
            "true",
        );
        Ok(command)
    }
}

#[derive(Clone, Copy)]
enum Toward {
    Clients,
    Upstreams,
}

const ENVOY_DOWNSTREAM: &str = r#"
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates: [{ certificate_chain: { filename: "@FOLDER@tls.crt" }, private_key: { filename: "@FOLDER@tls.key" } }]"#;
const ENVOY_UPSTREAM: &str = r#"
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context: { validation_context: { trusted_ca: { filename: "@FOLDER@ca.pem" } } }"#;
