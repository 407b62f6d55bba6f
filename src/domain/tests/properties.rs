//! Any sequence of requests, answers and waits, against a simple model of what may be.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::{collection::vec, prelude::*};

use crate::domain::{
    breaker::{BreakerState, Cause, Settings},
    budget::Budget,
    outcome::{Fault, Outcome},
    pool::{Attempt, CredentialValidity, Pool, tests::pool_with},
};

const LONGEST: Duration = Duration::from_secs(60);
const SETTINGS: Settings = Settings {
    faults: 3,
    window: Duration::from_secs(30),
    pause: Duration::from_secs(5),
    longest_pause: LONGEST,
    unsaid_pause: Duration::from_secs(10),
    ramp: Duration::from_secs(10),
};
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// What may happen next.
#[derive(Clone, Debug)]
enum Act {
    Wait(Duration),
    /// A request that has tried those (a bit each) asks.
    Ask {
        tried: u8,
        draw: u64,
    },
    /// One of the attempts under way ends; its answer may be taken back later.
    End {
        which: usize,
        outcome: Outcome,
        draw: u64,
    },
    /// An answer that had been judged ends otherwise.
    Amend {
        which: usize,
        outcome: Outcome,
        draw: u64,
    },
    Drop {
        which: usize,
    },
    /// The credential of one of the instances ends so soon; `None`: never.
    CredentialValidity {
        which: usize,
        ends: Option<Duration>,
    },
}

fn waits() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => (0..5_000_u64).prop_map(Duration::from_millis),
        2 => (0..200_u64).prop_map(Duration::from_secs),
        1 => Just(LONGEST),
        1 => Just(Duration::from_secs(86_400)),
    ]
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let fault = |fault| (Just(fault), proptest::option::of(waits()));
    let faulted = prop_oneof![
        fault(Fault::Reset),
        fault(Fault::Status),
        fault(Fault::Silence)
    ];
    prop_oneof![
        4 => Just(Outcome::Served),
        4 => proptest::option::of(waits()).prop_map(|wait| Outcome::Throttled { wait }),
        6 => faulted.prop_map(|(fault, wait)| Outcome::Faulted { fault, wait }),
        1 => Just(Outcome::fault(Fault::Credential)),
        1 => Just(Outcome::fault(Fault::OwnLimit)),
        1 => Just(Outcome::CallerError),
        1 => Just(Outcome::IdentityRejected),
        1 => Just(Outcome::NotDeployed),
        1 => Just(Outcome::Unwanted),
        1 => Just(Outcome::NamedMissing),
        1 => Just(Outcome::ClientLeft),
    ]
}

fn acts() -> impl Strategy<Value = Act> {
    let (which, draw) = (0..32_usize, any::<u64>());
    prop_oneof![
        2 => waits().prop_map(Act::Wait),
        6 => (any::<u8>(), any::<u8>(), draw)
            .prop_map(|(a, b, draw)| Act::Ask { tried: a & b, draw }),
        6 => (which.clone(), outcomes(), draw)
            .prop_map(|(which, outcome, draw)| Act::End { which, outcome, draw }),
        1 => (which.clone(), outcomes(), draw)
            .prop_map(|(which, outcome, draw)| Act::Amend { which, outcome, draw }),
        1 => which.clone().prop_map(|which| Act::Drop { which }),
        1 => (which, proptest::option::of(waits())).prop_map(|(which, ends)| Act::CredentialValidity { which, ends }),
    ]
}

fn pools() -> impl Strategy<Value = Arc<Pool>> {
    vec((1..4_u32, 1..10_u32), 1..=NAMES.len()).prop_map(|members| {
        let named = NAMES.iter().zip(members);
        let members: Vec<_> = named
            .map(|(name, (priority, weight))| (*name, priority, weight))
            .collect();
        pool_with(&members, SETTINGS)
    })
}

/// A pool, and what is known of it from outside.
struct Watched {
    pool: Arc<Pool>,
    now: Instant,
    under_way: Vec<Running>,
    judged: Vec<Attempt>,
    /// Until when each said it wants to be left alone.
    told: Vec<Option<Instant>>,
    /// Until when the gateway has a credential for each.
    terms: Vec<Option<Instant>>,
}

struct Running {
    attempt: Attempt,
    /// It asked what had to be asked by one first.
    is_trial: bool,
    /// It went behind such a one.
    follows: bool,
    since: Instant,
}

impl Watched {
    fn new(pool: Arc<Pool>) -> Self {
        Self {
            told: vec![None; pool.members().len()],
            terms: vec![None; pool.members().len()],
            pool,
            now: Instant::now(),
            under_way: Vec::new(),
            judged: Vec::new(),
        }
    }

    fn does(&mut self, act: Act) {
        let place = |which: usize, len: usize| (len > 0).then(|| which % len);
        match act {
            Act::Wait(wait) => self.now += wait,
            Act::Ask { tried, draw } => self.ask(tried, draw),
            Act::End {
                which,
                outcome,
                draw,
            } => {
                if let Some(place) = place(which, self.under_way.len()) {
                    let ended = self.under_way.swap_remove(place);
                    let mut attempt = ended.attempt;
                    attempt.judge(&outcome, self.now, draw);
                    if ended.follows {
                        self.is_found_out(attempt.index());
                    }
                    self.hear(attempt.index(), &outcome);
                    self.judged.push(attempt);
                }
            }
            Act::Amend {
                which,
                outcome,
                draw,
            } => {
                if let Some(place) = place(which, self.judged.len()) {
                    let attempt = self.judged.swap_remove(place);
                    attempt.amend(&outcome, self.now, draw);
                    self.hear(attempt.index(), &outcome);
                }
            }
            Act::Drop { which } => {
                if let Some(place) = place(which, self.under_way.len()) {
                    self.under_way.swap_remove(place);
                }
            }
            Act::CredentialValidity { which, ends } => {
                let place = which % self.terms.len();
                self.note_credential(place, ends.map(|after| self.now + after));
            }
        }
        self.check();
    }

    fn note_credential(&mut self, place: usize, ends: Option<Instant>) {
        self.terms[place] = ends;
        let instance = &self.pool.members()[place].deployment().instance.name;
        let term = CredentialValidity {
            ends,
            renewal: None,
        };
        self.pool.note_credential(instance, term, self.now);
    }

    fn ask(&mut self, tried: u8, draw: u64) {
        let members = self.pool.members();
        let tried: Vec<_> = (0..members.len())
            .filter(|index| tried >> index & 1 == 1)
            .collect();
        let states: Vec<_> = members
            .iter()
            .map(|member| member.state(self.now))
            .collect();
        let is_ready = |index: usize| members[index].is_ready(self.now);
        let left = (0..members.len()).any(|index| !tried.contains(&index) && is_ready(index));
        let could = self.pool.has_ready(&tried, self.now);
        assert!(could || !left);
        let chosen = self.pool.choose(&tried, self.now, draw);
        assert_eq!(chosen.is_ok(), could, "{states:?} beside {tried:?}");
        let Ok(attempt) = chosen else { return };
        let index = attempt.index();
        assert!(!tried.contains(&index));
        assert!(self.told[index].is_none_or(|until| until <= self.now));
        assert!(self.terms[index].is_none_or(|end| self.now < end));
        let mut others = self
            .under_way
            .iter()
            .filter(|other| other.attempt.index() == index);
        // One that takes its time is followed by those with nowhere else to go.
        let is_new = |since: Instant| self.now < since + Duration::from_secs(1);
        let is_tried = others.any(|other| other.is_trial && (left || is_new(other.since)));
        let is_trial = match states[index] {
            BreakerState::Closed | BreakerState::Ramping { .. } => false,
            BreakerState::Open { until, .. } => {
                assert!(until <= self.now && !is_tried, "a second one tries {index}");
                true
            }
            // It goes right behind one that leads after a wait, or behind a trial that takes its time, since there is nothing
            // else. From then on this one may find out as well as that.
            BreakerState::Trial { .. } => {
                assert!(!left && !is_tried, "a second one tries {index}");
                self.is_found_out(index);
                false
            }
        };
        self.under_way.push(Running {
            attempt,
            is_trial,
            follows: matches!(states[index], BreakerState::Trial { .. }),
            since: self.now,
        });
    }

    /// Another than its trial may have found out how it is.
    fn is_found_out(&mut self, index: usize) {
        let others = self.under_way.iter_mut();
        for other in others.filter(|other| other.attempt.index() == index) {
            other.is_trial = false;
        }
    }

    fn hear(&mut self, index: usize, outcome: &Outcome) {
        let wait = match outcome {
            Outcome::Throttled { wait } => wait.unwrap_or(SETTINGS.unsaid_pause),
            Outcome::Faulted {
                fault,
                wait: Some(wait),
            } if !matches!(fault, Fault::Credential | Fault::OwnLimit) => *wait,
            _ => return,
        };
        let until = Some(self.now + wait.min(LONGEST));
        self.told[index] = self.told[index].max(until);
    }

    fn check(&self) {
        for (place, member) in self.pool.members().iter().enumerate() {
            let told = self.told[place];
            if self.terms[place].is_some_and(|end| end <= self.now) {
                assert!(!member.is_ready(self.now));
                let state = member.state(self.now);
                assert!(
                    matches!(state, BreakerState::Open { until, cause: Cause::Credential } if until > self.now)
                );
                continue;
            }
            let told_until = told.filter(|until| *until > self.now);
            assert!(told_until.is_none() || !member.is_ready(self.now));
            match member.state(self.now) {
                BreakerState::Open {
                    until,
                    cause: Cause::Throttle,
                } => assert!(Some(until) <= told, "longer than any word"),
                BreakerState::Open { until, .. } => assert!(until >= told_until.unwrap_or(until)),
                BreakerState::Ramping { share } => assert!((0.1..1.0).contains(&share)),
                BreakerState::Closed | BreakerState::Trial { .. } => assert_eq!(told_until, None),
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_none_is_asked_twice_too_early_or_by_two_at_its_trial(
        pool in pools(),
        acts in vec(acts(), 1..300),
    ) {
        let mut watched = Watched::new(pool);
        for act in acts {
            watched.does(act);
        }
        let pool = Arc::clone(&watched.pool);
        for place in 0..pool.members().len() {
            watched.note_credential(place, None);
        }
        let later = watched.now + LONGEST;
        drop(watched);
        for member in pool.members() {
            prop_assert_eq!(member.inflight(), 0);
            prop_assert!(member.is_ready(later), "nothing stands in its way for ever");
        }
        let order = pool.order(later);
        let first = pool.choose(&[], later, 0).unwrap();
        let priority = |index: usize| pool.members()[index].deployment().priority;
        prop_assert!(order.is_sorted_by_key(|(index, _)| priority(*index)));
        prop_assert!(priority(first.index()) >= priority(order[0].0));
    }

    #[test]
    fn shares_follow_weights_among_those_ready(
        weights in vec(1..10_u32, 2..40),
        out in any::<u64>(),
        seed in any::<u64>(),
    ) {
        let members: Vec<_> = weights.iter().map(|weight| ("any", 1, *weight)).collect();
        let (pool, t) = (pool_with(&members, SETTINGS), Instant::now());
        let mut left: Vec<usize> = (0..weights.len()).collect();
        for index in (1..weights.len()).filter(|index| out >> index & 1 == 1) {
            let others: Vec<_> = (0..weights.len()).filter(|other| *other != index).collect();
            let wait = Duration::from_secs(9);
            pool.choose(&others, t, 0).unwrap().judge(&Outcome::Throttled { wait: Some(wait) }, t, 0);
            left.retain(|other| *other != index);
        }
        let (mut random, mut counts) = (fastrand::Rng::with_seed(seed), vec![0.0; weights.len()]);
        let draws = 200 * left.len();
        for _ in 0..draws {
            counts[pool.choose(&[], t, random.u64(..)).unwrap().index()] += 1.0;
        }
        let total: u32 = left.iter().map(|index| weights[*index]).sum();
        let off: f64 = left.iter().map(|index| {
            let expected = draws as f64 * f64::from(weights[*index]) / f64::from(total);
            (counts[*index] - expected).powi(2) / expected
        }).sum();
        // Its mean is the degrees of freedom; beyond eight deviations and a margin there is no chance.
        let freedom = left.len() as f64 - 1.0;
        prop_assert!(off < freedom + 8.0 * (2.0 * freedom).sqrt() + 20.0, "{counts:?} {off}");
    }

    #[test]
    fn while_all_fail_attempts_are_bounded_by_the_requests(
        share in 0.0..1.0,
        floor in 0..20_u32,
        every_ms in 1..400_u64,
        tries in 2..6_u32,
    ) {
        let (budget, t) = (Budget::new(share, floor), Instant::now());
        let (mut wasted, seconds) = (0, 100);
        let requests = seconds * 1000 / every_ms;
        for number in 0..requests {
            let now = t + Duration::from_millis(number * every_ms);
            budget.note_request(now);
            for _ in (1..tries).take_while(|_| budget.allows(None, now)) {
                budget.note_wasted(None, now);
                wasted += 1;
            }
        }
        // In no ten seconds are more wasted than it says, and one that is just allowed goes beyond.
        let allowed = share * (requests + 10_000 / every_ms + 1) as f64;
        let floors = f64::from(floor * 10) * (seconds / 10 + 1) as f64;
        prop_assert!(f64::from(wasted) <= allowed + floors + 12.0, "{wasted} of {requests}");
    }

    #[test]
    fn a_move_to_the_one_that_serves_is_never_refused(
        members in 2..=6_usize,
        crowd in 1..60_usize,
        pauses in vec(0..20_000_u64, 1..60),
        seed in any::<u64>(),
    ) {
        let members: Vec<_> = NAMES[..members].iter().map(|name| (*name, 1, 1)).collect();
        let (pool, mut now) = (pool_with(&members, SETTINGS), Instant::now());
        let mut random = fastrand::Rng::with_seed(seed);
        for pause in pauses {
            now += Duration::from_millis(pause);
            let mut requests = vec![Vec::<usize>::new(); crowd];
            requests.iter().for_each(|_| pool.budget().note_request(now));
            while !requests.is_empty() {
                now += Duration::from_millis(1);
                let asks = |tried: Vec<usize>| (pool.choose(&tried, now, random.u64(..)), tried);
                let asked: Vec<_> = requests.drain(..).map(asks).collect();
                for (attempt, mut tried) in asked {
                    // All can be out but for one trial that is still under way; then nothing was refused here.
                    let Ok(mut attempt) = attempt else { continue };
                    if attempt.index() == 0 {
                        attempt.judge(&Outcome::Served, now, 0);
                        continue;
                    }
                    attempt.judge(&Outcome::fault(Fault::Reset), now, 0);
                    if !tried.is_empty() {
                        pool.budget().note_wasted(None, now);
                    }
                    prop_assert!(pool.budget().allows(None, now));
                    tried.push(attempt.index());
                    requests.push(tried);
                }
            }
        }
    }
}
