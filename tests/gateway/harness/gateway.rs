//! The gateway as a process of its own, with a config that is written for it.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use reqwest::Client;

use super::{
    PATIENCE, client,
    process::{Process, folder, free_address, serve},
};

/// The gateway's process; ended when dropped.
pub(crate) struct Gateway {
    process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) folder: PathBuf,
}

/// Stands for the gateway's own folder in a config.
const FOLDER: &str = "OWN_FOLDER";
const LOGS: &str = "log: { access: OWN_FOLDER/access.jsonl, usage: OWN_FOLDER/usage.jsonl }\n";

impl Gateway {
    /// Starts the binary on free ports and waits until it is ready.
    pub(crate) async fn start(config: &str) -> Self {
        Self::start_with(config, "", &[]).await
    }

    /// The same with more for its listener, and with variables in its environment.
    pub(crate) async fn start_with(
        config: &str,
        listener: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        Self::start_with_admin(config, listener, "", ("http", client()), variables).await
    }

    /// The same with more for its admin listener, and how that is asked whether it is ready.
    pub(crate) async fn start_with_admin(
        config: &str,
        listener: &str,
        guard: &str,
        (scheme, http): (&str, Client),
        variables: &[(&str, &str)],
    ) -> Self {
        let (address, admin) = (free_address(), free_address());
        let folder = folder();
        let place = folder.display().to_string();
        let config = config.replace(FOLDER, &place);
        let listeners = format!(
            "listeners: [{{ address: \"{address}\"{listener} }}]\nadmin: {{ address: \"{admin}\"{guard} }}\n"
        );
        let log = if config.contains("\nlog:") {
            "# The test says where logs go.\n".to_owned()
        } else {
            LOGS.replace(FOLDER, &place)
        };
        let file = folder.join("forebay.yaml");
        fs::write(&file, format!("{listeners}{log}{config}")).unwrap();
        let mut serve = serve(&file);
        serve.envs(variables.iter().copied());
        serve.stderr(File::create(folder.join("stderr")).unwrap());
        let mut gateway = Self {
            process: Process::start(&mut serve).unwrap(),
            address,
            admin,
            folder,
        };
        gateway.wait_until_ready(scheme, &http).await;
        gateway
    }

    /// What it was started with, but for its listeners and its log.
    pub(crate) fn config(&self) -> String {
        let text = fs::read_to_string(self.folder.join("forebay.yaml")).unwrap();
        text.lines()
            .skip(3)
            .map(|line| format!("{line}\n"))
            .collect()
    }

    async fn wait_until_ready(&mut self, scheme: &str, http: &Client) {
        let url = format!("{scheme}://localhost:{}/health/ready", self.admin.port());
        let give_up = Instant::now() + PATIENCE;
        loop {
            // Its listeners answer from then on; whether a model can be served is some tests' own matter.
            if let Ok(answer) = http.get(&url).send().await
                && answer.text().await.is_ok_and(|text| text != "starting\n")
            {
                return;
            }
            let ended = self.process.ended();
            assert!(
                ended.is_none() && Instant::now() < give_up,
                "{ended:?}: {}",
                self.stderr()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal, by its name as in `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        let kill = kill.arg(format!("-{name}")).arg(self.pid().to_string());
        assert!(kill.status().unwrap().success());
    }

    /// Ends it at once, and waits until all it says is said.
    pub(crate) fn end(&mut self) {
        let give_up = Instant::now() + PATIENCE;
        while self.ended().is_none() {
            // The first begins a drain, and one behind that ends it.
            self.signal("INT");
            assert!(Instant::now() < give_up, "an interrupt did not end it");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.process.kill();
        if std::thread::panicking() {
            eprintln!("the gateway said:\n{}", self.stderr());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
