//! Whatever N deployments answer to a client whose requests fail everywhere, it changes no other client's chance to be
//! served.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::{collection::vec, prelude::*};

use crate::domain::{
    breaker::{BreakerState, Settings},
    deployment::Bounds,
    failover::{Progress, Repeat, Step},
    name::ClientName,
    outcome::{Fault, Outcome},
    pool::{Attempt, Pool, Suspicions, tests::pool_with},
    route::Operation,
};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// What may happen next.
#[derive(Clone, Debug)]
enum Act {
    Wait(Duration),
    /// A request that fails wherever it is asked: what each of the deployments answers, in turn.
    Fails {
        answers: Vec<Outcome>,
        draw: u64,
    },
    /// A session or a stream that begins well, and dies.
    Dies {
        outcome: Outcome,
        draw: u64,
    },
    /// Another client's request, which any of them would serve.
    Good {
        draw: u64,
    },
}

/// Every answer that a client might bring about by what it sends.
fn answers() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::fault(Fault::Status)),
        1 => Just(Outcome::fault(Fault::Unavailable)),
        1 => Just(Outcome::fault(Fault::Timeout)),
        1 => Just(Outcome::fault(Fault::Slow)),
        1 => Just(Outcome::fault(Fault::Reset)),
        1 => Just(Outcome::fault(Fault::Silence)),
        1 => Just(Outcome::NotDeployed),
        1 => Just(Outcome::NamedMissing),
        1 => Just(Outcome::NotFound),
        1 => Just(Outcome::Refused),
        1 => Just(Outcome::CallerError),
        1 => Just(Outcome::Screened),
        1 => Just(Outcome::OperationRejected),
        1 => Just(Outcome::UsageRejected),
        1 => Just(Outcome::ClientLeft),
    ]
}

fn acts() -> impl Strategy<Value = Act> {
    let dies = prop_oneof![
        Just(Outcome::fault(Fault::Status)),
        Just(Outcome::fault(Fault::Broken))
    ];
    prop_oneof![
        1 => (0..20_000_u64).prop_map(|ms| Act::Wait(Duration::from_millis(ms))),
        8 => (vec(answers(), 6), any::<u64>()).prop_map(|(answers, draw)| Act::Fails { answers, draw }),
        2 => (dies, any::<u64>()).prop_map(|(outcome, draw)| Act::Dies { outcome, draw }),
        1 => any::<u64>().prop_map(|draw| Act::Good { draw }),
    ]
}

struct Scene {
    pool: Arc<Pool>,
    bounds: Bounds,
    now: Instant,
    bad: ClientName,
    good: ClientName,
}

impl Scene {
    fn choose(&self, progress: &Progress, operation: Operation, draw: u64) -> Option<Attempt> {
        let out = self.pool.out_for(operation, progress.tried(), self.now);
        let mut attempt = self.pool.choose(&out, self.now, draw).ok()?;
        attempt.asks(operation);
        Some(attempt)
    }

    /// What it asks for is a kind of work of its own: a role may lack the action for that.
    fn fails(&self, answers: &[Outcome], draw: u64) {
        let mut progress = Progress::new(self.now, Repeat::Harmless);
        let mut suspicions = Suspicions::default();
        let budget = self.pool.budget();
        budget.note_request(self.now);
        for answer in answers {
            let Some(mut attempt) = self.choose(&progress, Operation::ImageEdits, draw) else {
                break;
            };
            progress.start(attempt.index());
            suspicions.judge(&mut attempt, answer, self.now, draw);
            suspicions.resolve(answer, self.now, draw);
            let is_fault = matches!(answer, Outcome::Faulted { .. });
            if is_fault && progress.has_moved_on() {
                budget.note_wasted(Some(&self.bad), self.now);
            }
            let budget_left = !is_fault || budget.allows(Some(&self.bad), self.now);
            if progress.after(answer, &self.bounds, budget_left, self.now) != Step::TryAnother {
                break;
            }
        }
        suspicions.end(Some(&self.bad), self.now, draw);
    }

    fn dies(&self, outcome: &Outcome, draw: u64) {
        let progress = Progress::new(self.now, Repeat::Harmless);
        if let Some(mut attempt) = self.choose(&progress, Operation::Realtime, draw) {
            attempt.judge(&Outcome::Served, self.now, draw);
            attempt.doubt(outcome, Some(&self.bad), self.now, draw);
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for member in self.pool.members() {
            prop_assert_eq!(member.state(self.now), BreakerState::Closed);
        }
        for operation in [Operation::ChatCompletions, Operation::Responses] {
            prop_assert!(self.pool.out_for(operation, &[], self.now).is_empty());
        }
        prop_assert!(self.pool.budget().allows(Some(&self.good), self.now));
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_client_whose_requests_fail_everywhere_changes_no_others_chance(
        members in 1..=NAMES.len(),
        faults in 1..6_u32,
        acts in vec(acts(), 1..400),
    ) {
        let members: Vec<_> = NAMES[..members].iter().map(|name| (*name, 1, 1)).collect();
        let settings = Settings { faults, ..Settings::default() };
        let mut scene = Scene {
            pool: pool_with(&members, settings),
            bounds: Bounds::default(),
            now: Instant::now(),
            bad: "bad".into(),
            good: "good".into(),
        };
        for act in acts {
            match act {
                Act::Wait(wait) => scene.now += wait,
                Act::Fails { answers, draw } => scene.fails(&answers, draw),
                Act::Dies { outcome, draw } => scene.dies(&outcome, draw),
                Act::Good { draw } => {
                    let progress = Progress::new(scene.now, Repeat::Harmless);
                    let mut attempt = scene.choose(&progress, Operation::ChatCompletions, draw).expect("any of them would serve it");
                    attempt.judge(&Outcome::Served, scene.now, draw);
                    scene.pool.note_whole(Some(&scene.good), attempt.index(), scene.now);
                }
            }
            scene.check()?;
        }
    }
}

fn scene_of(members: &[(&str, u32, u32)]) -> Scene {
    Scene {
        pool: pool_with(members, Settings::default()),
        bounds: Bounds::default(),
        now: Instant::now(),
        bad: "bad".into(),
        good: "good".into(),
    }
}

#[test]
fn one_clients_jobs_that_take_too_long_close_nothing_and_two_clients_find_one_that_never_answers() {
    let mut scene = scene_of(&[("a", 1, 1)]);
    let slow = [Outcome::fault(Fault::Slow)];
    for _ in 0..5 * Settings::default().faults {
        scene.fails(&slow, 0);
        scene.check().unwrap();
    }
    std::mem::swap(&mut scene.bad, &mut scene.good);
    for _ in 0..Settings::default().faults {
        scene.fails(&slow, 0);
    }
    let state = scene.pool.members()[0].state(scene.now);
    assert!(matches!(state, BreakerState::Open { .. }), "{state:?}");
}
