//! The README says what is: each metric there is on the page, and each on the page is there.

use std::collections::BTreeSet;

use forebay::telemetry::metrics::Metrics;

use crate::house::House;

#[test]
fn the_readme_names_every_metric_and_its_labels_and_no_other() {
    let metrics = Metrics::new();
    let there: BTreeSet<&str> = metrics.families().iter().map(|it| it.0.as_str()).collect();
    let readme = include_str!("../../README.md");
    let told: BTreeSet<&str> = names(readme, "`").collect();
    assert_eq!(
        told.difference(&there).collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "the README promises these"
    );
    assert_eq!(
        there.difference(&told).collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "the README leaves these out"
    );
    for (name, labels) in metrics.families() {
        let row = readme
            .lines()
            .find(|line| line.starts_with("| `forebay_") && line.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("{name} is in no row of the table"));
        let said = row.trim_end_matches('|').rsplit('|').next().unwrap();
        for label in labels {
            let is_said = said
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .any(|word| word == label);
            assert!(is_said, "{name} has the label {label}; the README: {said}");
        }
    }
}

#[tokio::test]
async fn the_page_has_no_metric_that_the_readme_leaves_out() {
    let house = House::open(&[("ptu", 1, 1), ("std", 2, 1)]).await;
    house.fault("ptu", crate::house::status(429, &[("retry-after", "60")]));
    assert_eq!(house.chat().await.status(), 200);
    let nowhere = house.http.post(house.url("/nowhere")).send().await.unwrap();
    assert_eq!(nowhere.status(), 404);
    house.log(2).await;
    let page = house.metrics().await;
    let shown: BTreeSet<&str> = names(&page, "# TYPE ").collect();
    assert!(shown.len() > 20, "{page}");
    let told: BTreeSet<&str> = names(include_str!("../../README.md"), "`").collect();
    assert_eq!(
        shown.difference(&told).collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "the README leaves these out"
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
