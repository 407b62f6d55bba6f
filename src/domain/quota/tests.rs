//! A client's day in virtual time.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant, SystemTime},
};

use proptest::prelude::*;

mod guesses;
mod output_limits;
mod over_minutes;

use super::*;
use crate::domain::{ask::Ask, refusal::Limited, route::Operation};

/// The accounts of one client with these limits, and a clock.
struct Desk {
    quotas: Quotas,
    opened: Moment,
}

impl Desk {
    fn of(limits: ClientLimits) -> Self {
        Self::at(limits, "UTC", 0)
    }

    fn at(limits: ClientLimits, zone: &str, second: u64) -> Self {
        let opened = Moment {
            at: Instant::now(),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
        };
        let calendar = Calendar::for_zone(zone).unwrap();
        let quotas = Quotas::new([(&"app".into(), &limits)], calendar, opened);
        Self { quotas, opened }
    }

    fn own(limits: Limits) -> Self {
        Self::of(ClientLimits {
            own: limits,
            ..ClientLimits::default()
        })
    }

    fn now(&self, after: Duration) -> Moment {
        Moment {
            at: self.opened.at + after,
            wall: self.opened.wall + after,
        }
    }

    /// A request for a model with this input and at most this output.
    fn ask(
        &self,
        model: &str,
        tokens: (u64, u64),
        after: Duration,
    ) -> Result<Reservation, Refusal> {
        let now = self.now(after);
        let mut allowance = self
            .quotas
            .allowance_for(&"app".into())
            .expect("it has limits");
        let mut reservation = allowance.enter(now)?;
        allowance.ask_model(&mut reservation, &model.into(), now)?;
        reservation.reserve(tokens.0, Output::AtMost(tokens.1), now)?;
        Ok(reservation)
    }

    /// One that is answered at once with so many tokens.
    fn spend(&self, tokens: u64, after: Duration) -> Result<(), Refusal> {
        let reservation = self.ask("m", (tokens, 0), after)?;
        reservation.settle(used(tokens), self.now(after));
        Ok(())
    }

    fn used(&self, limit: Limit, after: Duration) -> u64 {
        let all = self.quotas.report(self.now(after));
        all.iter()
            .find(|it| it.limit == limit)
            .expect("it is set")
            .used
    }
}

fn used(total: u64) -> Spent {
    Spent::Tokens {
        total,
        answer: Some(total / 2),
    }
}

fn usual(operation: Operation, answers: u64) -> Output {
    Output::Usual { operation, answers }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn tokens_per_minute(most: u64) -> Limits {
    Limits {
        tokens_per_minute: Some(most),
        ..Limits::default()
    }
}

/// The limit and the wait of a refusal that passes.
fn for_now(refusal: Refusal) -> (Limit, Duration) {
    match refusal {
        Refusal::Limited(limited) => match *limited {
            Limited::ForNow { bound, wait } => (bound.limit, wait),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_at_its_requests_a_minute_is_told_the_exact_wait() {
    let desk = Desk::own(Limits {
        requests_per_minute: Some(3),
        ..Limits::default()
    });
    for second in [0, 10, 20] {
        desk.spend(0, secs(second)).unwrap();
    }
    let refusal = desk.spend(0, secs(25)).unwrap_err();
    assert_eq!(for_now(refusal), (Limit::RequestsPerMinute, secs(35)));
    assert!(desk.spend(0, secs(60) - Duration::from_nanos(1)).is_err());
    desk.spend(0, secs(60)).unwrap();
    let refusal = desk.spend(0, secs(60)).unwrap_err();
    assert_eq!(for_now(refusal), (Limit::RequestsPerMinute, secs(10)));
}

#[test]
fn tokens_are_reserved_on_arrival_and_settled_with_what_was_used() {
    let desk = Desk::own(tokens_per_minute(1000));
    let reservation = desk.ask("m", (200, 800), secs(0)).unwrap();
    assert_eq!(desk.used(Limit::TokensPerMinute, secs(1)), 1000);
    let refusal = desk.ask("m", (1, 1), secs(1)).unwrap_err();
    assert_eq!(for_now(refusal), (Limit::TokensPerMinute, secs(59)));
    reservation.settle(used(300), desk.now(secs(2)));
    assert_eq!(desk.used(Limit::TokensPerMinute, secs(2)), 300);
    // More than was foreseen counts all the same, from when it is known.
    let reservation = desk.ask("m", (100, 0), secs(3)).unwrap();
    reservation.settle(used(900), desk.now(secs(4)));
    assert_eq!(desk.used(Limit::TokensPerMinute, secs(4)), 1200);
    assert_eq!(desk.used(Limit::TokensPerMinute, secs(63)), 800);
    assert_eq!(desk.used(Limit::TokensPerMinute, secs(64)), 0);
}

#[test]
fn what_no_deployment_answered_counts_for_nothing() {
    let desk = Desk::own(Limits {
        requests_per_minute: Some(1),
        tokens_per_day: Some(100),
        concurrency: Some(1),
        ..tokens_per_minute(100)
    });
    for second in 0..10 {
        drop(desk.ask("m", (50, 50), secs(second)).unwrap());
        let reservation = desk.ask("m", (50, 50), secs(second)).unwrap();
        reservation.settle(Spent::Nothing, desk.now(secs(second)));
    }
    for standing in desk.quotas.report(desk.now(secs(10))) {
        assert_eq!(standing.used, 0, "{standing:?}");
    }
    let reservation = desk.ask("m", (20, 50), secs(11)).unwrap();
    reservation.settle(Spent::AsReserved, desk.now(secs(11)));
    assert_eq!(desk.used(Limit::TokensPerDay, secs(11)), 70);
}

#[test]
fn requests_at_the_same_time_are_bounded_for_as_long_as_they_last() {
    let desk = Desk::own(Limits {
        concurrency: Some(2),
        ..Limits::default()
    });
    let first = desk.ask("m", (0, 0), secs(0)).unwrap();
    let second = desk.ask("m", (0, 0), secs(0)).unwrap();
    let refusal = desk.ask("m", (0, 0), secs(300)).unwrap_err();
    assert_eq!(for_now(refusal).0, Limit::Concurrency);
    first.settle(used(5), desk.now(secs(300)));
    let third = desk.ask("m", (0, 0), secs(300)).unwrap();
    assert!(desk.ask("m", (0, 0), secs(300)).is_err());
    drop((second, third));
    assert_eq!(desk.used(Limit::Concurrency, secs(300)), 0);
}

#[test]
fn a_request_that_could_never_fit_is_told_so() {
    let desk = Desk::own(Limits {
        tokens_per_hour: Some(500),
        ..tokens_per_minute(1000)
    });
    let refusal = desk.ask("m", (100, 401), secs(0)).unwrap_err();
    assert_eq!(
        (refusal.status().as_u16(), refusal.reason()),
        (400, "request_larger_than_limit")
    );
    assert!(
        refusal.message().contains("counts as 501 tokens"),
        "{}",
        refusal.message()
    );
    assert!(
        refusal
            .message()
            .contains("tokens_per_hour of 500 for client app")
    );
    assert_eq!(refusal.should_retry(), Some(false));
    // What is only assumed of its answer makes no request too large.
    let now = desk.now(secs(0));
    let allowance = desk.quotas.allowance_for(&"app".into()).unwrap();
    let mut reservation = allowance.enter(now).unwrap();
    reservation
        .reserve(100, usual(Operation::ChatCompletions, 50), now)
        .unwrap();
    assert_eq!(desk.used(Limit::TokensPerHour, secs(0)), 500);
}

#[test]
fn a_spent_day_is_refused_until_it_renews_in_its_zone() {
    // 22 November 2026, 22:30 in Berlin.
    let limits = ClientLimits {
        own: Limits {
            tokens_per_day: Some(100),
            ..tokens_per_minute(1000)
        },
        ..ClientLimits::default()
    };
    let desk = Desk::at(limits, "Europe/Berlin", 1_795_383_000);
    desk.spend(60, secs(0)).unwrap();
    desk.spend(60, secs(1)).unwrap();
    let refusal = desk.spend(1, secs(2)).unwrap_err();
    assert_eq!(
        (refusal.status().as_u16(), refusal.code()),
        (403, "tokens_per_day_exceeded")
    );
    assert_eq!(refusal.wait(), None);
    let message = refusal.message();
    assert!(
        message.contains("2026-11-23T00:00:00+01:00 (Europe/Berlin)"),
        "{message}"
    );
    assert!(
        message.contains("tokens_per_day of 100 for client app"),
        "{message}"
    );
    assert!(desk.spend(1, secs(5399)).is_err());
    desk.spend(1, secs(5400)).unwrap();
    assert_eq!(desk.used(Limit::TokensPerDay, secs(5400)), 1);
}

#[test]
fn a_day_that_others_hold_is_not_called_spent() {
    let desk = Desk::own(Limits {
        tokens_per_day: Some(100),
        ..Limits::default()
    });
    let running = desk.ask("m", (0, 100), secs(0)).unwrap();
    let (limit, wait) = for_now(desk.spend(1, secs(0)).unwrap_err());
    assert_eq!((limit, wait), (Limit::TokensPerDay, secs(1)));
    running.settle(used(10), desk.now(secs(1)));
    desk.spend(1, secs(1)).unwrap();
}

#[test]
fn a_clock_set_back_a_little_gives_nobody_a_second_day() {
    let desk = Desk::own(Limits {
        tokens_per_day: Some(100),
        ..Limits::default()
    });
    let day = 24 * 3600;
    desk.spend(100, secs(day)).unwrap();
    assert!(desk.spend(1, secs(day - 2)).is_err());
    assert!(desk.spend(1, secs(day + 2)).is_err());
    assert!(desk.spend(1, secs(2 * day)).is_ok());
}

#[test]
fn limits_with_a_model_hold_beside_the_clients_own() {
    let desk = Desk::of(ClientLimits {
        own: tokens_per_minute(1000),
        models: [("o3".into(), tokens_per_minute(100))].into(),
    });
    let spend = |model, tokens| {
        let reservation = desk.ask(model, (tokens, 0), secs(0))?;
        reservation.settle(used(tokens), desk.now(secs(0)));
        Ok::<_, Refusal>(())
    };
    spend("o3", 100).unwrap();
    let refusal = spend("o3", 1).unwrap_err();
    assert!(
        refusal
            .message()
            .contains("tokens_per_minute of 100 for client app with model o3")
    );
    spend("gpt-4o", 900).unwrap();
    let refusal = spend("gpt-4o", 1).unwrap_err();
    assert!(
        refusal
            .message()
            .contains("exceeds the limit tokens_per_minute of 1000 for client app")
    );
    let mut allowance = desk.quotas.allowance_for(&"app".into()).unwrap();
    assert_eq!(
        allowance.left(desk.now(secs(0))).1,
        Some(Left {
            most: 1000,
            remaining: 0
        })
    );
    let mut reservation = allowance.enter(desk.now(secs(60))).unwrap();
    allowance
        .ask_model(&mut reservation, &"o3".into(), desk.now(secs(60)))
        .unwrap();
    assert_eq!(
        allowance.left(desk.now(secs(61))).1,
        Some(Left {
            most: 100,
            remaining: 100
        })
    );
}

#[test]
fn what_a_store_is_given_adds_up_through_failures_and_restarts() {
    let limits = Limits {
        tokens_per_month: Some(1_000_000),
        ..Limits::default()
    };
    let desk = Desk::own(limits.clone());
    let (mut kept, mut spent) = (0, 0);
    for round in 1..=50 {
        desk.spend(round, secs(round)).unwrap();
        spent += round;
        let changes = desk.quotas.take_changes(false);
        assert_eq!(desk.used(Limit::TokensPerMonth, secs(round)), spent);
        desk.spend(1, secs(round)).unwrap();
        spent += 1;
        if round % 3 == 0 {
            desk.quotas.not_arrived();
            continue;
        }
        kept += changes.iter().map(|count| count.tokens).sum::<u64>();
        let total = Count {
            tokens: kept,
            ..changes[0].clone()
        };
        desk.quotas.arrived(&[total]);
        assert_eq!(desk.used(Limit::TokensPerMonth, secs(round)), spent);
    }
    let last = desk.quotas.take_changes(false);
    assert_eq!(kept + last[0].tokens, spent);
    desk.quotas.not_arrived();
    assert_eq!(desk.quotas.take_changes(true)[0].tokens, spent);

    let next = Desk::own(limits);
    next.quotas.restore(
        &[Count {
            tokens: kept,
            ..last[0].clone()
        }],
        next.now(secs(60)),
    );
    assert_eq!(next.used(Limit::TokensPerMonth, secs(60)), kept);
    // What others have added to the same counter counts too.
    next.quotas.take_changes(false);
    next.quotas.arrived(&[Count {
        tokens: 700_000,
        ..last[0].clone()
    }]);
    assert_eq!(next.used(Limit::TokensPerMonth, secs(60)), 700_000);
}

#[test]
fn what_was_kept_of_another_period_is_not_taken_for_this_one() {
    let desk = Desk::own(Limits {
        tokens_per_hour: Some(100),
        ..Limits::default()
    });
    let count = |start| Count {
        client: "app".into(),
        model: None,
        period: Period::Hour,
        start,
        tokens: 90,
    };
    desk.quotas
        .restore(&[count(3600), count(-3600)], desk.now(secs(0)));
    assert_eq!(desk.used(Limit::TokensPerHour, secs(0)), 0);
    desk.quotas.restore(&[count(0)], desk.now(secs(0)));
    assert_eq!(desk.used(Limit::TokensPerHour, secs(0)), 90);
    let begun = desk.quotas.beginnings(desk.now(secs(7300)).wall);
    assert_eq!(begun[0], (Period::Hour, 7200));
}

proptest! {
    /// Whatever is asked for, used, dropped and waited for: nothing stays held.
    #[test]
    fn what_is_held_returns_to_zero(steps in prop::collection::vec((0_u64..400, 0_u64..400, 0_u8..4, 0_u64..20), 1..80)) {
        let desk = Desk::own(Limits {
            requests_per_minute: Some(20),
            tokens_per_hour: Some(3000),
            concurrency: Some(6),
            ..tokens_per_minute(1000)
        });
        let (mut at, mut held) = (Duration::ZERO, Vec::new());
        for (estimate, tokens, what, pause) in steps {
            at += secs(pause);
            if let Ok(reservation) = desk.ask("m", (estimate, 0), at) {
                held.push(reservation);
            }
            prop_assert!(desk.used(Limit::Concurrency, at) <= 6);
            prop_assert!(desk.used(Limit::RequestsPerMinute, at) <= 20);
            if let Some(reservation) = held.pop().filter(|_| what > 0) {
                match what {
                    1 => drop(reservation),
                    2 => reservation.settle(used(tokens), desk.now(at)),
                    _ => reservation.settle(Spent::AsReserved, desk.now(at)),
                }
            }
        }
        held.clear();
        prop_assert_eq!(desk.used(Limit::Concurrency, at), 0);
        prop_assert_eq!(desk.used(Limit::TokensPerMinute, at + secs(61)), 0);
        let hour = desk.used(Limit::TokensPerHour, at);
        prop_assert_eq!(desk.used(Limit::TokensPerHour, at), hour);
        prop_assert_eq!(desk.used(Limit::TokensPerHour, at + secs(7200)), 0);
    }
}
