//! What is written of each request for bills and warehouses: every line once, whole, and never in a request's way.

mod prompts;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
};

use serde_json::Value;

use crate::{
    harness::{CHAT, Harness, chat, eventually, eventually_async, forebay, status, streamed},
    memory::metric_value,
    namespace::{assert_inside, run, run_inside},
};

#[tokio::test]
async fn a_request_has_a_usage_record_once_its_client_and_its_model_are_known() {
    let harness = Harness::open(&[("a", 1, 1), ("b", 2, 1)]).await;
    assert_eq!(harness.chat().await.status(), 200);
    harness.fault("a", status(429, &[("retry-after", "60")]));
    let stream = harness.post(CHAT).json(&streamed()).send().await.unwrap();
    assert!(!stream.bytes().await.unwrap().is_empty());
    harness.fault("b", status(400, &[]));
    assert_eq!(harness.chat().await.status(), 400);
    harness.fault("b", status(429, &[("retry-after", "60")]));
    assert_eq!(harness.chat().await.status(), 429);
    // Nobody's, and of no model.
    let stranger = harness.http.post(harness.url(CHAT)).json(&chat());
    assert_eq!(stranger.send().await.unwrap().status(), 401);
    let mut unknown = chat();
    unknown["model"] = "none".into();
    let request = harness.post(CHAT).json(&unknown);
    assert_eq!(request.send().await.unwrap().status(), 404);
    let models = harness.http.get(harness.url("/v1/models"));
    let models = models.header("api-key", crate::harness::KEY);
    assert_eq!(models.send().await.unwrap().status(), 200);

    let log = harness.log(7).await;
    let records = harness.usage_records(4).await;
    assert_eq!(records.len(), 4, "{records:?}");
    let told = |name: &str| -> Vec<Value> { records.iter().map(|it| it[name].clone()).collect() };
    assert_eq!(told("status"), [200, 200, 400, 429]);
    assert_eq!(told("instance"), ["a", "b", "b", "b"]);
    assert_eq!(told("deployment")[1], "b-gpt-4o");
    assert_eq!(told("priority"), [1, 2, 2, 2]);
    assert_eq!(told("attempts"), [1, 2, 1, 1]);
    assert_eq!(told("stream"), [false, true, false, false]);
    assert_eq!(told("client"), ["tests"; 4]);
    assert_eq!(told("model"), ["gpt-4o"; 4]);
    assert_eq!(told("deployment_type"), ["standard"; 4]);
    assert_eq!(told("operation"), ["chat/completions"; 4]);
    assert_eq!(told("refusal")[3], "throttled");
    let logged: Vec<&Value> = log.iter().map(|line| &line["request_id"]).collect();
    assert!(told("request_id").iter().all(|id| logged.contains(&id)));
    // Each column that the printed schema knows, and no other.
    let schema = forebay().args(["schema", "--usage-record"]).output();
    let schema: Value = serde_json::from_slice(&schema.unwrap().stdout).unwrap();
    let columns = schema["properties"].as_object().unwrap();
    for record in &records {
        assert!(record.as_object().unwrap().keys().eq(columns.keys()));
    }
}

const PRICES: &str =
    "prices: { currency: EUR, models: { gpt-4o: { input: 2.50, cached: 1.25, output: 10 } } }";

#[tokio::test]
async fn costs_in_records_log_and_metrics_agree_and_unpriced_models_are_seen() {
    let harness = Harness::open_with(&[("a", 1, 1)], PRICES).await;
    assert!(harness.gateway.stderr().contains("this model has no price"));
    for _ in 0..3 {
        assert_eq!(harness.chat().await.status(), 200);
    }
    let embed = serde_json::json!({"model": "text-embedding-3-small", "input": "a dam"});
    let request = harness.post("/openai/v1/embeddings").json(&embed);
    assert_eq!(request.send().await.unwrap().status(), 200);

    let (records, log) = (harness.usage_records(4).await, harness.log(4).await);
    let page = harness.metrics().await;
    let tokens = |record: &Value, name: &str| record[name].as_u64().unwrap();
    let mut sum = 0;
    for (record, line) in records.iter().zip(&log).take(3) {
        // In millionths of millionths.
        let cached = tokens(record, "cached_tokens");
        let input = tokens(record, "input_tokens") - cached;
        let cost =
            input * 2_500_000 + cached * 1_250_000 + tokens(record, "output_tokens") * 10_000_000;
        assert!(input > 0 && cost > 0);
        assert_eq!(exact(record["cost"].as_str().unwrap()), cost);
        assert_eq!(
            (&record["cost"], &record["currency"]),
            (&line["cost"], &"EUR".into())
        );
        sum += cost;
    }
    let counted_cost = value(
        &page,
        "forebay_cost_total{client=\"tests\",currency=\"EUR\",model=\"gpt-4o\"}",
    );
    assert!(
        (counted_cost - sum as f64 / 1e12).abs() < 1e-12,
        "{counted_cost} {sum}"
    );
    let unpriced = &records[3];
    assert!(
        tokens(unpriced, "input_tokens") > 0
            && unpriced["cost"].is_null()
            && unpriced["currency"].is_null()
    );
    assert_eq!(
        metric_value(&harness, "forebay_requests_unpriced_total").await,
        1
    );
}

/// A decimal number in millionths of millionths.
fn exact(cost: &str) -> u64 {
    let (whole, part) = cost.split_once('.').unwrap_or((cost, ""));
    format!("{whole}{part:0<12}").parse().unwrap()
}

fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series}"))
        .trim()
        .parse()
        .unwrap()
}

/// One metric of a log.
async fn of_log(harness: &Harness, metric: &str, log: &str) -> f64 {
    value(
        &harness.metrics().await,
        &format!("{metric}{{log=\"{log}\"}}"),
    )
}

#[tokio::test]
async fn on_a_full_disk_requests_go_on_lines_are_counted_and_operators_are_told() {
    let logs = "log: { access: /dev/full, usage: /dev/../dev/full }";
    let harness = Harness::open_with(&[("a", 1, 1)], logs).await;
    for _ in 0..20 {
        assert_eq!(harness.chat().await.status(), 200);
    }
    for log in ["access", "usage"] {
        eventually_async("each line is counted", async || {
            of_log(&harness, "forebay_log_lines_dropped_total", log).await == 20.0
        })
        .await;
        assert_eq!(of_log(&harness, "forebay_log_failing", log).await, 1.0);
    }
    let said = harness.gateway.stderr();
    assert_eq!(said.matches("could not write a log").count(), 2, "{said}");
}

#[test]
fn a_log_is_whole_again_once_a_full_disk_has_room() {
    run_inside(
        &["--mount"],
        "records::inside_the_namespace_a_disk_fills_and_empties",
    );
}

#[tokio::test]
#[ignore = "runs inside a namespace, where the test above starts it"]
async fn inside_the_namespace_a_disk_fills_and_empties() {
    assert_inside();
    let disk = crate::harness::folder();
    run(
        "mount",
        &format!("-t tmpfs -o size=64k tmpfs {}", disk.display()),
    );
    let logs = format!(
        "log: {{ access: OWN_FOLDER/access.jsonl, usage: {}/usage.jsonl }}",
        disk.display()
    );
    let harness = Harness::open_with(&[("a", 1, 1)], &logs).await;
    let mut asked = 0;
    let mut ask = async || {
        assert_eq!(harness.chat().await.status(), 200);
        asked += 1;
        asked
    };
    ask().await;
    fs::write(disk.join("ballast"), vec![0; 48 << 10]).unwrap();
    eventually_async("the disk is full", async || {
        ask().await;
        of_log(&harness, "forebay_log_failing", "usage").await == 1.0
    })
    .await;
    for _ in 0..10 {
        ask().await;
    }
    fs::remove_file(disk.join("ballast")).unwrap();
    eventually_async("the log is written again", async || {
        ask().await;
        of_log(&harness, "forebay_log_failing", "usage").await == 0.0
    })
    .await;
    let asked = ask().await;
    eventually_async(
        "each request has a record or is counted as dropped",
        async || {
            let dropped = of_log(&harness, "forebay_log_lines_dropped_total", "usage").await;
            let text = fs::read_to_string(disk.join("usage.jsonl")).unwrap();
            // Every line is a record: no half one is left.
            let ids: BTreeSet<String> = text.lines().map(id).collect();
            assert_eq!(ids.len(), text.lines().count());
            assert!(dropped > 0.0 && ids.len() as f64 + dropped <= f64::from(asked));
            ids.len() as f64 + dropped == f64::from(asked)
        },
    )
    .await;
    let said = harness.gateway.stderr();
    assert!(said.contains("the log can be written again"), "{said}");
}

fn id(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    line["request_id"].as_str().unwrap().to_owned()
}

/// Each request's number of records in all files of the usage log.
fn kept(harness: &Harness) -> BTreeMap<String, usize> {
    let mut kept = BTreeMap::new();
    for file in files(harness) {
        for line in fs::read_to_string(file).unwrap().lines() {
            *kept.entry(id(line)).or_default() += 1;
        }
    }
    kept
}

/// The usage log's files, the one that is written among them.
fn files(harness: &Harness) -> Vec<PathBuf> {
    let entries = fs::read_dir(&harness.gateway.folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.display().to_string().contains("/usage."))
        .collect()
}

#[tokio::test]
async fn records_are_put_aside_by_size_and_by_others_and_each_is_there_once() {
    let logs = "log: { access: OWN_FOLDER/access.jsonl, usage: { file: OWN_FOLDER/usage.jsonl, rotate: { size: 4KiB } } }";
    let harness = Harness::open_with(&[("a", 1, 1)], logs).await;
    let own = harness.gateway.folder.join("usage.jsonl");
    for _ in 0..40 {
        assert_eq!(harness.chat().await.status(), 200);
    }
    // As logrotate does it, while requests go on.
    fs::rename(&own, harness.gateway.folder.join("usage.jsonl.1")).unwrap();
    eventually_async("a new file is begun", async || {
        assert_eq!(harness.chat().await.status(), 200);
        own.exists()
    })
    .await;
    for _ in 0..10 {
        assert_eq!(harness.chat().await.status(), 200);
    }
    let log = fs::read_to_string(harness.gateway.folder.join("access.jsonl"));
    let asked = log.unwrap().lines().count().max(51);
    let lines = harness.log(asked).await;
    eventually("each request has its record", || {
        kept(&harness).len() >= lines.len()
    })
    .await;
    let kept = kept(&harness);
    assert!(kept.values().all(|times| *times == 1), "{kept:?}");
    assert!(files(&harness).len() > 5);
    for file in files(&harness) {
        // What somebody else renamed may have been written on for a second.
        let is_ours = !file.display().to_string().ends_with(".1");
        assert!(
            !is_ours || fs::metadata(&file).unwrap().len() <= 4 << 10,
            "{file:?}"
        );
    }
}

#[tokio::test]
async fn a_file_is_put_aside_when_its_time_is_over_though_nothing_more_is_written() {
    let logs = "log: { access: OWN_FOLDER/access.jsonl, usage: { file: OWN_FOLDER/usage.jsonl, rotate: { every: 1s } } }";
    let harness = Harness::open_with(&[("a", 1, 1)], logs).await;
    assert_eq!(harness.chat().await.status(), 200);
    eventually("the record is in a file of its own", || {
        let own = fs::read_to_string(harness.gateway.folder.join("usage.jsonl"));
        own.is_ok_and(|text| text.is_empty()) && kept(&harness).len() == 1
    })
    .await;
    assert_eq!(files(&harness).len(), 2);
}

#[test]
fn the_schema_of_a_usage_record_is_printed() {
    let schema = Command::output(forebay().args(["schema", "--usage-record"])).unwrap();
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(schema["$schema"].is_string());
    assert_eq!(
        schema["properties"]["input_tokens"]["type"],
        serde_json::json!(["integer", "null"])
    );
}
