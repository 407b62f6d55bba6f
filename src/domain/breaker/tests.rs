use super::*;

mod trials;

const SETTINGS: Settings = Settings {
    faults: 5,
    window: secs(30),
    pause: secs(10),
    longest_pause: secs(120),
    unsaid_pause: secs(10),
    ramp: secs(10),
};
const RESET: Outcome = Outcome::fault(Fault::Reset);
/// The draw that lengthens no pause.
const EVEN: u64 = 0;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn throttled(seconds: u64) -> Outcome {
    Outcome::Throttled {
        wait: Some(secs(seconds)),
    }
}

fn unavailable(seconds: u64) -> Outcome {
    Outcome::Faulted {
        fault: Fault::Status,
        wait: Some(secs(seconds)),
    }
}

fn open(until: Instant, cause: Cause) -> BreakerState {
    BreakerState::Open { until, cause }
}

/// Lets a request through that ends at once.
fn ends(breaker: &mut Breaker, outcome: &Outcome, now: Instant) -> Option<Transition> {
    let pass = breaker.pass(now).expect("it is ready");
    breaker.note(pass, outcome, now, EVEN)
}

/// A deployment that was set aside by its faults at this moment.
fn failed(now: Instant) -> Breaker {
    let mut breaker = Breaker::new(SETTINGS);
    for _ in 1..SETTINGS.faults {
        assert_eq!(ends(&mut breaker, &RESET, now), None);
    }
    let (until, cause) = (now + secs(10), Cause::Fault);
    assert_eq!(
        ends(&mut breaker, &RESET, now),
        Some(Transition::Opened { until, cause })
    );
    breaker
}

#[test]
fn a_throttled_deployment_is_ready_when_its_wait_is_over_and_one_goes_a_moment_ahead() {
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    let (until, cause) = (t + secs(7), Cause::Throttle);
    assert_eq!(
        ends(&mut breaker, &throttled(7), t),
        Some(Transition::Opened { until, cause })
    );
    assert_eq!(breaker.state(t + secs(6)), open(until, cause));
    assert_eq!(breaker.pass(t + secs(6)), None);
    assert_eq!(breaker.state(until), BreakerState::Closed);
    let ahead = breaker.pass(until).unwrap();
    assert_eq!(breaker.pass(until), None);
    let since = until;
    assert_eq!(breaker.state(until), BreakerState::Trial { since, cause });
    assert_eq!(
        breaker.note(ahead, &Outcome::Served, until, EVEN),
        Some(Transition::Closed)
    );
    for _ in 0..3 {
        assert!(breaker.pass(until).is_some());
    }
    assert_eq!(ends(&mut breaker, &Outcome::Served, until), None);
}

#[test]
fn the_others_follow_soon_even_while_the_first_is_still_being_answered() {
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    ends(&mut breaker, &throttled(7), t);
    let until = t + secs(7);
    assert!(breaker.pass(until).is_some());
    let soon = until + cooldown::LONGEST_LEAD;
    assert_eq!(breaker.pass(soon - Duration::from_nanos(1)), None);
    for _ in 0..3 {
        assert!(breaker.pass(soon).is_some());
    }
    assert_eq!(breaker.state(soon), BreakerState::Closed);
}

#[test]
fn a_request_with_nowhere_else_to_go_follows_at_once() {
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    ends(&mut breaker, &throttled(7), t);
    assert_eq!(breaker.pass_behind(t + secs(6)), None);
    let ahead = breaker.pass(t + secs(7)).unwrap();
    assert!(breaker.pass_behind(t + secs(7)).is_some());
    // The first one's 429 closes it for all of them.
    breaker.note(ahead, &throttled(2), t + secs(7), EVEN);
    assert_eq!(breaker.pass_behind(t + secs(7)), None);
}

#[test]
fn one_that_went_ahead_and_left_is_followed_by_another() {
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    ends(&mut breaker, &throttled(7), t);
    let until = t + secs(7);
    assert_eq!(ends(&mut breaker, &Outcome::ClientLeft, until), None);
    assert!(breaker.pass(until).is_some());
    assert_eq!(breaker.pass(until), None);
}

#[test]
fn waits_extend_and_never_shorten_nor_add_up() {
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    let pass = breaker.pass(t).unwrap();
    breaker.note(pass, &throttled(10), t, EVEN);
    for (wait, until) in [(2, 10), (9, 10), (20, 21), (19, 21), (19, 21)] {
        // One that was opened before is no news.
        assert_eq!(
            breaker.note(pass, &throttled(wait), t + secs(1), EVEN),
            None
        );
        assert_eq!(breaker.state(t), open(t + secs(until), Cause::Throttle));
    }
}

#[test]
fn an_answer_from_before_the_wait_does_not_end_it() {
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    let before = breaker.pass(t).unwrap();
    ends(&mut breaker, &throttled(10), t);
    assert_eq!(
        breaker.note(before, &Outcome::Served, t + secs(1), EVEN),
        None
    );
    assert!(!breaker.is_ready(t + secs(9)));
}

#[test]
fn a_wait_beyond_the_longest_is_cut_and_then_one_asks_first() {
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    ends(&mut breaker, &throttled(86_400), t);
    let until = t + secs(120);
    assert!(!breaker.is_ready(until - secs(1)));
    let trial = breaker.pass(until).unwrap();
    let since = until;
    assert_eq!(
        breaker.state(until),
        BreakerState::Trial {
            since,
            cause: Cause::Throttle
        }
    );
    assert_eq!(breaker.pass(until + secs(60)), None);
    assert_eq!(
        breaker.note(trial, &throttled(3), until, EVEN),
        Some(Transition::Opened {
            until: until + secs(3),
            cause: Cause::Throttle
        })
    );
    assert!(breaker.pass(until + secs(3)).is_some());
    assert!(
        breaker
            .pass(until + secs(3) + cooldown::LONGEST_LEAD)
            .is_some()
    );
}

#[test]
fn the_trial_after_a_cut_wait_outlasts_shorter_words_of_older_answers() {
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    let before = breaker.pass(t).unwrap();
    ends(&mut breaker, &throttled(86_400), t);
    breaker.note(before, &throttled(1), t + secs(125), EVEN);
    let trial = breaker.pass(t + secs(126)).unwrap();
    assert_eq!(breaker.pass(t + secs(126)), None);
    assert_eq!(
        breaker.note(trial, &Outcome::Served, t + secs(127), EVEN),
        Some(Transition::Closed)
    );
    assert_eq!(
        breaker.state(t + secs(127)),
        BreakerState::Closed,
        "without a ramp"
    );
}

#[test]
fn a_dead_deployment_is_set_aside_however_many_successes_came_before() {
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    for _ in 0..10_000 {
        ends(&mut breaker, &Outcome::Served, t);
    }
    for _ in 0..4 {
        ends(&mut breaker, &RESET, t);
        assert_eq!(breaker.state(t), BreakerState::Closed);
    }
    ends(&mut breaker, &RESET, t);
    assert_eq!(breaker.state(t), open(t + secs(10), Cause::Fault));
}

#[test]
fn faults_among_more_successes_never_set_a_deployment_aside() {
    for well in [Outcome::Served, Outcome::CallerError, Outcome::Unwanted] {
        let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
        for _ in 0..1000 {
            // 4 faults of 10 attempts are too few; throttled ones are no attempts here.
            for (times, outcome) in [(4, RESET), (6, well), (9, throttled(0))] {
                for _ in 0..times {
                    ends(&mut breaker, &outcome, t);
                    assert_eq!(breaker.state(t), BreakerState::Closed);
                }
            }
        }
    }
}

#[test]
fn half_of_the_latest_attempts_is_too_much() {
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    for _ in 0..4 {
        ends(&mut breaker, &RESET, t);
        ends(&mut breaker, &Outcome::Served, t);
    }
    assert!(ends(&mut breaker, &RESET, t).is_some());
}

#[test]
fn throttled_attempts_between_faults_do_not_hide_them() {
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    for number in 1..=5 {
        for _ in 0..20 {
            ends(&mut breaker, &throttled(0), t);
        }
        let opened = ends(&mut breaker, &RESET, t);
        assert_eq!(opened.is_some(), number == 5);
    }
}

#[test]
fn faults_far_apart_do_not_add_up() {
    for (apart, trips) in [(8, None), (7, Some(4))] {
        let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
        let mut faults =
            (0..100).map(|number| ends(&mut breaker, &RESET, t + secs(apart) * number));
        assert_eq!(faults.position(|opened| opened.is_some()), trips);
    }
}

#[test]
fn one_request_at_a_time_tries_a_failed_deployment() {
    let t = Instant::now();
    let (mut breaker, since) = (failed(t), t + secs(10));
    assert_eq!(breaker.pass(since - secs(1)), None);
    assert_eq!(breaker.state(since), open(since, Cause::Fault));
    let trial = breaker.pass(since).unwrap();
    assert_eq!(
        breaker.state(since),
        BreakerState::Trial {
            since,
            cause: Cause::Fault
        }
    );
    assert_eq!(breaker.pass(since + secs(100)), None);
    breaker.note(trial, &Outcome::ClientLeft, since, EVEN);
    let trial = breaker.pass(since).expect("it was given back");
    assert_eq!(
        breaker.note(trial, &Outcome::Served, since, EVEN),
        Some(Transition::Closed)
    );
    assert!(breaker.pass(since).is_some() && breaker.pass(since).is_some());
}

#[test]
fn the_pause_doubles_with_each_failed_trial_up_to_the_longest_and_starts_anew_after_a_success() {
    let mut t = Instant::now();
    let mut breaker = failed(t);
    for pause in [10, 20, 40, 80, 120, 120] {
        assert_eq!(breaker.state(t), open(t + secs(pause), Cause::Fault));
        t += secs(pause);
        ends(&mut breaker, &RESET, t);
    }
    t += secs(120);
    ends(&mut breaker, &Outcome::Served, t);
    for _ in 0..5 {
        ends(&mut breaker, &RESET, t);
    }
    assert_eq!(breaker.state(t), open(t + secs(10), Cause::Fault));
}

#[test]
fn chance_lengthens_a_pause_by_a_tenth_at_most() {
    let pause = |failed_trials, draw| SETTINGS.pause(failed_trials, draw);
    assert_eq!(pause(0, 0), secs(10));
    assert_eq!(pause(0, u64::MAX / 2).as_millis(), 10_500);
    assert_eq!(pause(1, u64::MAX), secs(22));
    assert_eq!(pause(9, u64::MAX), secs(120));
    assert_eq!(pause(u32::MAX, 0), secs(120));
}

#[test]
fn a_deployment_that_returned_starts_with_a_tenth_of_its_share() {
    let t = Instant::now();
    let (mut breaker, back) = (failed(t), t + secs(10));
    ends(&mut breaker, &Outcome::Served, back);
    for (seconds, expected) in [(0, 0.1), (5, 0.55), (9, 0.91)] {
        let BreakerState::Ramping { share } = breaker.state(back + secs(seconds)) else {
            panic!("it is not ramping");
        };
        assert!((share - expected).abs() < 1e-9, "{share}");
    }
    assert_eq!(breaker.state(back + secs(10)), BreakerState::Closed);
}

#[test]
fn an_answer_from_before_it_was_set_aside_changes_nothing_but_by_its_word() {
    for outcome in [
        Outcome::Served,
        RESET,
        Outcome::IdentityRejected,
        Outcome::NotDeployed,
    ] {
        let (t, mut breaker) = (Instant::now(), Breaker::new(SETTINGS));
        let before: Vec<_> = (0..9).map(|_| breaker.pass(t).unwrap()).collect();
        for pass in &before[..5] {
            breaker.note(*pass, &RESET, t, EVEN);
        }
        let aside = open(t + secs(10), Cause::Fault);
        assert_eq!(breaker.note(before[5], &outcome, t + secs(1), EVEN), None);
        assert_eq!(breaker.state(t + secs(1)), aside);
        // Neither while one tries it, nor when it has returned.
        let trial = breaker.pass(t + secs(10)).unwrap();
        assert_eq!(breaker.note(before[6], &outcome, t + secs(10), EVEN), None);
        assert!(matches!(
            breaker.state(t + secs(10)),
            BreakerState::Trial { .. }
        ));
        breaker.note(trial, &Outcome::Served, t + secs(10), EVEN);
        breaker.note(before[7], &outcome, t + secs(10), EVEN);
        assert!(breaker.is_ready(t + secs(10)));
        breaker.note(before[8], &throttled(5), t + secs(10), EVEN);
        let cooldown = open(t + secs(15), Cause::Throttle);
        assert_eq!(breaker.state(t + secs(10)), cooldown);
    }
}

#[test]
fn the_two_clocks_do_not_move_each_other_and_the_later_counts() {
    let t = Instant::now();
    let mut breaker = Breaker::new(SETTINGS);
    let before = breaker.pass(t).unwrap();
    let mut breaker_of_faults = failed(t);
    breaker_of_faults.note(before, &throttled(3), t, EVEN);
    assert_eq!(
        breaker_of_faults.state(t),
        open(t + secs(10), Cause::Fault),
        "the pause is the later"
    );
    breaker_of_faults.note(before, &throttled(30), t, EVEN);
    assert_eq!(
        breaker_of_faults.state(t),
        open(t + secs(30), Cause::Throttle)
    );
    let trial = breaker_of_faults.pass(t + secs(30)).unwrap();
    assert!(trial.trial, "its faults are not forgotten");
}

#[test]
fn a_fault_with_a_word_counts_on_both_clocks() {
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    let pass = breaker.pass(t).unwrap();
    for _ in 0..4 {
        breaker.note(pass, &unavailable(3), t, EVEN);
        assert_eq!(breaker.state(t), open(t + secs(3), Cause::Fault));
    }
    breaker.note(pass, &unavailable(60), t, EVEN);
    assert_eq!(breaker.state(t), open(t + secs(60), Cause::Fault));
    assert!(breaker.pass(t + secs(60)).is_some_and(|pass| pass.trial));
}

#[test]
fn a_rejected_credential_and_a_missing_deployment_are_set_aside_at_once_and_return_whole() {
    for (outcome, cause) in [
        (Outcome::IdentityRejected, Cause::Credential),
        (Outcome::NotDeployed, Cause::Configuration),
    ] {
        let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
        ends(&mut breaker, &outcome, t);
        assert_eq!(breaker.state(t), open(t + secs(10), cause));
        ends(&mut breaker, &outcome, t + secs(10));
        let until = t + secs(30);
        assert_eq!(breaker.state(t + secs(10)), open(until, cause));
        ends(&mut breaker, &Outcome::Served, until);
        assert_eq!(breaker.state(until), BreakerState::Closed);
    }
}

#[test]
fn what_does_not_come_from_the_deployment_says_nothing_of_it() {
    for outcome in [
        Outcome::ClientLeft,
        Outcome::fault(Fault::Credential),
        Outcome::fault(Fault::OwnLimit),
    ] {
        let t = Instant::now();
        let mut breaker = Breaker::new(SETTINGS);
        for _ in 0..100 {
            assert_eq!(ends(&mut breaker, &outcome, t), None);
        }
        assert_eq!(breaker.state(t), BreakerState::Closed);
        let mut breaker = failed(t);
        for _ in 0..3 {
            assert_eq!(ends(&mut breaker, &outcome, t + secs(10)), None);
        }
        assert_eq!(breaker.state(t), open(t + secs(10), Cause::Fault));
    }
}

#[test]
fn streams_that_break_off_count_like_attempts_that_failed() {
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    for number in 1..=5 {
        let pass = breaker.pass(t).unwrap();
        breaker.note(pass, &Outcome::Served, t, EVEN);
        let opened = breaker.amend(pass, &Outcome::fault(Fault::Broken), t, EVEN);
        assert_eq!(opened.is_some(), number == 5);
    }
    let trial = breaker.pass(t + secs(10)).unwrap();
    breaker.note(trial, &Outcome::Served, t + secs(10), EVEN);
    breaker.amend(trial, &throttled(6), t + secs(12), EVEN);
    let cooldown = open(t + secs(18), Cause::Throttle);
    assert_eq!(breaker.state(t + secs(12)), cooldown);
}

#[test]
fn the_lead_after_a_wait_is_as_long_as_that_within_bounds() {
    let ms = Duration::from_millis;
    for (wait, lead) in [(3, 20), (43, 43), (499, 499), (7000, 500), (120_000, 500)] {
        let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
        let wait = ms(wait);
        ends(&mut breaker, &Outcome::Throttled { wait: Some(wait) }, t);
        let ahead = breaker.pass(t + wait);
        assert!(ahead.is_some());
        let follows = t + wait + ms(lead);
        assert_eq!(breaker.pass(follows - Duration::from_nanos(1)), None);
        assert!(breaker.pass(follows).is_some(), "{wait:?}");
    }
}

#[test]
fn a_429_that_names_no_time_is_waited_out_as_the_config_says() {
    for (unsaid_pause, longest_pause, pause) in [(10, 120, 10), (3, 120, 3), (10, 5, 5)] {
        let settings = Settings {
            unsaid_pause: secs(unsaid_pause),
            longest_pause: secs(longest_pause),
            ..SETTINGS
        };
        let (mut breaker, t) = (Breaker::new(settings), Instant::now());
        ends(&mut breaker, &Outcome::Throttled { wait: None }, t);
        let until = t + secs(pause);
        assert_eq!(breaker.state(t), open(until, Cause::Throttle));
        assert!(breaker.is_ready(until));
    }
}

#[test]
fn a_redirect_is_set_aside_at_once_as_a_configuration_to_mend() {
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    ends(&mut breaker, &Outcome::Served, t);
    ends(&mut breaker, &Outcome::Redirected, t);
    assert_eq!(breaker.state(t), open(t + secs(10), Cause::Redirect));
    assert_eq!(Cause::Redirect.as_str(), "configuration");
    assert_eq!(Cause::NotTheApi.as_str(), "configuration");
}

#[test]
fn a_deployment_that_served_is_not_gone_for_one_requests_wish() {
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    ends(&mut breaker, &Outcome::Served, t);
    for _ in 1..SETTINGS.faults {
        ends(&mut breaker, &Outcome::NotDeployed, t);
        assert_eq!(breaker.state(t), BreakerState::Closed);
    }
    ends(&mut breaker, &Outcome::NotDeployed, t);
    assert_eq!(breaker.state(t), open(t + secs(10), Cause::Configuration));
}
