//! The limit of open files: raised at the start, and nobody else's fault when it is reached.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::{
    harness::{Gateway, Process, eventually, eventually_async, forebay, free_address},
    http1_client::{RawConnection, good_chat},
    metrics_page,
    scripted_upstream::ScriptedUpstream,
};

/// Sets the limit of a process that runs, or the soft one alone.
pub(crate) fn limit(gateway: &Gateway, limit: &str) {
    let mut prlimit = Command::new("prlimit");
    let pid = format!("--pid={}", gateway.pid());
    assert!(
        prlimit
            .arg(pid)
            .arg(format!("--nofile={limit}"))
            .status()
            .unwrap()
            .success()
    );
}

fn open(gateway: &Gateway) -> usize {
    fs::read_dir(format!("/proc/{}/fd", gateway.pid()))
        .unwrap()
        .count()
}

/// The soft limit of a process, and its hard one.
fn limits(pid: u32) -> [String; 2] {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let mut lines = limits.lines();
    let line = lines.find(|line| line.starts_with("Max open files"));
    let words = line.unwrap().split_whitespace();
    let mut numbers = words.filter(|word| word.parse::<u64>().is_ok());
    [(); 2].map(|()| numbers.next().unwrap().to_owned())
}

#[tokio::test]
async fn a_gateway_takes_as_many_open_files_as_it_may() {
    let (_upstream, harness) = ScriptedUpstream::harness("").await;
    let [_, hard] = limits(harness.gateway.pid());
    let most = metrics_page::value(&harness.metrics().await, "process_max_fds");
    assert_eq!(most.to_string(), hard);

    // Wherever it is started with a lower soft limit.
    let folder = &harness.gateway.folder;
    let (file, said) = (folder.join("second.yaml"), folder.join("second.stderr"));
    let [address, admin] = [(); 2].map(|()| free_address());
    let listeners =
        format!("listeners: [{{ address: \"{address}\" }}]\nadmin: {{ address: \"{admin}\" }}\n");
    fs::write(&file, listeners + &harness.gateway.config()).unwrap();
    let mut second = Command::new("prlimit");
    second.arg("--nofile=512:").arg(forebay().get_program());
    second.args(["serve", "--config"]).arg(&file);
    second.stdout(Stdio::null());
    second.stderr(fs::File::create(&said).unwrap());
    let second = Process::start(&mut second).unwrap();
    eventually("it has started", || {
        fs::read_to_string(&said)
            .unwrap()
            .contains("gateway_started")
    })
    .await;
    let raised = limits(second.id());
    drop(second);
    assert_eq!(raised, [hard.clone(), hard]);
}

#[tokio::test]
async fn a_gateway_out_of_open_files_blames_no_deployment_and_names_what_is_wanting() {
    let (_upstream, harness) = ScriptedUpstream::harness("").await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    // A head that waits, so that its connection is there already.
    let request = good_chat();
    let (start, rest) = request.split_at(10);
    wire.send(start).await;
    eventually_async("its connection is taken", async || {
        let series = format!(
            "forebay_connections{{listener=\"{}\"}}",
            harness.gateway.address
        );
        metrics_page::value(&harness.metrics().await, &series) >= 1.0
    })
    .await;
    limit(
        &harness.gateway,
        &format!("{}:", open(&harness.gateway).saturating_sub(8)),
    );
    wire.send(rest).await;
    let answer = wire.answer().await.unwrap();
    assert_eq!(answer.status, 503, "{:?}", String::from_utf8(answer.body));
    limit(&harness.gateway, "4096:");
    let line = &harness.log(1).await[0];
    for attempt in line["attempts"].as_array().unwrap() {
        assert_eq!(attempt["outcome"], "own_limit", "{line}");
    }
    eventually("it is named", || {
        harness.gateway.stderr().contains("out of open files")
    })
    .await;
    let log = harness.gateway.stderr();
    assert!(!log.contains("could not connect to the instance"), "{log}");
    let status = harness.status().await;
    for deployment in status["models"][0]["deployments"].as_array().unwrap() {
        assert_eq!(deployment["state"], "closed", "{status}");
    }
    let mut again = RawConnection::open(harness.gateway.address).await;
    again.send(good_chat()).await;
    _upstream.call().await.answer("200 OK", b"{}").await;
    assert_eq!(again.answer().await.unwrap().status, 200);
}
