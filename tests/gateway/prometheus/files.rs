//! The files by themselves: sound, tested, and speaking of metrics that there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use forebay::telemetry::metrics::Metrics;
use serde_json::Value;

use super::{conf, dashboard, queries, rules, yaml};

const TESTS: [&str; 3] = [
    "recording.test.yaml",
    "alerts.test.yaml",
    "alerts-days.test.yaml",
];

fn promtool(arguments: &[&str]) {
    let run = Command::new("promtool")
        .args(arguments)
        .current_dir(conf())
        .output();
    let run = run.expect("promtool is needed: `apt-get install prometheus` brings it");
    let said = [run.stdout, run.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    assert!(
        run.status.success(),
        "{arguments:?}: {} {}",
        said[0],
        said[1]
    );
}

#[test]
fn prometheus_own_tool_finds_the_rules_and_the_configuration_sound() {
    promtool(&["check", "rules", "recording.yaml", "alerts.yaml"]);
    // As it stands: with every file that it names.
    promtool(&["check", "config", "prometheus.yaml"]);
}

#[test]
fn every_rule_does_what_its_tests_say() {
    let mut arguments = vec!["test", "rules"];
    arguments.extend(TESTS);
    promtool(&arguments);
}

#[test]
fn every_alert_is_tested_where_it_fires_and_where_it_does_not_and_says_what_to_do() {
    let mut tested: BTreeMap<String, [bool; 2]> = BTreeMap::new();
    for file in TESTS {
        for test in yaml(file)["tests"].as_array().unwrap() {
            for alert in test["alert_rule_test"].as_array().into_iter().flatten() {
                let name = alert["alertname"].as_str().unwrap().to_owned();
                let fires = !alert["exp_alerts"].as_array().unwrap().is_empty();
                tested.entry(name).or_default()[usize::from(fires)] = true;
            }
        }
    }
    let mut names = BTreeSet::new();
    for alert in rules("alerts.yaml") {
        let name = alert["alert"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{name} is there twice");
        assert_eq!(tested.get(name), Some(&[true, true]), "{name}");
        for part in ["summary", "description", "mend"] {
            let text = alert["annotations"][part].as_str().unwrap_or_default();
            assert!(text.len() > 15, "{name} has no {part}");
        }
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{name}"
        );
    }
    let known: BTreeSet<String> = tested.into_keys().collect();
    assert_eq!(known, names, "tests of alerts that are not there");
}

#[test]
fn every_recorded_series_is_tested_where_it_is_recorded_and_where_it_is_not() {
    let mut tested: BTreeMap<String, [bool; 2]> = BTreeMap::new();
    for test in yaml("recording.test.yaml")["tests"].as_array().unwrap() {
        for query in test["promql_expr_test"].as_array().unwrap() {
            let is_there = !query["exp_samples"].as_array().unwrap().is_empty();
            for name in words(query["expr"].as_str().unwrap()).recorded {
                tested.entry(name).or_default()[usize::from(is_there)] = true;
            }
        }
    }
    for rule in rules("recording.yaml") {
        let name = rule["record"].as_str().unwrap();
        assert_eq!(tested.get(name), Some(&[true, true]), "{name}");
    }
}

/// What an expression speaks of.
struct Words {
    metrics: BTreeSet<String>,
    recorded: BTreeSet<String>,
}

fn words(expr: &str) -> Words {
    let words = expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let ours = words.filter(|word| word.contains("forebay_") || word.starts_with("forebay:"));
    let (recorded, metrics) = ours.map(str::to_owned).partition(|word| word.contains(':'));
    Words { metrics, recorded }
}

#[test]
fn rules_and_dashboard_speak_of_nothing_that_is_not_there() {
    let metrics = Metrics::new();
    let mut there = BTreeSet::new();
    for (name, _) in metrics.families() {
        there.insert(name.clone());
        for of_histogram in ["_bucket", "_count", "_sum"] {
            if name.ends_with("_seconds") {
                there.insert(format!("{name}{of_histogram}"));
            }
        }
    }
    let recording = rules("recording.yaml");
    let recorded: BTreeSet<String> = recording
        .iter()
        .map(|rule| rule["record"].as_str().unwrap().to_owned())
        .collect();
    let alerts = rules("alerts.yaml");
    let expressions = recording.iter().chain(&alerts);
    let expressions = expressions.map(|rule| rule["expr"].as_str().unwrap().to_owned());
    let shown = queries().into_iter().map(|query| query.expr);
    let mut spoken = 0;
    for expr in expressions.chain(shown) {
        let words = words(&expr);
        spoken += words.metrics.len() + words.recorded.len();
        let unknown: Vec<_> = words.metrics.difference(&there).collect();
        assert!(unknown.is_empty(), "{unknown:?} in {expr}");
        let unknown: Vec<_> = words.recorded.difference(&recorded).collect();
        assert!(unknown.is_empty(), "{unknown:?} in {expr}");
    }
    assert!(spoken > 100, "{spoken}");
}

/// Where a deployment or a client is limited, watched or paid for, an operator looks: nothing is counted unseen.
#[test]
fn every_metric_is_shown_or_watched() {
    let mut spoken = BTreeSet::new();
    for rule in rules("recording.yaml").iter().chain(&rules("alerts.yaml")) {
        spoken.extend(words(rule["expr"].as_str().unwrap()).metrics);
    }
    for query in queries() {
        spoken.extend(words(&query.expr).metrics);
    }
    // How often a token's signature was checked says nothing by itself; a failing fetch is what is watched.
    let plain = [
        "forebay_client_token_checks_total",
        "forebay_issuer_fetches_total",
    ];
    let metrics = Metrics::new();
    let unseen: Vec<_> = metrics
        .families()
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| !spoken.iter().any(|word| word.starts_with(name)))
        .filter(|name| !plain.contains(name))
        .collect();
    assert_eq!(unseen, Vec::<&str>::new());
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(39));
    assert_eq!(
        (&dashboard["uid"], &dashboard["id"]),
        (&"forebay".into(), &Value::Null)
    );
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["datasource", "model", "instance", "client"]);
    assert_eq!(variables[0]["type"], "datasource");
    let source = Value::from("${datasource}");
    for variable in &variables[1..] {
        assert_eq!(variable["datasource"]["uid"], source);
    }
    let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        assert!(titles.insert(title), "{title} is there twice");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|it| panel["gridPos"][it].as_u64().unwrap());
        assert!(x + w <= 24, "{title} stands out");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies on another");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], source, "{title}");
        assert!(panel["description"].is_string(), "{title}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        let mut letters = BTreeSet::new();
        for target in targets {
            assert!(!target["expr"].as_str().unwrap().is_empty(), "{title}");
            assert_eq!(target["datasource"]["uid"], source, "{title}");
            assert!(letters.insert(target["refId"].as_str().unwrap()), "{title}");
        }
    }
    assert!(ids.len() > 40, "{}", ids.len());
}
