//! However many clients there are and whatever they ask for: the page is bounded, and no count is lost.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const CLIENTS: usize = 10_000;
const TOLD_APART: usize = 1000;
const SERIES: usize = 20_000;
/// Over two models.
const DEPLOYMENTS: usize = 1000;

/// The request number `number` of the client number `client`: each client comes to other deployments each time.
fn request(client: usize, number: usize) -> Record {
    let place = client * 7 + number * 331;
    let mut record = record();
    record.client = Some(format!("client-{client}").as_str().into());
    record.model = Some(["gpt-4o", "gpt-5"][place % 2].into());
    record.attempts.truncate(1);
    record.attempts[0].instance = format!("instance-{}", place % DEPLOYMENTS).as_str().into();
    if number == 3 {
        (record.status, record.refusal) = (Some(503), Some("unavailable"));
    }
    record
}

/// The samples of the families that name clients: series, and value.
fn samples(metrics: &Metrics) -> BTreeMap<String, f64> {
    let page = String::from_utf8(metrics.render()).unwrap();
    let lines = page.lines().filter(|line| line.contains("client=\""));
    let samples = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    });
    samples.collect()
}

fn sum(samples: &BTreeMap<String, f64>, of: &[&str]) -> f64 {
    let these = samples
        .iter()
        .filter(|(series, _)| of.iter().all(|part| series.contains(part)));
    these.map(|(_, value)| value).sum()
}

/// No count is lost, whoever shares a name.
fn check_sums(samples: &BTreeMap<String, f64>) {
    let requests = (4 * CLIENTS) as f64;
    for (of, value) in [
        (vec!["forebay_requests_total"], requests),
        (
            vec!["forebay_requests_total", "code=\"503\""],
            requests / 4.0,
        ),
        (vec!["forebay_refusals_total"], requests / 4.0),
        (
            vec!["forebay_tokens_total", "type=\"input\""],
            30.0 * requests,
        ),
        (
            vec!["forebay_tokens_total", "type=\"reasoning\""],
            4.0 * requests,
        ),
        // Each deployment is met equally often, whoever comes.
        (
            vec![
                "forebay_tokens_total",
                "instance=\"instance-7\"",
                "type=\"output\"",
            ],
            12.0 * requests / DEPLOYMENTS as f64,
        ),
        // What was there when the room ended goes on; a code that came later has no series of its own.
        (vec!["forebay_requests_total", "client=\"client-999\""], 3.0),
    ] {
        assert_eq!(sum(samples, &of), value, "{of:?}");
    }
}

#[test]
fn ten_thousand_clients_on_a_thousand_deployments_make_a_bounded_page_and_exact_sums() {
    let names: Vec<ClientName> = (0..CLIENTS)
        .map(|client| format!("client-{client}").as_str().into())
        .collect();
    let bounds = Bounds {
        clients: TOLD_APART,
        series: SERIES,
    };
    let metrics = Metrics::bounded(&names, bounds);
    let mut early = BTreeMap::new();
    for number in 0..4 {
        for client in 0..CLIENTS {
            metrics.account(&request(client, number));
        }
        if number == 0 {
            early = samples(&metrics);
        }
    }
    let samples = samples(&metrics);

    // Nothing that was there has gone or gone back.
    assert!(
        early
            .iter()
            .all(|(series, value)| samples.get(series).is_some_and(|now| now >= value))
    );
    check_sums(&samples);

    let is_other = |series: &&String| series.contains("client=\"other\"");
    let others = samples.keys().filter(is_other).count();
    let own = samples.len() - others;
    assert!(own <= SERIES && own > SERIES - 6, "{own}");
    // Of those who share a name: each deployment's types of tokens, each model's two codes, one reason.
    assert_eq!(others, 6 * DEPLOYMENTS + 4 + 1);
    let told_apart: BTreeSet<_> = samples
        .keys()
        .filter_map(|series| series.split("client=\"client-").nth(1)?.split('"').next())
        .map(|number| number.parse::<usize>().unwrap())
        .collect();
    assert_eq!(told_apart, (0..TOLD_APART).collect());
    assert_eq!(
        value(&metrics, "forebay_metrics_folded_clients"),
        Some(9000.0)
    );
    let series = value(&metrics, "forebay_metrics_client_series");
    assert_eq!(series, Some(own as f64));
    assert!(value(&metrics, "forebay_metrics_folded_total") > Some(0.0));
}

#[test]
fn where_there_is_room_for_all_nothing_is_folded() {
    let names = ["client-0".into(), "client-1".into()];
    let bounds = Bounds {
        clients: 2,
        series: 100,
    };
    let metrics = Metrics::bounded(&names, bounds);
    for client in 0..2 {
        metrics.account(&request(client, 0));
    }
    let samples = samples(&metrics);
    assert_eq!(samples.len(), 14);
    assert!(!samples.keys().any(|series| series.contains("\"other\"")));
    for (name, count) in [
        ("forebay_metrics_folded_clients", 0.0),
        ("forebay_metrics_folded_total", 0.0),
        ("forebay_metrics_client_series", 14.0),
    ] {
        assert_eq!(value(&metrics, name), Some(count), "{name}");
    }
}
