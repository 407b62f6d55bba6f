//! What clients get over many minutes.

use super::*;

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
