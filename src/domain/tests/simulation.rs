//! Hours of traffic over a pool whose deployments throttle, fail and recover at random, in virtual time: each request is
//! driven by the real `Progress`, `Pool` and `Budget`, and each step is checked against what is true of the deployments.

mod traffic;
mod world;

use std::{env, ops::Range, thread, time::Duration};

use self::{
    traffic::{Tally, Traffic},
    world::Life,
};

const HOUR: Duration = Duration::from_secs(3600);

/// So many random worlds, unless `FOREBAY_SIMULATIONS` says otherwise.
const SEEDS: u64 = 50;

#[test]
fn hours_of_trouble_lose_no_request_that_a_deployment_could_have_served() {
    let seeds = env::var("FOREBAY_SIMULATIONS").map_or(SEEDS, |text| text.parse().unwrap());
    let half = seeds / 2;
    let other = thread::spawn(move || run(half..seeds));
    let tally = run(0..half) + other.join().unwrap();
    // What never happened was not tested.
    assert!(tally.served > 100 * seeds, "{tally:?}");
    for happened in [
        tally.moved,
        tally.refused,
        tally.throttled,
        tally.trials,
        tally.broken,
        tally.rejected,
        tally.cut,
        tally.charged,
        tally.doubted,
    ] {
        assert!(happened >= seeds.min(20), "{tally:?}");
    }
    println!("{tally:?}");
}

fn run(seeds: Range<u64>) -> Tally {
    let mut total = Tally::default();
    for seed in seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let members: Vec<_> = (0..random.usize(4..=6))
            .map(|_| (random.u32(1..=3), random.u32(1..=5)))
            .collect();
        let lives = members
            .iter()
            .map(|_| Life::new(&mut random, 4 * HOUR))
            .collect();
        let rate = 0.3 + 1.5 * random.f64();
        let mut traffic = Traffic::new(seed, &members, lives, rate);
        traffic.run_until(4 * HOUR);
        total = total + traffic.ended();
    }
    total
}

/// Of three equal deployments one fails for ten minutes.
#[test]
fn a_deployment_that_recovers_has_its_whole_share_within_the_longest_pause_and_the_ramp() {
    for seed in 0..10 {
        let minute = |minutes: u64| Duration::from_secs(60 * minutes);
        let far = (9 * HOUR, 10 * HOUR);
        let lives = [(minute(10), minute(20)), far, far]
            .map(|(from, until)| Life::failing_between(from, until));
        let mut traffic = Traffic::new(seed, &[(1, 1); 3], lives.into(), 20.0);
        let mut share_until = |until| {
            let before = traffic.asked().to_vec();
            traffic.run_until(until);
            let asked: Vec<_> = traffic
                .asked()
                .iter()
                .zip(before)
                .map(|(now, then)| now - then)
                .collect();
            asked[0] as f64 / asked.iter().sum::<u64>() as f64
        };
        assert!((share_until(minute(10)) - 0.33).abs() < 0.03);
        assert!(share_until(minute(20)) < 0.005, "it is dead");
        // The pause, the ramp, a trial that takes its time, and the draw that makes it one.
        let back = minute(20) + Duration::from_secs(120 + 10 + 5 + 2);
        let share = share_until(back);
        assert!(share < 0.31, "it was away, and came back slowly: {share}");
        let share = share_until(back + minute(10));
        assert!((share - 0.33).abs() < 0.03, "{share}");
        traffic.ended();
    }
}
