//! The README says what is: each metric there is on the page, and each on the page is there.

use std::collections::BTreeSet;

use crate::house::House;

#[tokio::test]
async fn the_readme_names_every_metric_and_no_other() {
    let house = House::open(&[("ptu", 1, 1), ("std", 2, 1)]).await;
    house.fault("ptu", crate::house::status(429, &[("retry-after", "60")]));
    assert_eq!(house.chat().await.status(), 200);
    assert_eq!(
        house
            .http
            .post(house.url("/nowhere"))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    house.log(2).await;
    let page = house.metrics().await;
    let shown: BTreeSet<&str> = names(&page, "# TYPE ").collect();
    let readme = include_str!("../../README.md");
    let told: BTreeSet<&str> = names(readme, "`").collect();
    let told_only: Vec<_> = told
        .difference(&shown)
        .filter(|name| !only_reported(name))
        .collect();
    assert_eq!(told_only, Vec::<&&str>::new(), "the README promises these");
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

/// Not there until a deployment of that kind has said it; the simulated ones here have no limits.
fn only_reported(name: &str) -> bool {
    name.starts_with("forebay_deployment_utilization")
        || name.starts_with("forebay_deployment_remaining")
        || name.starts_with("forebay_time_to_first_token")
        || name.starts_with("forebay_issuer_")
        || name.starts_with("forebay_certificate_")
        || name.starts_with("forebay_client_limit")
        || name.starts_with("forebay_client_token_rejections")
        || name == "forebay_cost_total"
        || name == "forebay_requests_unpriced_total"
        || name == "forebay_retry_budget_exhausted_total"
}
