//! A client's day in virtual time.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant, SystemTime},
};

use proptest::prelude::*;

mod guesses;

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
        let calendar = Calendar::of(zone).unwrap();
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
        let mut allowance = self.quotas.of(&"app".into()).expect("it has limits");
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
    let allowance = desk.quotas.of(&"app".into()).unwrap();
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
            .contains("tokens_per_minute of 1000 for client app has no room")
    );
    let mut allowance = desk.quotas.of(&"app".into()).unwrap();
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

/// A client that sends its next request as soon as it has an answer or was refused, over so many connections, and heeds no
/// wait. Gives, for every token that was used, when its request was admitted.
fn hammer(
    desk: &Desk,
    connections: u64,
    minutes: u64,
    estimate: u64,
    uses: impl Fn(u64) -> u64,
) -> Vec<(Duration, u64)> {
    let mut spent = Vec::new();
    // Who acts when: what is under way with it, if anything.
    let mut running: Vec<Option<(Reservation, Duration, u64)>> =
        (0..connections).map(|_| None).collect();
    let mut next: BinaryHeap<_> = (0..connections)
        .map(|it| Reverse((Duration::from_micros(it * 37), it)))
        .collect();
    let mut number = 0;
    while let Some(Reverse((at, connection))) = next.pop() {
        if at >= secs(60 * minutes) {
            break;
        }
        if let Some((reservation, admitted, tokens)) = running[connection as usize].take() {
            reservation.settle(used(tokens), desk.now(at));
            spent.push((admitted, tokens));
        }
        let pause = match desk.ask("m", (estimate / 4, estimate - estimate / 4), at) {
            Ok(reservation) => {
                number += 1;
                running[connection as usize] = Some((reservation, at, uses(number)));
                // An answer takes 200 ms to 1.2 s.
                Duration::from_millis(200 + number * 7919 % 1000)
            }
            Err(_) => Duration::from_millis(20),
        };
        next.push(Reverse((at + pause, connection)));
    }
    for (reservation, admitted, tokens) in running.into_iter().flatten() {
        reservation.settle(used(tokens), desk.now(secs(60 * minutes)));
        spent.push((admitted, tokens));
    }
    spent.sort();
    spent
}

/// The most that was admitted in any 60 seconds.
fn busiest_minute(spent: &[(Duration, u64)]) -> u64 {
    let (mut first, mut sum, mut most) = (0, 0, 0);
    for (at, tokens) in spent {
        sum += tokens;
        while spent[first].0 + secs(60) <= *at {
            sum -= spent[first].1;
            first += 1;
        }
        most = most.max(sum);
    }
    most
}

#[test]
fn a_client_that_hammers_gets_its_limit_and_in_no_minute_more_than_one_request_above() {
    for (estimate, uses) in [
        (100, &(|_| 100_u64) as &dyn Fn(u64) -> u64),
        (550, &|_| 550),
        (550, &|number| 1 + number * 104_729 % 550),
        (1000, &|number| 60 + number * 104_729 % 100),
    ] {
        let desk = Desk::own(tokens_per_minute(60_000));
        let spent = hammer(&desk, 50, 3, estimate, uses);
        let total: u64 = spent.iter().map(|(_, tokens)| tokens).sum();
        let most = busiest_minute(&spent);
        println!("estimate {estimate}: {total} tokens in 3 minutes, {most} in the busiest");
        assert!(
            total.abs_diff(180_000) <= 1_800,
            "{estimate}: {total} in three minutes"
        );
        assert!(most < 60_000 + estimate, "{estimate}: {most} in a minute");
        // What is small beside its limit stays below it.
        assert!(
            estimate > 600 || most <= 60_000,
            "{estimate}: {most} in a minute"
        );
    }
}

#[test]
fn a_client_that_comes_evenly_gets_its_limit_too() {
    let desk = Desk::own(tokens_per_minute(60_000));
    let mut total = 0;
    for tick in 0..10_000_u64 {
        let at = Duration::from_millis(tick * 60);
        // 100 tokens each 60 ms would be 100,000 a minute.
        total += desk.spend(100, at).map_or(0, |()| 100);
    }
    assert!(
        (600_000..=606_000).contains(&total),
        "{total} in ten minutes"
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

/// What a client with these limits may send of a body, and what is then sent.
fn judged(limits: Limits, operation: Operation, body: &str) -> Result<(String, Output), String> {
    let desk = Desk::own(limits);
    let allowance = desk.quotas.of(&"app".into()).unwrap();
    let bytes = body.as_bytes();
    let ask = Ask::read(Some("application/json"), bytes).map_err(|it| it.reason().to_owned())?;
    let wanted = allowance
        .rules()
        .judge(operation, &ask, bytes)
        .map_err(|it| it.reason().to_owned())?;
    let mut changes = wanted.changes;
    changes.extend(
        wanted
            .cap
            .and_then(|cap| cap.say(output::Field::MaxCompletionTokens, &ask)),
    );
    changes.sort_by_key(|change| Reverse(change.at.start));
    let mut sent = bytes.to_vec();
    for change in changes {
        sent.splice(change.at, change.with);
    }
    Ok((String::from_utf8(sent).unwrap(), wanted.output))
}

fn at_most(most: u64) -> Limits {
    Limits {
        max_output_tokens: Some(most),
        n: Some(4),
        best_of: Some(4),
        ..Limits::default()
    }
}

#[test]
fn more_output_than_a_client_may_have_is_asked_for_by_nobody() {
    let chat = |body: &str| judged(at_most(100), Operation::ChatCompletions, body);
    let cut = |body: &str, sent: &str, output: u64| {
        assert_eq!(
            chat(body),
            Ok((sent.to_owned(), Output::AtMost(output))),
            "{body}"
        );
    };
    cut(r#"{"max_tokens":50}"#, r#"{"max_tokens":50}"#, 50);
    cut(
        r#"{"max_tokens": 5000 ,"n":3}"#,
        r#"{"max_tokens": 100 ,"n":3}"#,
        300,
    );
    cut(
        r#"{"max_completion_tokens":101,"max_tokens":9}"#,
        r#"{"max_completion_tokens":100,"max_tokens":9}"#,
        100,
    );
    cut(
        r#"{"max_output_tokens":101}"#,
        r#"{"max_completion_tokens":100,"max_output_tokens":100}"#,
        100,
    );
    cut(
        r#"{"messages":[]}"#,
        r#"{"max_completion_tokens":100,"messages":[]}"#,
        100,
    );
    cut(
        r#"{"max_completion_tokens": null}"#,
        r#"{"max_completion_tokens": 100}"#,
        100,
    );
    cut(
        r#"{"m\u0061x_tokens":200}"#,
        r#"{"m\u0061x_tokens":100}"#,
        100,
    );
    // Azure multiplies by the drafts.
    cut(
        r#"{"max_tokens":10,"n":2,"best_of":4}"#,
        r#"{"max_tokens":10,"n":2,"best_of":4}"#,
        40,
    );
    let refusing = Limits {
        over_max_output_tokens: OverMaxOutput::Refuse,
        ..at_most(100)
    };
    let refused = judged(
        refusing,
        Operation::ChatCompletions,
        r#"{"max_tokens":101}"#,
    );
    assert_eq!(refused, Err("max_output_tokens_exceeded".into()));
}

#[test]
fn no_way_of_writing_a_number_gets_round_a_limit() {
    for value in [
        "\"50\"",
        "1e9",
        "50.0",
        "-1",
        "-0",
        "[50]",
        "{}",
        "true",
        "99999999999999999999999999",
        "1E400",
    ] {
        for field in [
            "max_tokens",
            "max_completion_tokens",
            "max_output_tokens",
            "n",
            "best_of",
        ] {
            let body = format!("{{\"{field}\":{value}}}");
            let read = judged(at_most(100), Operation::ChatCompletions, &body);
            assert_eq!(read, Err("unreadable_limit".into()), "{body}");
        }
    }
    for field in ["max_tokens", "n"] {
        let body = format!("{{\"{field}\":1,\"{field}\":900}}");
        let read = judged(at_most(100), Operation::ChatCompletions, &body);
        assert_eq!(read, Err("member_twice".into()), "{body}");
    }
    let more = |field| {
        judged(
            at_most(100),
            Operation::Completions,
            &format!("{{\"{field}\":5}}"),
        )
    };
    assert_eq!(more("n"), Err("n_exceeded".into()));
    assert_eq!(more("best_of"), Err("best_of_exceeded".into()));
}

#[test]
fn only_what_has_output_is_bounded_in_it() {
    let embeddings = judged(at_most(100), Operation::Embeddings, r#"{"input":"x"}"#);
    assert_eq!(
        embeddings,
        Ok((r#"{"input":"x"}"#.into(), Output::AtMost(0)))
    );
    let unbounded = judged(
        tokens_per_minute(9),
        Operation::ChatCompletions,
        r#"{"n":3}"#,
    );
    assert_eq!(
        unbounded,
        Ok((r#"{"n":3}"#.into(), usual(Operation::ChatCompletions, 3)))
    );
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
