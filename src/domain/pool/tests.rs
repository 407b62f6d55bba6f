use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::*;
use crate::domain::{
    breaker::{BreakerState, Cause, Settings, Transition},
    deployment::{Capacity, Deployment, Endpoint, Instance, Kind, Model, Priority, Weight},
    health::Ability,
    outcome::{Fault, Outcome},
};

const SETTINGS: Settings = Settings {
    faults: 2,
    window: Duration::from_secs(30),
    pause: Duration::from_secs(10),
    longest_pause: Duration::from_secs(120),
    unsaid_pause: Duration::from_secs(10),
    ramp: Duration::from_secs(10),
};

/// A pool of `(name, priority, weight)`; the names before a slash are instances.
pub(crate) fn pool_of(members: &[(&str, u32, u32)]) -> Arc<Pool> {
    pool_with(members, SETTINGS)
}

pub(crate) fn pool_with(members: &[(&str, u32, u32)], settings: Settings) -> Arc<Pool> {
    let deployments = members.iter().map(|(name, priority, weight)| {
        let (instance, name) = name.split_once('/').unwrap_or((name, "gpt-4o"));
        Deployment {
            instance: Arc::new(Instance {
                name: instance.into(),
                endpoint: Endpoint::parse("https://contoso.openai.azure.com").unwrap(),
                kind: Kind::AzureOpenai,
                identity: "vm".into(),
                scope: String::new(),
                geography: None,
                ca: None,
                stream_usage: true,
                connect_to: None,
            }),
            name: name.into(),
            capacity: Capacity::Standard,
            priority: Priority::new(*priority).unwrap(),
            weight: Weight::new(*weight).unwrap(),
        }
    });
    let model = Model {
        name: "gpt-4o".into(),
        version: None,
        deployments: deployments.collect(),
        timeouts: Default::default(),
        required: false,
    };
    Arc::new(Pool::new(model, settings))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn throttled(seconds: u64) -> Outcome {
    Outcome::Throttled {
        wait: Some(secs(seconds)),
    }
}

const RESET: Outcome = Outcome::fault(Fault::Reset);

fn chosen(pool: &Arc<Pool>, tried: &[usize], now: Instant, draw: u64) -> Option<String> {
    let attempt = pool.choose(tried, now, draw).ok()?;
    Some(attempt.deployment().instance.name.to_string())
}

/// Lets one attempt at that member end so.
fn ends(pool: &Arc<Pool>, index: usize, outcome: &Outcome, now: Instant) -> Option<Transition> {
    let others: Vec<usize> = (0..pool.members.len()).filter(|i| *i != index).collect();
    pool.choose(&others, now, 0).unwrap().judge(outcome, now, 0)
}

/// Sets a member aside by its faults.
fn fails(pool: &Arc<Pool>, index: usize, now: Instant) {
    for _ in 0..SETTINGS.faults {
        ends(pool, index, &RESET, now);
    }
    assert!(!pool.members[index].is_ready(now));
}

/// How often each is chosen, of so many draws.
fn shares<const N: usize>(pool: &Arc<Pool>, now: Instant, draws: u32) -> [f64; N] {
    let (mut random, mut counts) = (fastrand::Rng::with_seed(7), [0.0; N]);
    for _ in 0..draws {
        counts[pool.choose(&[], now, random.u64(..)).unwrap().index()] += 1.0;
    }
    counts
}

fn chi_square(counts: &[f64], expected: &[f64]) -> f64 {
    let pairs = counts.iter().zip(expected);
    pairs.map(|(seen, e)| (seen - e) * (seen - e) / e).sum()
}

#[test]
fn shares_follow_weights() {
    let (pool, now) = (
        pool_of(&[("a", 1, 5), ("b", 1, 3), ("c", 1, 2)]),
        Instant::now(),
    );
    let counts = shares::<3>(&pool, now, 10_000);
    // 13.8 is passed by chance once in a thousand, with two degrees of freedom.
    let off = chi_square(&counts, &[5000.0, 3000.0, 2000.0]);
    assert!(off < 13.8, "{counts:?} {off}");
}

#[test]
fn shares_follow_weights_among_those_left_of_many() {
    let names: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    let members: Vec<_> = (0..)
        .zip(&names)
        .map(|(n, name)| (name.as_str(), 1, 1 + n % 3))
        .collect();
    let (pool, t) = (pool_of(&members), Instant::now());
    for index in (0..40).filter(|index| index % 10 > 0) {
        ends(&pool, index, &throttled(9), t);
    }
    // Left are 0, 10, 20 and 30, of weights 1, 2, 3 and 1.
    let counts = shares::<40>(&pool, t, 14_000);
    let left = [counts[0], counts[10], counts[20], counts[30]];
    // 16.3: once in a thousand, with three degrees of freedom.
    let off = chi_square(&left, &[2000.0, 4000.0, 6000.0, 2000.0]);
    assert!(off < 16.3, "{left:?} {off}");
}

#[test]
fn every_draw_falls_to_one_of_the_ready() {
    let (pool, now) = (
        pool_of(&[("a", 1, 1), ("b", 1, 2), ("c", 1, 1), ("d", 2, 9)]),
        Instant::now(),
    );
    ends(&pool, 1, &throttled(9), now);
    let names: Vec<_> = (0..4)
        .map(|draw| chosen(&pool, &[], now, draw).unwrap())
        .collect();
    assert_eq!(names, ["a", "c", "a", "c"]);
    assert_eq!(chosen(&pool, &[0, 2], now, 1).as_deref(), Some("d"));
}

#[test]
fn a_later_priority_gets_nothing_while_an_earlier_one_can_serve() {
    let (pool, t) = (pool_of(&[("std", 2, 1), ("ptu", 1, 1)]), Instant::now());
    for draw in 0..100 {
        assert_eq!(chosen(&pool, &[], t, draw).as_deref(), Some("ptu"));
    }
    ends(&pool, 0, &throttled(2), t);
    assert_eq!(chosen(&pool, &[], t, 0).as_deref(), Some("std"));
    for _ in 0..2 {
        let back = chosen(&pool, &[], t + secs(2), 0);
        assert_eq!(back.as_deref(), Some("ptu"), "for everybody at once");
    }
}

#[test]
fn while_one_tries_a_failed_deployment_the_others_go_elsewhere() {
    let (pool, t) = (pool_of(&[("ptu", 1, 1), ("std", 2, 1)]), Instant::now());
    fails(&pool, 0, t);
    let later = t + secs(10);
    let mut trial = pool.choose(&[], later, 0).unwrap();
    assert_eq!(trial.index(), 0);
    assert_eq!(chosen(&pool, &[], later, 0).as_deref(), Some("std"));
    let closed = trial.judge(&Outcome::Served, later, 0);
    assert_eq!(closed, Some(Transition::Closed));
    assert_eq!(
        chosen(&pool, &[], later + secs(10), 0).as_deref(),
        Some("ptu")
    );
}

#[test]
fn a_dropped_trial_leaves_its_place_to_the_next() {
    let (pool, t) = (pool_of(&[("ptu", 1, 1)]), Instant::now());
    fails(&pool, 0, t);
    let trial = pool.choose(&[], t + secs(10), 0).unwrap();
    assert!(pool.choose(&[], t + secs(10), 0).is_err());
    assert_eq!(pool.members()[0].inflight(), 1);
    drop(trial);
    assert!(pool.choose(&[], t + secs(10), 0).is_ok());
    assert_eq!(pool.members()[0].inflight(), 0);
}

#[test]
fn a_deployment_that_returned_lets_most_of_its_tiers_requests_by() {
    let (pool, t) = (pool_of(&[("ptu", 1, 1), ("std", 2, 1)]), Instant::now());
    fails(&pool, 0, t);
    let back = t + secs(10);
    ends(&pool, 0, &Outcome::Served, back);
    for (seconds, share) in [(0, 0.1), (5, 0.55), (9, 0.91), (10, 1.0)] {
        let counts = shares::<2>(&pool, back + secs(seconds), 10_000);
        let off = (counts[0] / 10_000.0 - share).abs();
        assert!(off < 0.02, "after {seconds} s: {counts:?}");
    }
    ends(&pool, 1, &throttled(9), back);
    for draw in 0..100 {
        let only = chosen(&pool, &[], back, draw);
        assert_eq!(only.as_deref(), Some("ptu"), "a slow start refuses nobody");
    }
}

#[test]
fn a_deployment_that_returned_among_its_equals_gets_a_part_of_its_weight() {
    let (pool, t) = (
        pool_of(&[("a", 1, 1), ("b", 1, 1), ("c", 2, 1)]),
        Instant::now(),
    );
    fails(&pool, 0, t);
    let back = t + secs(10);
    ends(&pool, 0, &Outcome::Served, back);
    let counts = shares::<3>(&pool, back, 11_000);
    let off = chi_square(&counts[..2], &[1000.0, 10_000.0]);
    // 10.8: once in a thousand, with one degree of freedom.
    assert!(off < 10.8 && counts[2] == 0.0, "{counts:?}");
}

#[test]
fn exhaustion_by_limits_alone_says_so_and_the_soonest_return() {
    let (pool, t) = (pool_of(&[("a", 1, 1), ("b", 1, 1)]), Instant::now());
    ends(&pool, 0, &throttled(9), t);
    ends(&pool, 1, &throttled(4), t);
    let exhausted = |back_at| Exhausted {
        throttled: true,
        back_at,
    };
    let refused = pool.choose(&[0, 1], t, 0).unwrap_err();
    assert_eq!(refused, exhausted(t + secs(4)));
    let later = t + secs(5);
    let refused = pool.choose(&[0, 1], later, 0).unwrap_err();
    assert_eq!(
        refused,
        exhausted(later),
        "the one whose wait is over was asked before"
    );
}

#[test]
fn exhaustion_by_anything_else_is_no_throttling() {
    for outcome in [RESET, Outcome::IdentityRejected, Outcome::NotDeployed] {
        let (pool, t) = (pool_of(&[("a", 1, 1), ("b", 1, 1)]), Instant::now());
        ends(&pool, 0, &throttled(9), t);
        ends(&pool, 1, &outcome, t);
        assert!(!pool.exhausted(&[0, 1], t).throttled, "{outcome:?}");
    }
    let (pool, t) = (pool_of(&[("a", 1, 1)]), Instant::now());
    ends(&pool, 0, &RESET, t);
    let back_at = t + UNSAID_WAIT;
    assert_eq!(
        pool.choose(&[0], t, 0).unwrap_err(),
        Exhausted {
            throttled: false,
            back_at
        }
    );
}

#[test]
fn what_was_tried_is_not_ready_for_the_same_request() {
    let names: Vec<String> = (0..70).map(|n| n.to_string()).collect();
    let members: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 1)).collect();
    let (pool, t, mut tried) = (pool_of(&members), Instant::now(), Vec::new());
    while pool.has_ready(&tried, t) {
        let attempt = pool.choose(&tried, t, 5).unwrap();
        assert!(!tried.contains(&attempt.index()));
        tried.push(attempt.index());
    }
    assert_eq!(tried.len(), 70);
    assert!(pool.is_ready(t) && pool.choose(&tried, t, 5).is_err());
}

#[test]
fn the_order_is_that_of_a_request_and_then_of_return() {
    let members = [
        ("a", 1, 1),
        ("b", 1, 3),
        ("c", 1, 1),
        ("d", 2, 1),
        ("e", 2, 1),
    ];
    let (pool, t) = (pool_of(&members), Instant::now());
    ends(&pool, 0, &throttled(20), t);
    ends(&pool, 3, &throttled(9), t);
    fails(&pool, 4, t);
    let trial = pool.choose(&[0, 1, 2, 3], t + secs(10), 0).unwrap();
    let order = pool.order(t + secs(1));
    let places: Vec<_> = order.iter().map(|(index, _)| *index).collect();
    assert_eq!(places, [1, 2, 3, 4, 0]);
    let places: Vec<_> = pool
        .order(t + secs(10))
        .iter()
        .map(|(index, _)| *index)
        .collect();
    assert_eq!(places, [1, 2, 3, 0, 4], "{trial:?} comes last");
    let until = t + secs(20);
    let throttled = BreakerState::Open {
        until,
        cause: Cause::Throttle,
    };
    assert_eq!(order[4], (0, throttled));
}

#[test]
fn where_azure_spills_by_itself_its_429_may_stand_for_both() {
    let members = [("swc/ptu", 1, 1), ("swc/std", 2, 1), ("frc/std", 2, 1)];
    let (pool, t) = (pool_of(&members), Instant::now());
    let mut attempt = pool.choose(&[], t, 0).unwrap();
    let full = throttled(5);
    assert!(
        attempt.judge_spilled(&full, t, 0).is_none(),
        "nothing is known yet"
    );
    attempt.note_spill("std");
    attempt.note_spill("elsewhere");
    assert!(
        attempt.judge_spilled(&full, t, 0).is_none(),
        "it spills to another by now"
    );
    attempt.note_spill("ptu");
    assert_eq!(attempt.spills_to(), None, "nobody spills to itself");
    attempt.note_spill("std");
    attempt.judge(&full, t, 0);
    let (target, opened) = attempt.judge_spilled(&full, t, 0).unwrap();
    let until = t + secs(5);
    assert_eq!(
        opened,
        Transition::Opened {
            until,
            cause: Cause::Throttle
        }
    );
    assert_eq!(target.deployment().name.as_str(), "std");
    let states: Vec<_> = pool
        .members()
        .iter()
        .map(|member| member.is_ready(t))
        .collect();
    assert_eq!(states, [false, false, true]);
}

#[test]
fn right_after_a_wait_one_goes_ahead_and_only_who_has_nowhere_else_to_go_follows_at_once() {
    let wait = Duration::from_secs(1);
    let throttled = Outcome::Throttled { wait: Some(wait) };
    for (members, second) in [
        (&[("ptu", 1, 1), ("std", 2, 1)][..], 1),
        (&[("ptu", 1, 1)], 0),
    ] {
        let (pool, t) = (pool_of(members), Instant::now());
        let mut first = pool.choose(&[], t, 0).unwrap();
        first.judge(&throttled, t, 0);
        let ahead = pool.choose(&[], t + wait, 0).unwrap();
        assert_eq!(ahead.index(), 0);
        assert!(pool.is_ready(t + wait));
        let behind = pool.choose(&[], t + wait, 0).unwrap();
        assert_eq!(behind.index(), second);
    }
}

/// Says how the credential of a member's instance stands.
fn term(pool: &Arc<Pool>, instance: &str, ends: Option<Instant>, renewal: Instant, now: Instant) {
    let renewal = Some(renewal);
    pool.note_credential(&instance.into(), CredentialValidity { ends, renewal }, now);
}

#[test]
fn an_instance_without_a_token_drops_out_at_its_tokens_end_and_not_before() {
    let (pool, t) = (
        pool_of(&[("a/ptu", 1, 1), ("a/std", 2, 1), ("b/std", 3, 1)]),
        Instant::now(),
    );
    let end = t + secs(60);
    term(&pool, "a", Some(end), t + secs(90), t);
    let last = end - Duration::from_nanos(1);
    assert_eq!(chosen(&pool, &[], last, 0).as_deref(), Some("a"));
    assert_eq!(chosen(&pool, &[], end, 0).as_deref(), Some("b"));
    let states: Vec<_> = pool.members().iter().map(|it| it.is_ready(end)).collect();
    assert_eq!(states, [false, false, true]);
    let aside = BreakerState::Open {
        until: t + secs(90),
        cause: Cause::Credential,
    };
    assert_eq!(pool.members()[0].state(end), aside);
    assert!(pool.has_ready(&[], end) && !pool.has_ready(&[2], end));
    let order: Vec<_> = pool.order(end).iter().map(|(index, _)| *index).collect();
    assert_eq!(order, [2, 0, 1]);
    term(&pool, "a", Some(end + secs(60)), t, end);
    assert_eq!(
        chosen(&pool, &[], end, 0).as_deref(),
        Some("a"),
        "it is back"
    );
}

#[test]
fn a_pool_without_any_token_is_no_throttled_one_and_says_when_the_next_is_asked_for() {
    let (pool, t) = (pool_of(&[("a", 1, 1), ("b", 1, 1)]), Instant::now());
    ends(&pool, 0, &throttled(30), t);
    term(&pool, "a", Some(t), t + secs(5), t);
    term(&pool, "b", Some(t), t + secs(14), t);
    let refused = pool.choose(&[], t, 0).unwrap_err();
    let both = |seconds| Exhausted {
        throttled: false,
        back_at: t + secs(seconds),
    };
    assert_eq!(refused, both(14), "the other has its own word beside");
    assert!(!pool.is_ready(t));
    term(&pool, "b", Some(t), t, t);
    let refused = pool.choose(&[], t, 0).unwrap_err();
    assert_eq!(refused, both(1), "the token is being asked for");
}

#[test]
fn who_has_no_token_follows_nobody_and_is_no_trial() {
    let (pool, t) = (pool_of(&[("ptu", 1, 1)]), Instant::now());
    ends(&pool, 0, &throttled(1), t);
    let ahead = pool.choose(&[], t + secs(1), 0).unwrap();
    term(&pool, "ptu", Some(t), t, t);
    assert!(pool.choose(&[], t + secs(1), 0).is_err());
    drop(ahead);
    assert!(pool.choose(&[], t + secs(100), 0).is_err());
    pool.note_credential(&"ptu".into(), CredentialValidity::default(), t);
    assert!(pool.choose(&[], t + secs(100), 0).is_ok());
}

#[test]
fn what_a_pool_can_do_is_told_apart_by_what_stands_in_the_way() {
    let (pool, t) = (pool_of(&[("a", 1, 1), ("b", 2, 1)]), Instant::now());
    assert_eq!(pool.ability(t), Ability::Serves);
    ends(&pool, 0, &throttled(30), t);
    assert_eq!(pool.ability(t), Ability::Serves);
    ends(&pool, 1, &throttled(20), t);
    assert_eq!(pool.ability(t), Ability::Throttled);
    // A told wait that is over needs no trial.
    assert_eq!(pool.ability(t + secs(20)), Ability::Serves);

    let pool = pool_of(&[("a", 1, 1), ("b", 2, 1)]);
    ends(&pool, 0, &throttled(30), t);
    fails(&pool, 1, t);
    assert_eq!(pool.ability(t), Ability::Down, "not throttling alone");
    assert_eq!(pool.ability(t + secs(10)), Ability::Untried);
    let trial = pool.choose(&[], t + secs(10), 0).unwrap();
    assert_eq!(pool.ability(t + secs(10)), Ability::OnTrial);
    drop(trial);
    pool.note_credential(&"b".into(), CredentialValidity::over(t, t + secs(60)), t);
    assert_eq!(pool.ability(t + secs(10)), Ability::Down);
    assert_eq!(pool.ability(t + secs(30)), Ability::Serves);
}

#[test]
fn who_was_told_of_no_time_at_all_is_not_sent_back_at_once() {
    for (wait, back) in [
        (Some(Duration::ZERO), UNSAID_WAIT),
        (None, secs(10)),
        (Some(Duration::from_millis(43)), Duration::from_millis(43)),
    ] {
        let (pool, t) = (pool_of(&[("a", 1, 1)]), Instant::now());
        ends(&pool, 0, &Outcome::Throttled { wait }, t);
        let exhausted = pool.exhausted(&[0], t);
        assert_eq!((exhausted.throttled, exhausted.back_at), (true, t + back));
    }
}

#[test]
fn a_wait_that_is_over_at_the_pools_first_moment_is_over_for_choosing_too() {
    let (pool, t) = (pool_of(&[("a", 1, 1)]), Instant::now());
    assert_eq!(chosen(&pool, &[], t, 0).as_deref(), Some("a"));
    let wait = Some(Duration::ZERO);
    ends(
        &pool,
        0,
        &Outcome::Faulted {
            fault: Fault::Status,
            wait,
        },
        t,
    );
    assert!(pool.members()[0].is_ready(t) && pool.has_ready(&[], t));
}
