//! Holds a request against its client's limits, tells the client what is left of them, and settles when it has ended.

use std::time::{Instant, SystemTime};

use http::{HeaderName, HeaderValue};

use super::prompt_tokens::PromptTokens;
use crate::{
    domain::{
        ask::Ask,
        name::ModelName,
        quota::{Allowance, Moment, Reservation, Spent, Wanted},
        refusal::Refusal,
        route::Operation,
        usage::{Guess, Usage},
    },
    telemetry::record::AttemptRecord,
};

const LIMIT_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const LIMIT_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-limit-tokens");
const REMAINING_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const REMAINING_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-tokens");

/// What time it is, as limits are counted.
pub(crate) fn moment() -> Moment {
    Moment {
        at: Instant::now(),
        wall: SystemTime::now(),
    }
}

/// A request's part in its client's limits; where that has none, nothing here does anything.
#[derive(Default)]
pub(super) struct Limits {
    allowance: Option<Allowance>,
    /// What is taken of them for this request.
    reservation: Option<Reservation>,
}

/// How a request ended, for its limits.
pub(super) struct Ended<'a> {
    /// What the client got.
    pub(super) status: Option<u16>,
    pub(super) is_refused: bool,
    pub(super) attempts: &'a [AttemptRecord],
    pub(super) usage: Option<Usage>,
    pub(super) guess: Option<Guess>,
}

impl Limits {
    pub(super) fn new(allowance: Option<Allowance>) -> Self {
        Self {
            allowance,
            reservation: None,
        }
    }

    /// Counts a request as one of its client's, before its body is read; with its model, where that is known already.
    pub(super) fn enter(&mut self, model: Option<&ModelName>) -> Result<(), Refusal> {
        if let Some(allowance) = &self.allowance {
            self.reservation = Some(allowance.enter(moment())?);
        }
        match model {
            Some(model) => self.ask_model(model),
            None => Ok(()),
        }
    }

    /// Counts it with its model too.
    pub(super) fn ask_model(&mut self, model: &ModelName) -> Result<(), Refusal> {
        match (&mut self.allowance, &mut self.reservation) {
            (Some(allowance), Some(reservation)) => {
                allowance.ask_model(reservation, model, moment())
            }
            _ => Ok(()),
        }
    }

    /// Whether its body has to be read, all of it, whatever else would do without.
    pub(super) fn need_body(&self) -> bool {
        let allowance = self.allowance.as_ref();
        allowance.is_some_and(|allowance| allowance.needs_body())
    }

    /// Holds what a body wants against the limits, and reserves what it may cost. `prompt`: the tokens that its prompt comes to.
    pub(super) fn reserve(
        &mut self,
        operation: Operation,
        ask: &Ask,
        body: &[u8],
        prompt: &mut PromptTokens,
    ) -> Result<Option<Wanted>, Refusal> {
        let (Some(allowance), Some(reservation)) = (&self.allowance, &mut self.reservation) else {
            return Ok(None);
        };
        let rules = allowance.rules();
        if !rules.need_body() {
            return Ok(None);
        }
        let wanted = rules.judge(operation, ask, body)?;
        if rules.counts_tokens() && operation.uses_tokens() {
            // Of a form most is sound or pictures, of which nobody knows the tokens before.
            let input = if ask.is_form() { 0 } else { prompt.tokens() };
            reservation.reserve(input, wanted.output, moment())?;
        }
        Ok(Some(wanted))
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&mut self) {
        self.reservation = None;
    }

    /// Ends a request's part in the limits: with what it used, or what it may be billed for; else nothing is counted.
    pub(super) fn settle(&mut self, ended: &Ended<'_>) {
        if let Some(reservation) = self.reservation.take() {
            reservation.settle(ended.spent(), moment());
        }
    }

    /// What an answer tells its client of its own limits.
    pub(super) fn left(&self) -> Vec<(HeaderName, HeaderValue)> {
        let Some(allowance) = &self.allowance else {
            return Vec::new();
        };
        let (requests, tokens) = allowance.left(moment());
        let pairs = [
            (requests, LIMIT_REQUESTS, REMAINING_REQUESTS),
            (tokens, LIMIT_TOKENS, REMAINING_TOKENS),
        ];
        let set = pairs.into_iter().filter_map(|(left, most, remaining)| {
            let left = left?;
            Some([(most, left.most.into()), (remaining, left.remaining.into())])
        });
        set.flatten().collect()
    }
}

impl Ended<'_> {
    fn spent(&self) -> Spent {
        if matches!(self.guess, Some(Guess::Unfinished | Guess::Encoded)) {
            // Of what was answered nothing can be known.
            return Spent::AsReserved;
        }
        if let Some(usage) = self.usage {
            let is_whole = self.guess.is_none_or(Guess::is_of_all);
            return Spent::Tokens {
                total: usage.total(),
                answer: is_whole.then_some(usage.output),
            };
        }
        let attempts = self.attempts;
        let may_be_billed = || {
            let mut attempts = attempts.iter();
            attempts.any(|attempt| attempt.may_be_billed || attempt.outcome == "client_left")
        };
        match self.status {
            // Answered without a word of its tokens; a session, as one request.
            Some(101 | 200..=399) if !self.is_refused && !attempts.is_empty() => Spent::AsReserved,
            Some(400..) if !self.is_refused && !attempts.is_empty() => Spent::Tokens {
                total: 0,
                answer: None,
            },
            _ if may_be_billed() => Spent::AsReserved,
            _ => Spent::Nothing,
        }
    }
}
