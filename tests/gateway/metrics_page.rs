//! A gateway's metrics page, read.

use std::net::SocketAddr;

use reqwest::Client;

pub(crate) async fn page(http: &Client, admin: SocketAddr) -> String {
    let answer = http.get(format!("http://{admin}/metrics")).send().await;
    answer.unwrap().text().await.unwrap()
}

/// A counter's samples: labels as written, and the number.
pub(crate) fn samples<'a>(page: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
    let lines = page.lines().filter_map(move |line| line.strip_prefix(name));
    lines.map(|line| {
        let (labels, number) = line.rsplit_once("} ").unwrap();
        (labels, number.parse().unwrap())
    })
}

/// One of a sample's labels.
pub(crate) fn label(labels: &str, name: &str) -> String {
    let (_, rest) = labels.split_once(&format!("{name}=\"")).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// The one sample that is written so.
pub(crate) fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series));
    let number = line.unwrap_or_else(|| panic!("no {series} in {page}"));
    number.trim().parse().unwrap()
}
