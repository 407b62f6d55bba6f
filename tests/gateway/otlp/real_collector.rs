//! A real collector between the gateway and the test: rotel, which knows nothing of the gateway.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::{PROTOCOLS, TWO, collector::Collector, otlp, spans, told};
use crate::harness::{Harness, Process, eventually, folder, free_address, throttle};

/// Its process; ended when dropped.
struct Rotel {
    process: Process,
    grpc: SocketAddr,
    http: SocketAddr,
    folder: PathBuf,
}

impl Rotel {
    /// One that passes on all it gets.
    fn before(collector: &Collector) -> Self {
        let (grpc, http, folder) = (free_address(), free_address(), folder());
        let mut rotel = Command::new(program());
        rotel
            .arg("start")
            .args(["--exporter", "otlp", "--otlp-exporter-protocol", "http"])
            .args([
                "--otlp-exporter-endpoint",
                &format!("http://{}", collector.address),
            ])
            .args(["--otlp-grpc-endpoint", &grpc.to_string()])
            .args(["--otlp-http-endpoint", &http.to_string()])
            .args(["--batch-timeout", "100ms"])
            .args(["--pid-file", &folder.join("pid").display().to_string()])
            .args(["--log-file", &folder.join("log").display().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            process: Process::start(&mut rotel).unwrap(),
            grpc,
            http,
            folder,
        }
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        self.process.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Where it is; brought from the registry if it isn't there.
fn program() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let script = Command::new("bash")
        .arg(root.join("tests/rotel"))
        .arg(target.join("rotel"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&script.stderr);
    assert!(
        script.status.success(),
        "tests/rotel brings no collector: {said}"
    );
    String::from_utf8(script.stdout).unwrap().trim().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_collector_takes_spans_and_metrics_over_grpc_and_over_http() {
    for protocol in PROTOCOLS {
        let collector = Collector::open().await;
        let rotel = Rotel::before(&collector);
        let address = match protocol {
            "grpc" => rotel.grpc,
            _ => rotel.http,
        };
        eventually("rotel listens", || {
            std::net::TcpStream::connect(address).is_ok()
        })
        .await;
        let more = "  metrics: { interval: 200ms }\n";
        let config = otlp(&format!("http://{address}"), protocol, more);
        let harness = Harness::open_with(&TWO, &config).await;
        harness.fault("first", throttle(60.0));
        assert_eq!(harness.chat().await.status(), 200);

        let spans = spans(&collector, 3).await;
        let request = spans
            .iter()
            .find(|span| span.name == "chat gpt-4o")
            .unwrap();
        for instance in ["first", "second"] {
            let name = format!("attempt {instance}/{instance}-gpt-4o");
            let attempt = spans.iter().find(|span| span.name == name).unwrap();
            assert_eq!(attempt.parent_span_id, request.span_id);
            let ours = (
                hex::encode(&attempt.trace_id),
                hex::encode(&attempt.span_id),
            );
            assert_eq!(told(&harness, instance), [ours]);
        }
        eventually("the metrics have come through", || {
            let model = ("gen_ai.request.model", "gpt-4o");
            collector.count("gen_ai.client.operation.duration", model) == 1.0
                && collector.count("forebay_requests_total", ("code", "200")) == 1.0
        })
        .await;
        let metrics = harness.metrics().await;
        assert!(
            !metrics.contains("forebay_otlp_failures_total{signal=\"traces\"} 1"),
            "{metrics}"
        );
    }
}
