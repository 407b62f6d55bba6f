//! The README says what is: each metric there is on the page, and each on the page is there; each event of the log likewise.

use std::{collections::BTreeSet, fs, path::Path};

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
fn the_readme_names_every_event_of_the_log_and_no_other() {
    let (mut there, mut nameless) = (BTreeSet::new(), Vec::new());
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    events(&sources, &mut there, &mut nameless);
    assert_eq!(
        nameless,
        Vec::<String>::new(),
        "these begin with no `event = \"…\"`"
    );
    let readme = include_str!("../../README.md");
    let (_, table) = readme.split_once("| event | level | what |\n").unwrap();
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
    assert_eq!(told, there, "the README's table and the sources");
    assert!(there.len() > 40, "{there:?}");
}
