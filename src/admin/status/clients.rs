//! Clients and their limits in `/status`: those nearest to a limit first, only a few unless all are asked for.

use std::{
    collections::{BTreeMap, HashSet},
    time::SystemTime,
};

use serde::Serialize;

use super::figures::round;
use crate::domain::{
    name::{ClientName, ModelName},
    quota::LimitStanding,
};

/// So many clients are told of where not all are asked for.
const MOST: usize = 20;

#[derive(Serialize)]
pub(super) struct ClientStatus {
    client: String,
    /// The fullest first.
    limits: Vec<LimitStatus>,
}

#[derive(Serialize)]
struct LimitStatus {
    limit: &'static str,
    /// `None`: all models together.
    model: Option<String>,
    most: u64,
    /// What requests under way have reserved is part of it.
    used: u64,
    remaining: u64,
    /// When a period's count begins anew; `None`: it moves with time.
    renews_in_seconds: Option<f64>,
}

/// What is told, and how many clients with limits there are beyond those.
pub(super) fn statuses(
    mut standings: Vec<LimitStanding>,
    all: bool,
    today: SystemTime,
) -> (Vec<ClientStatus>, usize) {
    standings.sort_by(|a, b| {
        let by_use = part(b).total_cmp(&part(a));
        by_use.then_with(|| (&a.client, &a.model, a.limit).cmp(&(&b.client, &b.model, b.limit)))
    });
    let mut order = HashSet::new();
    let told: Vec<ClientName> = standings
        .iter()
        .filter(|it| order.insert(&it.client))
        .take(if all { usize::MAX } else { MOST })
        .map(|it| it.client.clone())
        .collect();
    let clients: HashSet<_> = standings.iter().map(|it| &it.client).collect();
    let left_off = clients.len() - told.len();
    let mut limits: BTreeMap<&ClientName, Vec<LimitStatus>> = BTreeMap::new();
    let wanted: HashSet<_> = told.iter().collect();
    for standing in standings.iter().filter(|it| wanted.contains(&it.client)) {
        let of_it = limits.entry(&standing.client).or_default();
        of_it.push(LimitStatus::new(standing, today));
    }
    let told = told.iter().map(|client| ClientStatus {
        client: client.to_string(),
        limits: limits.remove(client).unwrap_or_default(),
    });
    (told.collect(), left_off)
}

/// How much of a limit is used. One of nothing is always full.
fn part(standing: &LimitStanding) -> f64 {
    match standing.most {
        0 => 1.0,
        most => standing.used as f64 / most as f64,
    }
}

impl LimitStatus {
    fn new(standing: &LimitStanding, today: SystemTime) -> Self {
        let left = |at: SystemTime| at.duration_since(today).unwrap_or_default();
        Self {
            limit: standing.limit.as_str(),
            model: standing.model.as_ref().map(ModelName::to_string),
            most: standing.most,
            used: standing.used,
            remaining: standing.most.saturating_sub(standing.used),
            renews_in_seconds: standing.renews.map(|at| round(left(at).as_secs_f64())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::quota::Limit;

    fn standing(client: &str, limit: Limit, used: u64, most: u64) -> LimitStanding {
        LimitStanding {
            client: client.into(),
            model: None,
            limit,
            most,
            used,
            renews: None,
        }
    }

    #[test]
    fn the_nearest_to_a_limit_come_first_with_all_of_theirs() {
        let today = SystemTime::UNIX_EPOCH;
        let renews = Some(today + Duration::from_secs(90));
        let standings = vec![
            standing("calm", Limit::Concurrency, 1, 10),
            standing("busy", Limit::Concurrency, 0, 10),
            LimitStanding {
                renews,
                model: Some("gpt".into()),
                ..standing("busy", Limit::TokensPerDay, 90, 100)
            },
            standing("none", Limit::TokensPerMinute, 0, 0),
        ];
        let (told, left_off) = statuses(standings, false, today);
        let names: Vec<_> = told.iter().map(|it| it.client.as_str()).collect();
        assert_eq!((names, left_off), (vec!["none", "busy", "calm"], 0));
        let [day, running] = &told[1].limits[..] else {
            panic!()
        };
        let numbers = (day.used, day.remaining, day.renews_in_seconds);
        assert_eq!(numbers, (90, 10, Some(90.0)));
        assert_eq!(
            (day.limit, day.model.as_deref()),
            ("tokens_per_day", Some("gpt"))
        );
        assert_eq!(
            (running.limit, running.renews_in_seconds),
            ("concurrency", None)
        );
    }

    #[test]
    fn of_very_many_the_rest_is_counted_or_told_where_all_are_asked_for() {
        let standings: Vec<_> = (0..100)
            .map(|i| standing(&format!("c{i}"), Limit::Concurrency, i, 100))
            .collect();
        let today = SystemTime::UNIX_EPOCH;
        let (told, left_off) = statuses(standings.clone(), false, today);
        assert_eq!((told.len(), left_off), (MOST, 80));
        assert_eq!(told[0].client, "c99");
        let (told, left_off) = statuses(standings, true, today);
        assert_eq!((told.len(), left_off), (100, 0));
    }
}
