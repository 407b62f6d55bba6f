//! What a restart, a kill, a broken file and a full disk leave of what was counted.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{bounded, limited, remaining, send};
use crate::{
    harness::{Gateway, Harness, eventually, eventually_async, folder, forebay, output_of},
    namespace::{assert_inside, run, run_inside},
};

const MONTH: u64 = 1_000_000_000;

/// A folder for the counters, gone when dropped.
struct CountersFolder(PathBuf);

impl CountersFolder {
    fn new() -> Self {
        Self(folder())
    }

    fn file(&self) -> PathBuf {
        self.0.join("counters.redb")
    }

    async fn harness(&self) -> Harness {
        let more = limited(&format!(
            "tokens_per_month: {MONTH}, tokens_per_hour: {MONTH}"
        )) + &format!("counters: {{ file: \"{}\" }}\n", self.file().display());
        Harness::open_with(&[("a", 1, 1)], &more).await
    }

    /// What was set aside.
    fn set_aside(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(&self.0).unwrap().map(|it| it.unwrap().path());
        all.filter(|path| path.to_string_lossy().contains(".corrupt-"))
            .collect()
    }
}

impl Drop for CountersFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn used(harness: &Harness) -> u64 {
    MONTH - remaining(harness, "tokens_per_month").await.unwrap()
}

/// Spends something, and says how much is spent once the request is settled.
async fn spend(harness: &Harness) -> u64 {
    let before = used(harness).await;
    let answer = send(harness, &bounded(20)).await;
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap();
    // Until then what is reserved counts.
    eventually_async("it is settled", async || {
        harness
            .metrics()
            .await
            .contains("forebay_requests_inflight 0\n")
    })
    .await;
    let now = used(harness).await;
    assert!(now > before, "{before}, then {now}");
    now
}

fn written(file: &Path) -> SystemTime {
    fs::metadata(file).unwrap().modified().unwrap()
}

async fn again(harness: &mut Harness) {
    let config = harness.gateway.config();
    harness.gateway = Gateway::start(&config).await;
}

#[tokio::test]
async fn what_was_spent_is_there_after_a_restart() {
    let folder = CountersFolder::new();
    let mut harness = folder.harness().await;
    for signal in ["INT", "TERM"] {
        spend(&harness).await;
        let spent = spend(&harness).await;
        harness.gateway.signal(signal);
        eventually("it drains", || {
            harness.gateway.stderr().contains("drain started")
        })
        .await;
        harness.gateway.end();
        again(&mut harness).await;
        assert_eq!(used(&harness).await, spent, "{signal}");
    }
    assert_eq!(folder.set_aside(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_what_was_not_written_yet_and_nothing_else() {
    let folder = CountersFolder::new();
    let mut harness = folder.harness().await;
    for round in 0..8 {
        let sure = spend(&harness).await;
        let (at, mut most, mut sent) = (SystemTime::now(), sure, 0);
        // It may be written already: then nothing else is until more is spent.
        while written(&folder.file()) <= at {
            most = spend(&harness).await;
        }
        // The write that changed the file is over when a second one has come.
        let sure_at = written(&folder.file());
        while written(&folder.file()) <= sure_at || sent < round % 3 {
            most = spend(&harness).await;
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..300))).await;
        harness.gateway.signal("KILL");
        eventually("it is dead", || harness.gateway.ended().is_some()).await;
        again(&mut harness).await;
        let found = used(&harness).await;
        assert!(
            (sure..=most).contains(&found),
            "{found} of {sure} to {most}"
        );
    }
    assert_eq!(folder.set_aside(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_file_that_can_not_be_read_is_set_aside_and_said() {
    let folder = CountersFolder::new();
    let mut harness = folder.harness().await;
    spend(&harness).await;
    harness.gateway.end();
    let whole = fs::read(folder.file()).unwrap();
    let broken: [(&str, Vec<u8>); 4] = [
        ("no database", b"this is no database\n".repeat(500)),
        ("zeros", vec![0; whole.len()]),
        ("cut", whole[..whole.len() / 3].to_vec()),
        (
            "a head that lies",
            [&whole[..64], &vec![0xff; whole.len() - 64]].concat(),
        ),
    ];
    for (what, bytes) in broken {
        for aside in folder.set_aside() {
            fs::remove_file(aside).unwrap();
        }
        fs::write(folder.file(), &bytes).unwrap();
        again(&mut harness).await;
        let aside = folder.set_aside();
        assert_eq!(aside.len(), 1, "{what}");
        assert_eq!(fs::read(&aside[0]).unwrap().len(), bytes.len(), "{what}");
        assert!(harness.gateway.stderr().contains("was renamed"), "{what}");
        assert!(
            harness
                .metrics()
                .await
                .contains("forebay_limit_stores_set_aside_total 1"),
            "{what}"
        );
        assert_eq!(used(&harness).await, 0, "{what}");
        let spent = spend(&harness).await;
        harness.gateway.end();
        again(&mut harness).await;
        assert_eq!(used(&harness).await, spent, "{what}");
        harness.gateway.end();
    }
}

#[tokio::test]
async fn bits_that_fell_over_keep_no_gateway_from_serving() {
    let folder = CountersFolder::new();
    let mut harness = folder.harness().await;
    spend(&harness).await;
    harness.gateway.end();
    let whole = fs::read(folder.file()).unwrap();
    for round in 0..12 {
        let mut bytes = whole.clone();
        for _ in 0..=round {
            // Most of it is where the database has something.
            let at = fastrand::usize(..bytes.len().min(40_000));
            bytes[at] ^= 1 << fastrand::u8(0..8);
        }
        fs::write(folder.file(), &bytes).unwrap();
        again(&mut harness).await;
        spend(&harness).await;
        harness.gateway.end();
    }
}

#[tokio::test]
async fn two_gateways_do_not_share_a_file() {
    let folder = CountersFolder::new();
    let harness = folder.harness().await;
    let config = harness.gateway.folder.join("second.yaml");
    let text = fs::read_to_string(harness.gateway.folder.join("forebay.yaml")).unwrap();
    let text = text
        .replace(&harness.gateway.address.to_string(), "127.0.0.1:0")
        .replace(&harness.gateway.admin.to_string(), "127.0.0.1:0");
    fs::write(&config, text).unwrap();
    let mut second = forebay();
    let (code, _, said) = output_of(second.args(["serve", "--config"]).arg(&config));
    assert_ne!(code, Some(0));
    assert!(
        said.contains("can't open counters.file ")
            && said.contains("counters.redb: another process has it open"),
        "{said}"
    );
}

#[test]
fn a_full_disk_holds_no_request_up_and_what_was_spent_meanwhile_is_written_later() {
    let inside = "limits::restarts::inside_a_mount_of_its_own_the_disk_is_full";
    run_inside(&["--mount"], inside);
}

#[tokio::test]
#[ignore = "runs inside the mount namespace that the test above makes"]
async fn inside_a_mount_of_its_own_the_disk_is_full() {
    assert_inside();
    let folder = CountersFolder::new();
    run(
        "mount",
        &format!("-t tmpfs -o size=8m tmpfs {}", folder.0.display()),
    );
    // Where the file is there already, it may find room within itself.
    for is_there in [false, true] {
        let filler = folder.0.join("filler");
        let mut harness = if is_there {
            let harness = folder.harness().await;
            fill(&filler);
            harness
        } else {
            fill(&filler);
            folder.harness().await
        };
        let before = used(&harness).await;
        spend(&harness).await;
        if !is_there {
            eventually_async("the failure is counted", async || {
                let page = harness.metrics().await;
                let mut lines = page.lines();
                lines.any(|line| {
                    let count = line.strip_prefix("forebay_limit_store_failures_total ");
                    count.is_some_and(|count| count != "0")
                })
            })
            .await;
            let alarm = "could not write counters.file";
            assert!(harness.gateway.stderr().contains(alarm));
        }
        let spent = spend(&harness).await;
        assert!(spent > before);
        fs::remove_file(&filler).unwrap();
        if !is_there {
            let again = "counters.file can be written again";
            eventually("it is written again", || {
                harness.gateway.stderr().contains(again)
            })
            .await;
        }
        harness.gateway.end();
        again(&mut harness).await;
        assert_eq!(used(&harness).await, spent);
        assert_eq!(folder.set_aside(), Vec::<PathBuf>::new());
        harness.gateway.end();
    }
    run("umount", &folder.0.display().to_string());
}

/// Leaves not a byte of room.
fn fill(filler: &Path) {
    let mut file = fs::File::create(filler).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}
