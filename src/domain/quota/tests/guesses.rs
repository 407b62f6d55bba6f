//! Requests that name no maximum: what is assumed of them, what that is learnt from, and what they can go over a limit by.

use super::*;
use crate::domain::quota::account::LEAST_ASSUMED;

const CHAT: Operation = Operation::ChatCompletions;

impl Desk {
    /// A request that names no maximum, of this input.
    fn guess(
        &self,
        operation: Operation,
        input: u64,
        after: Duration,
    ) -> Result<Reservation, Refusal> {
        let now = self.now(after);
        let mut reservation = self
            .quotas
            .allowance_for(&"app".into())
            .expect("it has limits")
            .enter(now)?;
        reservation.reserve(input, usual(operation, 1), now)?;
        Ok(reservation)
    }

    /// What is assumed of one.
    fn assumed(&self, operation: Operation) -> u64 {
        let before = self.used(Limit::TokensPerMinute, secs(0));
        let _reservation = self.guess(operation, 0, secs(0)).unwrap();
        self.used(Limit::TokensPerMinute, secs(0)) - before
    }

    fn answer(&self, operation: Operation, answer: Option<u64>) {
        let total = answer.unwrap_or_default();
        let reservation = self.guess(operation, 0, secs(0)).unwrap();
        reservation.settle(Spent::Tokens { total, answer }, self.now(secs(0)));
    }
}

#[test]
fn answers_of_unknown_length_are_taken_to_be_as_long_as_the_clients_are_to_such_requests() {
    let desk = Desk::own(tokens_per_minute(10_000_000));
    assert_eq!(desk.assumed(CHAT), LEAST_ASSUMED);
    for _ in 0..200 {
        desk.answer(CHAT, Some(5000));
    }
    assert_eq!(desk.assumed(CHAT), 5000);
    // Each operation has its own, and no error, nothing that broke off and no answer to a maximum teaches anything.
    assert_eq!(desk.assumed(Operation::Responses), LEAST_ASSUMED);
    for _ in 0..200 {
        desk.answer(CHAT, None);
        desk.answer(Operation::Completions, Some(1));
        let named = desk.ask("m", (10, 10), secs(0)).unwrap();
        named.settle(used(20), desk.now(secs(0)));
    }
    assert_eq!(desk.assumed(CHAT), 5000);
    // Of several answers each is one.
    let now = desk.now(secs(0));
    for _ in 0..200 {
        let mut reservation = desk
            .quotas
            .allowance_for(&"app".into())
            .unwrap()
            .enter(now)
            .unwrap();
        reservation.reserve(0, usual(CHAT, 4), now).unwrap();
        reservation.settle(
            Spent::Tokens {
                total: 12_000,
                answer: Some(12_000),
            },
            now,
        );
    }
    assert!((3000..3010).contains(&desk.assumed(CHAT)));
    for _ in 0..200 {
        desk.answer(CHAT, Some(3));
    }
    assert_eq!(
        desk.assumed(CHAT),
        LEAST_ASSUMED,
        "never less, whatever was learnt"
    );
}

#[test]
fn who_waits_for_what_is_only_assumed_is_told_to_come_back_soon() {
    let desk = Desk::own(tokens_per_minute(4000));
    let running = [0, 1].map(|_| desk.guess(CHAT, 10, secs(0)).unwrap());
    let (limit, wait) = for_now(desk.guess(CHAT, 10, secs(0)).unwrap_err());
    assert_eq!((limit, wait), (Limit::TokensPerMinute, secs(1)));
    for reservation in running {
        reservation.settle(used(2000), desk.now(secs(1)));
    }
    let (_, wait) = for_now(desk.guess(CHAT, 10, secs(1)).unwrap_err());
    assert_eq!(wait, secs(59), "what was used is");
}

/// The client's usual answers are short, then it asks for long ones, all at once.
#[test]
fn three_hundred_chats_at_once_stay_within_the_limit_whatever_was_learnt_before() {
    let desk = Desk::own(tokens_per_minute(100_000));
    for _ in 0..500 {
        desk.answer(CHAT, Some(0));
        desk.answer(CHAT, None);
    }
    let chats: Vec<_> = (0..300)
        .filter_map(|_| desk.guess(CHAT, 10, secs(120)).ok())
        .collect();
    let count = chats.len() as u64;
    for chat in chats {
        let answer = Some(1500);
        chat.settle(
            Spent::Tokens {
                total: 1510,
                answer,
            },
            desk.now(secs(130)),
        );
    }
    let spent = count * 1510;
    assert!(
        (50_000..=100_000).contains(&spent),
        "{count} chats spent {spent}"
    );
}

proptest! {
    /// The bound that the module states.
    #[test]
    fn guesses_overshoot_by_what_their_answers_have_beyond_the_least_that_is_assumed(
        most in 1_u64..300_000,
        learnt in prop::collection::vec(0_u64..20_000, 0..40),
        answers in prop::collection::vec((0_u64..3000, 0_u64..30_000), 1..400),
    ) {
        let desk = Desk::own(tokens_per_minute(most));
        for (place, output) in learnt.into_iter().enumerate() {
            let at = secs(120 * place as u64);
            if let Ok(reservation) = desk.guess(CHAT, 0, at) {
                reservation.settle(Spent::Tokens { total: output, answer: Some(output) }, desk.now(at));
            }
        }
        let at = secs(100_000);
        let (mut spent, mut beyond, mut largest) = (0, 0, 0);
        let mut running = Vec::new();
        for (input, output) in answers {
            if let Ok(reservation) = desk.guess(CHAT, input, at) {
                spent += input + output;
                beyond += output.saturating_sub(LEAST_ASSUMED);
                largest = largest.max(input + LEAST_ASSUMED);
                running.push(reservation);
            }
        }
        let count = running.len() as u64;
        prop_assert!(count <= most.div_ceil(LEAST_ASSUMED.min(most)) + 1, "{} at once", count);
        prop_assert!(spent <= most + largest + beyond, "{} spent", spent);
    }
}
