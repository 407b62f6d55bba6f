//! The request that finds out, those behind it, and failures that may be their requests' own.

use super::*;

#[test]
fn a_trials_good_sign_lets_the_others_follow_and_any_good_end_closes_it() {
    let t = Instant::now();
    let (mut breaker, back) = (failed(t), t + secs(10));
    let trial = breaker.pass(back).unwrap();
    assert_eq!(breaker.pass(back), None);
    breaker.good_sign(trial);
    let follower = breaker.pass(back).unwrap();
    assert!(!follower.trial);
    assert_eq!(
        breaker.note(follower, &Outcome::Served, back, EVEN),
        Some(Transition::Closed)
    );
    // The trial's own end is one among others now.
    assert_eq!(breaker.note(trial, &RESET, back, EVEN), None);
    assert!(breaker.is_ready(back));
}

#[test]
fn behind_a_trial_that_takes_its_time_go_those_with_nowhere_else_to_go() {
    let t = Instant::now();
    let (mut breaker, back) = (failed(t), t + secs(10));
    let trial = breaker.pass(back).unwrap();
    let soon = back + TRIAL_LEAD;
    assert_eq!(breaker.pass_behind(soon - Duration::from_nanos(1)), None);
    assert!(breaker.pass_behind(soon).is_some());
    assert_eq!(breaker.pass(soon), None, "others go elsewhere");
    breaker.note(trial, &RESET, soon, EVEN);
    assert_eq!(breaker.pass_behind(soon), None);
    assert_eq!(breaker.state(soon), open(soon + secs(20), Cause::Fault));
}

#[test]
fn a_trial_whose_failure_is_held_back_leaves_its_place_and_is_charged_later() {
    let t = Instant::now();
    let (mut breaker, back) = (failed(t), t + secs(10));
    let trial = breaker.pass(back).unwrap();
    assert_eq!(breaker.hold(trial, None, back), None);
    let next = breaker.pass(back).unwrap();
    assert!(next.trial);
    let failure = Outcome::fault(Fault::Status);
    assert!(breaker.charge(trial, &failure, back, EVEN).is_some());
    assert_eq!(breaker.state(back), open(back + secs(20), Cause::Fault));
    assert_eq!(breaker.note(next, &Outcome::Served, back, EVEN), None);
}

#[test]
fn nobody_waits_for_the_end_of_a_trial_whose_follower_found_out() {
    let (t, back) = (Instant::now(), Instant::now() + secs(200));
    let answers = [Outcome::Served, Outcome::CallerError, throttled(0)];
    for (answer, is_aside) in answers.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let mut breaker = if is_aside {
            failed(t)
        } else {
            Breaker::new(SETTINGS)
        };
        breaker.tell(secs(86_400), Cause::Throttle, t);
        let trial = breaker.pass(back).unwrap();
        assert!(trial.trial);
        assert_eq!(breaker.pass(back), None);
        let now = back + TRIAL_LEAD;
        let follower = breaker.pass_behind(now).unwrap();
        breaker.note(follower, &answer, now, EVEN);
        assert!(!breaker.pass(now).unwrap().finds_out(), "{answer:?}");
    }
}

#[test]
fn an_answer_from_before_a_wait_ends_no_trial_that_is_for_it() {
    let (t, back) = (Instant::now(), Instant::now() + secs(200));
    let mut breaker = Breaker::new(SETTINGS);
    breaker.tell(secs(86_400), Cause::Throttle, t);
    let first = breaker.pass(back).unwrap();
    let follower = breaker.pass_behind(back + TRIAL_LEAD).unwrap();
    breaker.note(follower, &Outcome::Served, back + TRIAL_LEAD, EVEN);
    breaker.tell(secs(86_400), Cause::Throttle, back + TRIAL_LEAD);
    let again = back + secs(200);
    let second = breaker.pass(again).unwrap();
    assert!(first.trial && second.trial);
    breaker.note(first, &Outcome::Served, again, EVEN);
    assert_eq!(breaker.pass(again), None, "the second has no answer yet");
    breaker.note(second, &Outcome::Served, again, EVEN);
    assert!(!breaker.pass(again).unwrap().finds_out());
}

#[test]
fn no_client_opens_a_breaker_alone_and_two_do() {
    let (one, other) = ("one".into(), "other".into());
    let by = |client| Doubter {
        client: Some(client),
        is_served_elsewhere: false,
        is_alone: false,
    };
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    let pass = breaker.pass(t).unwrap();
    for _ in 0..1000 {
        assert_eq!(breaker.doubt(pass, by(&one), t, EVEN), None);
    }
    assert_eq!(breaker.doubt(pass, by(&other), t, EVEN), None);
    assert!(breaker.doubt(pass, by(&other), t, EVEN).is_some());
    assert_eq!(breaker.state(t), open(t + secs(10), Cause::Fault));

    // A client that others serve is right to complain, and what is long ago counts for nothing.
    let mut breaker = Breaker::new(SETTINGS);
    let served = Doubter {
        client: Some(&one),
        is_served_elsewhere: true,
        is_alone: false,
    };
    for n in 0..4 {
        assert_eq!(breaker.doubt(pass, served, t, EVEN), None, "{n}");
    }
    assert_eq!(breaker.doubt(pass, served, t + secs(31), EVEN), None);
    for _ in 0..3 {
        assert_eq!(breaker.doubt(pass, served, t + secs(31), EVEN), None);
    }
    assert!(breaker.doubt(pass, served, t + secs(31), EVEN).is_some());
}

#[test]
fn where_one_client_is_all_there_is_twice_as_many_in_a_row_do() {
    let only = Doubter {
        client: None,
        is_served_elsewhere: false,
        is_alone: true,
    };
    let (mut breaker, t) = (Breaker::new(SETTINGS), Instant::now());
    let pass = breaker.pass(t).unwrap();
    for _ in 1..10 {
        assert_eq!(breaker.doubt(pass, only, t, EVEN), None);
    }
    ends(&mut breaker, &Outcome::Served, t);
    for _ in 1..10 {
        assert_eq!(breaker.doubt(pass, only, t, EVEN), None);
    }
    assert!(breaker.doubt(pass, only, t, EVEN).is_some());
}

#[test]
fn a_throttled_trial_ends_the_pause_and_starts_the_wait() {
    let t = Instant::now();
    let (mut breaker, back) = (failed(t), t + secs(10));
    let (until, cause) = (back + secs(4), Cause::Throttle);
    assert_eq!(
        ends(&mut breaker, &throttled(4), back),
        Some(Transition::Opened { until, cause })
    );
    assert_eq!(breaker.state(back), open(until, cause));
    assert_eq!(
        breaker.state(until),
        BreakerState::Ramping { share: 0.1 },
        "the share grows from when it can"
    );
}
