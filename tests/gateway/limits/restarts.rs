//! What a restart, a kill, a broken file and a full disk leave of what was counted.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{bounded, limited, remaining, send};
use crate::{
    house::{Gateway, House, comes_true, eventually, folder},
    namespace::{assert_inside, run, run_inside},
};

const MONTH: u64 = 1_000_000_000;

/// A folder for the counters, gone when dropped.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        Self(folder())
    }

    fn file(&self) -> PathBuf {
        self.0.join("counters.redb")
    }

    async fn house(&self) -> House {
        let more = limited(&format!(
            "tokens_per_month: {MONTH}, tokens_per_hour: {MONTH}"
        )) + &format!("counters: {{ file: \"{}\" }}\n", self.file().display());
        House::open_with(&[("a", 1, 1)], &more).await
    }

    /// What was set aside.
    fn set_aside(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(&self.0).unwrap().map(|it| it.unwrap().path());
        all.filter(|path| path.to_string_lossy().contains(".corrupt-"))
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn used(house: &House) -> u64 {
    MONTH - remaining(house, "tokens_per_month").await.unwrap()
}

/// Spends something, and says how much is spent once the request is settled.
async fn spend(house: &House) -> u64 {
    let before = used(house).await;
    let answer = send(house, &bounded(20)).await;
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap();
    // Until then what is reserved counts.
    comes_true("it is settled", async || {
        house
            .metrics()
            .await
            .contains("forebay_requests_inflight 0\n")
    })
    .await;
    let now = used(house).await;
    assert!(now > before, "{before}, then {now}");
    now
}

fn written(file: &Path) -> SystemTime {
    fs::metadata(file).unwrap().modified().unwrap()
}

async fn again(house: &mut House) {
    let config = house.gateway.config();
    house.gateway = Gateway::start(&config).await;
}

#[tokio::test]
async fn what_was_spent_is_there_after_a_restart() {
    let place = Place::new();
    let mut house = place.house().await;
    for signal in ["INT", "TERM"] {
        spend(&house).await;
        let spent = spend(&house).await;
        house.gateway.signal(signal);
        eventually("it drains", || house.gateway.stderr().contains("draining")).await;
        house.gateway.end();
        again(&mut house).await;
        assert_eq!(used(&house).await, spent, "{signal}");
    }
    assert_eq!(place.set_aside(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_what_was_not_written_yet_and_nothing_else() {
    let place = Place::new();
    let mut house = place.house().await;
    for round in 0..8 {
        let sure = spend(&house).await;
        let (at, mut most, mut sent) = (SystemTime::now(), sure, 0);
        // It may be written already: then nothing else is until more is spent.
        while written(&place.file()) <= at {
            most = spend(&house).await;
        }
        // The write that changed the file is over when a second one has come.
        let sure_at = written(&place.file());
        while written(&place.file()) <= sure_at || sent < round % 3 {
            most = spend(&house).await;
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..300))).await;
        house.gateway.signal("KILL");
        eventually("it is dead", || house.gateway.ended().is_some()).await;
        again(&mut house).await;
        let found = used(&house).await;
        assert!(
            (sure..=most).contains(&found),
            "{found} of {sure} to {most}"
        );
    }
    assert_eq!(place.set_aside(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_file_that_can_not_be_read_is_set_aside_and_said() {
    let place = Place::new();
    let mut house = place.house().await;
    spend(&house).await;
    house.gateway.end();
    let whole = fs::read(place.file()).unwrap();
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
        for aside in place.set_aside() {
            fs::remove_file(aside).unwrap();
        }
        fs::write(place.file(), &bytes).unwrap();
        again(&mut house).await;
        let aside = place.set_aside();
        assert_eq!(aside.len(), 1, "{what}");
        assert_eq!(fs::read(&aside[0]).unwrap().len(), bytes.len(), "{what}");
        assert!(house.gateway.stderr().contains("was set aside"), "{what}");
        assert!(
            house
                .metrics()
                .await
                .contains("forebay_limit_stores_set_aside_total 1"),
            "{what}"
        );
        assert_eq!(used(&house).await, 0, "{what}");
        let spent = spend(&house).await;
        house.gateway.end();
        again(&mut house).await;
        assert_eq!(used(&house).await, spent, "{what}");
        house.gateway.end();
    }
}

#[tokio::test]
async fn bits_that_fell_over_keep_no_gateway_from_serving() {
    let place = Place::new();
    let mut house = place.house().await;
    spend(&house).await;
    house.gateway.end();
    let whole = fs::read(place.file()).unwrap();
    for round in 0..12 {
        let mut bytes = whole.clone();
        for _ in 0..=round {
            // Most of it is where the database has something.
            let at = fastrand::usize(..bytes.len().min(40_000));
            bytes[at] ^= 1 << fastrand::u8(0..8);
        }
        fs::write(place.file(), &bytes).unwrap();
        again(&mut house).await;
        spend(&house).await;
        house.gateway.end();
    }
}

#[tokio::test]
async fn two_gateways_do_not_share_a_file() {
    let place = Place::new();
    let house = place.house().await;
    let config = house.gateway.folder.join("second.yaml");
    let text = fs::read_to_string(house.gateway.folder.join("forebay.yaml")).unwrap();
    let text = text
        .replace(&house.gateway.address.to_string(), "127.0.0.1:0")
        .replace(&house.gateway.admin.to_string(), "127.0.0.1:0");
    fs::write(&config, text).unwrap();
    let second = crate::house::forebay()
        .args(["serve", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        said.contains("counters.redb can't be opened: another process uses it"),
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
    let place = Place::new();
    run(
        "mount",
        &format!("-t tmpfs -o size=8m tmpfs {}", place.0.display()),
    );
    // Where the file is there already, it may find room within itself.
    for is_there in [false, true] {
        let filler = place.0.join("filler");
        let mut house = match is_there {
            true => {
                let house = place.house().await;
                fill(&filler);
                house
            }
            false => {
                fill(&filler);
                place.house().await
            }
        };
        let before = used(&house).await;
        spend(&house).await;
        if !is_there {
            comes_true("the failure is counted", async || {
                let page = house.metrics().await;
                let mut lines = page.lines();
                lines.any(|line| {
                    let count = line.strip_prefix("forebay_limit_store_failures_total ");
                    count.is_some_and(|count| count != "0")
                })
            })
            .await;
            let alarm = "can't be written to counters.file";
            assert!(house.gateway.stderr().contains(alarm));
        }
        let spent = spend(&house).await;
        assert!(spent > before);
        fs::remove_file(&filler).unwrap();
        if !is_there {
            let again = "what clients have spent is kept again";
            eventually("it is written again", || {
                house.gateway.stderr().contains(again)
            })
            .await;
        }
        house.gateway.end();
        again(&mut house).await;
        assert_eq!(used(&house).await, spent);
        assert_eq!(place.set_aside(), Vec::<PathBuf>::new());
        house.gateway.end();
    }
    run("umount", &place.0.display().to_string());
}

/// Leaves not a byte of room.
fn fill(filler: &Path) {
    let mut file = fs::File::create(filler).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}
