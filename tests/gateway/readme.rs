//! The pages say what is: each metric there is on its page, and each on a page is there; each event of the log and each alert
//! likewise.

mod pages;

use std::{collections::BTreeSet, fs, path::Path};

use forebay::telemetry::metrics::Metrics;

use crate::harness::Harness;
use pages::pages;

/// Metrics, alerts and events of the log.
const OBSERVABILITY: &str = include_str!("../../conf/prometheus/README.md");

#[test]
fn the_readme_of_observability_names_every_metric_and_its_labels_and_no_other() {
    let metrics = Metrics::new();
    let there: BTreeSet<&str> = metrics.families().iter().map(|it| it.0.as_str()).collect();
    for (page, text) in pages() {
        let told: BTreeSet<&str> = names(&text, "`").collect();
        assert_eq!(
            told.difference(&there).collect::<Vec<_>>(),
            Vec::<&&str>::new(),
            "{} promises these",
            page.display()
        );
    }
    let told: BTreeSet<&str> = names(OBSERVABILITY, "`").collect();
    assert_eq!(
        there.difference(&told).collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "the page leaves these out"
    );
    for (name, labels) in metrics.families() {
        let row = OBSERVABILITY
            .lines()
            .find(|line| line.starts_with("| `forebay_") && line.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("{name} is in no row of the table"));
        let said = row.trim_end_matches('|').rsplit('|').next().unwrap();
        for label in labels {
            let is_said = said
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .any(|word| word == label);
            assert!(is_said, "{name} has the label {label}; the page: {said}");
        }
    }
}

#[tokio::test]
async fn metrics_have_none_that_the_readme_leaves_out() {
    let harness = Harness::open(&[("ptu", 1, 1), ("std", 2, 1)]).await;
    harness.fault("ptu", crate::harness::status(429, &[("retry-after", "60")]));
    assert_eq!(harness.chat().await.status(), 200);
    let nowhere = harness
        .http
        .post(harness.url("/nowhere"))
        .send()
        .await
        .unwrap();
    assert_eq!(nowhere.status(), 404);
    harness.log(2).await;
    let page = harness.metrics().await;
    let shown: BTreeSet<&str> = names(&page, "# TYPE ").collect();
    assert!(shown.len() > 20, "{page}");
    let told: BTreeSet<&str> = names(OBSERVABILITY, "`").collect();
    assert_eq!(
        shown.difference(&told).collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "the page leaves these out"
    );
}

/// Words that begin with the gateway's prefix, right behind a mark.
fn names<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    let behind = text.split(mark).skip(1);
    let words = behind.map(|rest| {
        rest.split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
            .next()
            .unwrap()
    });
    words.filter(|word| word.starts_with("forebay_"))
}

/// What the sources write into the gateway's own log: the names, and each place that gives none.
fn events(folder: &Path, names: &mut BTreeSet<String>, nameless: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            events(&path, names, nameless);
            continue;
        }
        if path.extension().is_none_or(|it| it != "rs") {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let source = source.split("#[cfg(test)]\nmod ").next().unwrap();
        for level in ["error!(", "warn!(", "info!(", "debug!(", "trace!("] {
            for (at, _) in source.match_indices(level) {
                if source[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
                    continue;
                }
                let rest = source[at + level.len()..].trim_start();
                let name = rest
                    .strip_prefix("event = \"")
                    .and_then(|it| it.split('"').next());
                match name {
                    Some(name) => drop(names.insert(name.to_owned())),
                    None => nameless.push(format!(
                        "{}: {level}{}",
                        path.display(),
                        rest.chars().take(60).collect::<String>()
                    )),
                }
            }
        }
    }
}

#[test]
fn the_readme_of_observability_names_every_event_of_the_log_and_no_other() {
    let (mut there, mut nameless) = (BTreeSet::new(), Vec::new());
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    events(&sources, &mut there, &mut nameless);
    assert_eq!(
        nameless,
        Vec::<String>::new(),
        "these begin with no `event = \"…\"`"
    );
    let (_, table) = OBSERVABILITY
        .split_once("| event | level | what |\n")
        .unwrap();
    let rows = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    let names = rows.flat_map(|row| {
        let cell = row.split('|').nth(1).unwrap().to_owned();
        let names = cell.split('`').skip(1).step_by(2).map(str::to_owned);
        names.collect::<Vec<_>>()
    });
    let told: BTreeSet<String> = names.collect();
    assert_eq!(told, there, "the page's table and the sources");
    assert!(there.len() > 40, "{there:?}");
}

#[test]
fn the_readme_of_observability_names_every_alert_with_its_severity_and_no_other() {
    let rules = include_str!("../../conf/prometheus/alerts.yaml");
    let rules: serde_json::Value = serde_yaml::from_str(rules).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let there = rules.map(|rule| (text(&rule["alert"]), text(&rule["labels"]["severity"])));
    let there: BTreeSet<(String, String)> = there.collect();
    let (_, table) = OBSERVABILITY
        .split_once("| alert | severity | means |\n")
        .unwrap();
    let rows = table.lines().skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let told = rows.flat_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let names = cells[1].split('`').skip(1).step_by(2);
        names
            .map(|name| (name.to_owned(), cells[2].to_owned()))
            .collect::<Vec<_>>()
    });
    assert_eq!(told.collect::<BTreeSet<_>>(), there);
    let alerts: BTreeSet<&str> = there.iter().map(|(name, _)| name.as_str()).collect();
    for (page, text) in pages() {
        for code in text.split('`').skip(1).step_by(2) {
            let is_alert = code
                .strip_prefix("Forebay")
                .is_some_and(|rest| rest.starts_with(char::is_uppercase));
            assert!(!is_alert || alerts.contains(code), "{page:?}: {code}");
        }
    }
}
