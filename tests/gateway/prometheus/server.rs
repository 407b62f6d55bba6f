//! Debian's Prometheus, as a process of the test's own, with our configuration and our rules: only faster.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

use reqwest::Client;
use serde_json::Value;

use super::{conf, text};
use crate::harness::{Process, client, eventually_async, folder, free_address};

pub(super) struct Prometheus {
    process: Process,
    address: SocketAddr,
    folder: PathBuf,
    http: Client,
}

impl Prometheus {
    /// Scrapes the gateway at `admin`, whose readers show `token`.
    pub(super) async fn start(admin: SocketAddr, token: &str) -> Self {
        let (address, folder) = (free_address(), folder());
        let secret = folder.join("token");
        fs::write(&secret, token).unwrap();
        let config = text("prometheus.yaml");
        let config = replaced(&config, "scrape_interval: 15s", "scrape_interval: 1s");
        let config = replaced(
            &config,
            "evaluation_interval: 15s",
            "evaluation_interval: 1s",
        );
        let config = replaced(&config, "127.0.0.1:9090\"]\n", &format!("{admin}\"]\n"));
        let secret = secret.display().to_string();
        let config = replaced(&config, "# authorization:", "authorization:");
        let config = replaced(&config, "/etc/prometheus/forebay-admin-token", &secret);
        fs::write(folder.join("prometheus.yaml"), config).unwrap();
        fs::copy(conf().join("recording.yaml"), folder.join("recording.yaml")).unwrap();
        // An alert waits for minutes; here for seconds, and nothing else of it is another.
        let alerts = text("alerts.yaml");
        let alerts = alerts.lines().map(|line| {
            if line.trim().starts_with("for: ") {
                "        for: 2s\n".to_owned()
            } else {
                format!("{line}\n")
            }
        });
        fs::write(folder.join("alerts.yaml"), alerts.collect::<String>()).unwrap();
        let mut process = Command::new("prometheus");
        process
            .arg("--config.file=prometheus.yaml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("stderr")).unwrap());
        let process = Process::start(&mut process);
        let process =
            process.expect("prometheus is needed: `apt-get install prometheus` brings it");
        let http = client();
        let started = Self {
            process,
            address,
            folder,
            http,
        };
        eventually_async("Prometheus is ready", async || {
            let answer = started.http.get(format!("http://{address}/-/ready")).send();
            answer
                .await
                .is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        started
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = format!("http://{}{path}", self.address);
        let url = url::Url::parse_with_params(&url, query).unwrap();
        let answer: Value = self
            .http
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(answer["status"], "success", "{query:?}: {answer}");
        answer["data"].clone()
    }

    /// What an expression says now: labels and value of each series.
    pub(super) async fn ask(&self, expr: &str) -> Vec<(Value, f64)> {
        let data = self.get("/api/v1/query", &[("query", expr)]).await;
        let series = data["result"].as_array().unwrap().clone();
        let value = |it: &Value| it["value"][1].as_str().unwrap().parse().unwrap();
        series
            .iter()
            .map(|it| (it["metric"].clone(), value(it)))
            .collect()
    }

    /// Waits until it has scraped the gateway twice more: then it knows of all that was done before.
    pub(super) async fn scrapes(&self) {
        let count = r#"count_over_time(up{job="forebay"}[1h])"#;
        let scraped = async || self.ask(count).await.first().map_or(0.0, |it| it.1);
        let before = scraped().await;
        eventually_async("Prometheus scrapes", async || {
            scraped().await >= before + 2.0
        })
        .await;
    }

    pub(super) async fn rules(&self) -> Vec<Value> {
        let data = self.get("/api/v1/rules", &[]).await;
        let groups = data["groups"].as_array().unwrap().clone();
        let rules = groups
            .iter()
            .map(|group| group["rules"].as_array().unwrap());
        rules.flatten().cloned().collect()
    }

    /// The alerts of this name that wait or fire.
    pub(super) async fn alerts(&self, name: &str) -> Vec<Value> {
        let data = self.get("/api/v1/alerts", &[]).await;
        let alerts = data["alerts"].as_array().unwrap().iter();
        let these = alerts.filter(|alert| alert["labels"]["alertname"] == name);
        these.cloned().collect()
    }

    pub(super) async fn fires(&self, name: &str) -> Value {
        eventually_async(&format!("{name} fires"), async || {
            let alerts = self.alerts(name).await;
            alerts.iter().any(|alert| alert["state"] == "firing")
        })
        .await;
        self.alerts(name).await.remove(0)
    }
}

/// What stands there once is another.
fn replaced(text: &str, part: &str, other: &str) -> String {
    assert_eq!(text.matches(part).count(), 1, "{part}");
    text.replace(part, other)
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill();
        if std::thread::panicking() {
            let said = fs::read_to_string(self.folder.join("stderr")).unwrap_or_default();
            let errors = said.lines().filter(|line| !line.contains("level=info"));
            eprintln!(
                "Prometheus said:\n{}",
                errors.collect::<Vec<_>>().join("\n")
            );
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
