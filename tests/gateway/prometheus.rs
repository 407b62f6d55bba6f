//! What operators load into Prometheus and Grafana: checked by Prometheus' own tool, and on a real Prometheus that scraped a
//! gateway with real traffic.

mod files;
mod outage;
mod real_run;
mod server;

use std::{fs, path::PathBuf};

use serde_json::Value;

/// The folder of the rules and the example of a configuration.
fn conf() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conf/prometheus")
}

fn text(name: &str) -> String {
    fs::read_to_string(conf().join(name)).unwrap()
}

/// A YAML file of that folder.
fn yaml(name: &str) -> Value {
    serde_yaml::from_str(&text(name)).unwrap()
}

/// The rules of a file, of all its groups.
fn rules(name: &str) -> Vec<Value> {
    let file = yaml(name);
    let groups = file["groups"].as_array().unwrap();
    let rules = groups
        .iter()
        .map(|group| group["rules"].as_array().unwrap());
    rules.flatten().cloned().collect()
}

fn dashboard() -> Value {
    serde_json::from_str(include_str!("../../conf/grafana/forebay.json")).unwrap()
}

/// A query of the dashboard, and where it stands: its panel's title and its letter.
struct Query {
    panel: String,
    expr: String,
}

/// Each panel's queries, the annotations', and what the variables ask for.
fn queries() -> Vec<Query> {
    let dashboard = dashboard();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let title = panel["title"].as_str().unwrap();
            queries.push(Query {
                panel: format!("{title} {}", target["refId"].as_str().unwrap()),
                expr: target["expr"].as_str().unwrap().to_owned(),
            });
        }
    }
    for it in dashboard["annotations"]["list"].as_array().unwrap() {
        if let Some(expr) = it["expr"].as_str() {
            queries.push(Query {
                panel: format!("annotation {}", it["name"].as_str().unwrap()),
                expr: expr.to_owned(),
            });
        }
    }
    for it in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(asked) = it["query"]["query"].as_str() {
            // `label_values(SERIES, LABEL)` is Grafana's own: the values of a label.
            let inner = asked.strip_prefix("label_values(").unwrap();
            let (series, label) = inner.strip_suffix(')').unwrap().rsplit_once(", ").unwrap();
            queries.push(Query {
                panel: format!("variable {}", it["name"].as_str().unwrap()),
                expr: format!("count by ({label}) ({series})"),
            });
        }
    }
    queries
}
