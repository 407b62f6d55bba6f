//! What an operator does with the gateway: its command line, its pages, its end, the memory it takes.

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::time::timeout;

use crate::{
    command_line::run,
    harness::{
        CHAT, Gateway, Harness, KEY, chat, client, eventually, exit_and_output, folder,
        free_address, status, streamed,
    },
    http1_client::{RawConnection, good_chat, post},
};

#[test]
fn a_mistake_on_the_command_line_is_told_in_one_line() {
    for (arguments, word) in [
        (&["serve", "--confg", "x"][..], "--confg"),
        (&["serve"], "--config"),
        (&["serve", "--config"], "--config"),
        (&["sreve"], "sreve"),
        (&[], "command"),
        (&["demo", "--port", "eighty"], "eighty"),
        (&["demo", "--port", "70000"], "70000"),
        (&["check", "--config", "a", "b"], "b"),
        (&["schema", "--pretty"], "--pretty"),
        (&["hash-key", "a-key"], "a-key"),
    ] {
        let (code, out, err) = exit_and_output(&run(arguments, ""));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(
            err.lines().count() == 1 && err.ends_with('\n') && err.contains(word),
            "{arguments:?}: {err:?}"
        );
    }
    let (code, out, err) = exit_and_output(&run(&["--help"], ""));
    assert!(
        code == Some(0) && out.contains("hash-key") && err.is_empty(),
        "{out}{err}"
    );
    assert_eq!(
        exit_and_output(&run(&["--version"], "")).1,
        format!("forebay {}\n", env!("CARGO_PKG_VERSION"))
    );
}

const CONFIG: &str = "identities: { key: { api_key: k } }\ninstances: { one: { endpoint: \"http://127.0.0.1:1\", identity: key } }\n\
    models: { gpt-4o: { deployments: [{ instance: one }] } }\nanonymous: true\n";

#[test]
fn check_says_where_each_mistake_is() {
    let folder = folder();
    let file = folder.join("forebay.yaml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        exit_and_output(&run(&["check", "--config", file.to_str().unwrap()], ""))
    };
    let good = format!("listeners: [{{ address: \"127.0.0.1:8080\" }}]\n{CONFIG}");
    let (code, out, err) = check(&good);
    assert!(code == Some(0) && out.contains("no errors"), "{out}{err}");

    let bad = good
        .replace("endpoint:", "endpont:")
        .replace("instance: one", "instance: two");
    let (code, out, err) = check(&bad);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    for place in [":3:21: ", ":4:47: "] {
        assert!(
            err.lines()
                .any(|line| line.starts_with(file.to_str().unwrap()) && line.contains(place)),
            "{place}: {err}"
        );
    }
    let (code, _, err) = exit_and_output(&run(&["check", "--config", "no-such-file.yaml"], ""));
    assert!(
        code == Some(1) && err.contains("no-such-file.yaml") && err.lines().count() == 1,
        "{err}"
    );
    // What does not pass is not served either.
    fs::write(&file, &bad).unwrap();
    let (code, _, err) = exit_and_output(&run(&["serve", "--config", file.to_str().unwrap()], ""));
    assert!(code == Some(1) && err.contains(":4:47: "), "{err}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_schema_is_json() {
    let (code, out, err) = exit_and_output(&run(&["schema"], ""));
    let schema: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        schema["$schema"].is_string() && schema["properties"]["listeners"].is_object(),
        "{schema}"
    );
}

#[tokio::test]
async fn a_hashed_key_lets_its_key_in() {
    const KEY: &str = "0123456789abcdef-a-new-key";
    let (code, hash, err) = exit_and_output(&run(&["hash-key"], &format!("{KEY}\n")));
    assert_eq!((code, err.as_str(), hash.lines().count()), (Some(0), "", 1));
    let more = format!("  new: {{ keys: [\"{}\"], models: [\"*\"] }}", hash.trim());
    let harness = Harness::open_with(&[("only", 1, 1)], &more).await;
    let ask = |key: &'static str| {
        harness
            .http
            .post(harness.url(CHAT))
            .bearer_auth(key)
            .json(&chat())
            .send()
    };
    assert_eq!(ask(KEY).await.unwrap().status(), 200);
    assert_eq!(
        ask("0123456789abcdef-a-new-kez").await.unwrap().status(),
        401
    );
    assert_eq!(harness.log(2).await[0]["client"], "new");
    for bad in ["", "\n", "two words", "é"] {
        let (code, out, err) = exit_and_output(&run(&["hash-key"], bad));
        assert!(
            code == Some(1) && out.is_empty() && err.lines().count() == 1,
            "{bad:?}: {out}{err}"
        );
    }
}

#[tokio::test]
async fn a_generated_key_is_told_once_and_lets_in() {
    let (code, out, err) = exit_and_output(&run(&["hash-key", "--generate"], ""));
    assert_eq!((code, out.lines().count()), (Some(0), 2), "{out}{err}");
    let word = |label: &str| {
        out.lines()
            .find_map(|line| Some(line.strip_prefix(label)?.trim()))
    };
    let (key, hash) = (word("key ").unwrap(), word("hash ").unwrap());
    assert!(
        key.starts_with("fbk_") && !err.contains(key) && err.contains("not stored anywhere"),
        "{err}"
    );
    let more = format!("  new: {{ keys: [\"{hash}\"], models: [\"*\"] }}");
    let harness = Harness::open_with(&[("only", 1, 1)], &more).await;
    let request = harness.http.post(harness.url(CHAT)).bearer_auth(key);
    assert_eq!(request.json(&chat()).send().await.unwrap().status(), 200);
    let (_, another, _) = exit_and_output(&run(&["hash-key", "--generate"], ""));
    assert!(!another.contains(key));
    // A short one is hashed too, and warned of.
    let (code, out, err) = exit_and_output(&run(&["hash-key"], "demo"));
    assert!(
        code == Some(0) && out.starts_with("sha256:2a97516c") && err.contains("128 bits"),
        "{out}{err}"
    );
}

#[test]
fn a_port_that_is_taken_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, free, folder) = (holder.local_addr().unwrap(), free_address(), folder());
    let file = folder.join("forebay.yaml");
    for (listener, admin) in [(taken, free), (free, taken)] {
        fs::write(&file, format!("listeners: [{{ address: \"{listener}\" }}]\nadmin: {{ address: \"{admin}\" }}\n{CONFIG}")).unwrap();
        let (code, _, err) =
            exit_and_output(&run(&["serve", "--config", file.to_str().unwrap()], ""));
        assert!(code == Some(1) && err.contains(&taken.to_string()), "{err}");
    }
    fs::remove_dir_all(folder).unwrap();
    let (taken, free) = (taken.port().to_string(), free.port().to_string());
    for ports in [[&taken, &free], [&free, &taken]] {
        let (code, _, err) = exit_and_output(&run(
            &["demo", "--port", ports[0], "--admin-port", ports[1]],
            "",
        ));
        assert!(
            code == Some(1)
                && err.contains(&taken)
                && err.contains("--port")
                && err.contains("--admin-port"),
            "{err}"
        );
    }
}

/// Requests of all kinds, so that every metric has something to say.
async fn load(harness: &Harness) {
    harness.fault(
        "a",
        status(
            429,
            &[
                ("retry-after", "60"),
                ("x-ratelimit-remaining-tokens", "7"),
                ("azure-openai-deployment-utilization", "3.5%"),
            ],
        ),
    );
    for body in [chat(), streamed()] {
        for _ in 0..20 {
            let _ = harness
                .post(CHAT)
                .json(&body)
                .send()
                .await
                .unwrap()
                .bytes()
                .await;
        }
    }
    let _ = harness.post("/nothing").send().await.unwrap();
    harness.fault("b", status(500, &[]));
    assert_eq!(harness.chat().await.status(), 503);
}

#[tokio::test]
async fn prometheus_own_tool_finds_nothing_to_say_about_the_metrics() {
    let harness = Harness::open(&[("a", 1, 1), ("b", 2, 1)]).await;
    load(&harness).await;
    let page = harness.metrics().await;
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool =
        promtool.expect("promtool is needed: `apt-get install prometheus` brings it");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let (code, out, err) = exit_and_output(&promtool.wait_with_output().unwrap());
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (Some(0), "", ""),
        "{page}"
    );
}

#[tokio::test]
async fn status_says_what_happened() {
    let harness = Harness::open(&[("a", 1, 1), ("b", 2, 1)]).await;
    load(&harness).await;
    let page = harness.status().await;
    assert_eq!(
        (&page["phase"], &page["version"]),
        (&"serving".into(), &env!("CARGO_PKG_VERSION").into())
    );
    let pool = &page["models"][0];
    assert_eq!(pool["model"], "gpt-4o");
    let (a, b) = (&pool["deployments"][0], &pool["deployments"][1]);
    assert_eq!(
        (&a["instance"], &a["available"], &a["last"]["outcome"]),
        (&"a".into(), &false.into(), &"throttled".into()),
        "{page}"
    );
    assert!(
        a["retry_in_seconds"]
            .as_f64()
            .is_some_and(|left| (40.0..=60.0).contains(&left)),
        "{page}"
    );
    assert_eq!(
        (&b["deployment"], &b["inflight"], &b["last"]["outcome"]),
        (&"b-gpt-4o".into(), &0.into(), &"fault_status".into()),
        "{page}"
    );
    let identities = page["identities"].as_array().unwrap();
    assert!(
        identities
            .iter()
            .all(|identity| identity["ready"] == true && identity["failures"] == 0),
        "{page}"
    );
}

const NOTICE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_terminated_gateway_says_so_serves_on_and_ends_when_the_last_answer_has() {
    let mut harness =
        Harness::open_with(&[("only", 1, 1)], "drain: { notice: 1s, deadline: 20s }").await;
    harness.fault(
        "only",
        forebay::simulator::FaultKind::SlowBody { delay_ms: 200 },
    );
    let mut body = streamed();
    body["messages"][0]["content"] = "word ".repeat(20).into();
    let mut stream = harness.post(CHAT).json(&body).send().await.unwrap();
    let mut text = stream.chunk().await.unwrap().unwrap().to_vec();
    harness.fault("only", None);
    let mut kept = RawConnection::open(harness.gateway.address).await;
    kept.send(good_chat()).await;
    assert_eq!(kept.answer().await.unwrap().status, 200);

    harness.gateway.signal("TERM");
    let signalled = Instant::now();
    let http = client();
    loop {
        let health = http.get(harness.url("/health")).send().await.unwrap();
        if health.status() == 503 {
            break;
        }
        assert!(signalled.elapsed() < NOTICE, "health did not turn at once");
    }
    let model = http
        .get(harness.url("/health/models/gpt-4o"))
        .header("api-key", KEY)
        .send()
        .await;
    assert_eq!(model.unwrap().status(), 503);
    let ready = format!("http://{}/health/ready", harness.gateway.admin);
    assert_eq!(http.get(ready).send().await.unwrap().status(), 503);
    // During the notice requests are still taken, on old connections and on new ones.
    kept.send(good_chat()).await;
    assert_eq!(kept.answer().await.unwrap().status, 200);
    assert_eq!(harness.chat().await.status(), 200);
    assert!(signalled.elapsed() < NOTICE, "too slow a machine to say");

    while let Some(piece) = stream.chunk().await.unwrap() {
        text.extend_from_slice(&piece);
    }
    assert!(
        String::from_utf8(text)
            .unwrap()
            .ends_with("data: [DONE]\n\n")
    );
    assert!(
        signalled.elapsed() > NOTICE,
        "the stream outlived the notice"
    );
    eventually("the gateway has ended", || {
        harness.gateway.ended().is_some()
    })
    .await;
    assert_eq!(harness.gateway.ended().unwrap().code(), Some(0));
    assert!(
        signalled.elapsed() < Duration::from_secs(19),
        "it ends with its last answer, not with its deadline"
    );
    let log = harness.log(4).await;
    let streamed = log.iter().find(|line| line["stream"] == true).unwrap();
    assert_eq!(
        (&streamed["end"], &streamed["status"]),
        (&"complete".into(), &200.into())
    );
}

#[tokio::test]
async fn an_interrupted_gateway_ends_at_once() {
    let mut harness =
        Harness::open_with(&[("only", 1, 1)], "drain: { notice: 60s, deadline: 60s }").await;
    harness.fault("only", forebay::simulator::FaultKind::Hang {});
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(good_chat()).await;
    eventually("it is being served", || harness.asked("only") == 1).await;
    // Also out of a drain.
    harness.gateway.signal("TERM");
    eventually("it drains", || {
        harness.gateway.stderr().contains("drain started")
    })
    .await;
    let signalled = Instant::now();
    harness.gateway.signal("INT");
    eventually("it has ended", || harness.gateway.ended().is_some()).await;
    assert!(
        signalled.elapsed() < Duration::from_secs(5),
        "{:?}",
        signalled.elapsed()
    );
    assert!(
        timeout(Duration::from_secs(5), wire.answer())
            .await
            .unwrap()
            .is_none()
    );
}

/// `VmRSS` in KiB.
fn memory(gateway: &Gateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

#[tokio::test]
async fn an_idle_gateway_is_small_and_bad_requests_do_not_make_it_grow() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let idle = memory(&harness.gateway);
    println!("idle: {idle} KiB");
    // A debug build is larger; `FOREBAY_RELEASE` names a binary that must not be.
    if std::env::var_os("FOREBAY_RELEASE").is_some() {
        assert!(idle < 25 << 10, "{idle} KiB");
    }
    let mut wire = RawConnection::open(harness.gateway.address).await;
    let deep = format!("{{\"x\":{}", "[".repeat(100_000));
    let bad = [
        post(CHAT, "", deep),
        post(CHAT, "", "{"),
        post("/nothing", "", "{}"),
        post(CHAT, "x-y: z\r\n", "{\"model\":\"none\"}"),
    ];
    let mut round = async |requests: usize| {
        for i in 0..requests {
            wire.send(&bad[i % bad.len()]).await;
            assert!((400..500).contains(&wire.answer().await.unwrap().status));
        }
        memory(&harness.gateway)
    };
    let warm = round(400).await;
    let after = round(2000).await;
    println!("warm: {warm} KiB, after 2,000 more: {after} KiB");
    assert!(after < warm + (4 << 10), "{warm} KiB became {after} KiB");
}
