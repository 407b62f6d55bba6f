//! The usage of one client, or of one client with one model, against its limits.
//!
//! Everything of one account is behind one short lock, taken twice or thrice a request; no two accounts share one.

use std::time::Duration;

use parking_lot::Mutex;

use super::{
    calendar::{Calendar, Period, Span, time},
    limits::Limits,
    window::{Nanos, Window},
};
use crate::domain::{
    limit::{Bound, Limit},
    name::{ClientName, ModelName},
    refusal::{Limited, Refusal},
    route::Operation,
};

/// When to come back where only requests under way stand in the way: how long those take nobody knows.
const WHILE_OTHERS_RUN: Duration = Duration::from_secs(1);
/// The least output that is assumed of a request that names no maximum, in tokens, whatever was learnt: so many times less
/// than a limit allows is the most of them that can be under way against it at once.
pub(super) const LEAST_ASSUMED: u64 = 2048;
/// Each answer moves the average by so much of the distance.
const PACE_OF_AVERAGE: f64 = 1.0 / 16.0;
/// A clock that is set back by less than this has not left its period.
const SET_BACK: i64 = 3600;

#[derive(Debug)]
pub(super) struct Account {
    pub(super) client: ClientName,
    /// `None`: all models together.
    pub(super) model: Option<ModelName>,
    pub(super) limits: Limits,
    state: Mutex<AccountState>,
}

#[derive(Debug)]
struct AccountState {
    requests: Window,
    tokens: Window,
    running: u64,
    /// Reserved by requests under way.
    held: u64,
    /// The part of that which nobody has named.
    assumed: u64,
    counters: [Counter; 3],
    /// Tokens of output in a usual answer, by kind.
    output: [f64; KINDS],
}

/// Answers of several kinds have lengths of their own: of chat, of completions, of all else.
const KINDS: usize = 3;

fn kind(operation: Operation) -> usize {
    match operation {
        Operation::ChatCompletions => 0,
        Operation::Completions => 1,
        _ => 2,
    }
}

/// Output that is assumed of a request that names no maximum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assumed {
    pub(super) operation: Operation,
    pub(super) answers: u64,
    pub(super) tokens: u64,
}

/// What was spent in one period. Its three numbers together count.
#[derive(Clone, Copy, Debug)]
struct Counter {
    span: Span,
    /// As the store says, where others may count too.
    stored: u64,
    /// On its way there.
    writing: u64,
    /// Not yet.
    fresh: u64,
}

/// When it is: on the clock that only goes forward, and on the calendar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) at: Nanos,
    /// Seconds since 1970.
    pub(super) second: i64,
}

/// What was counted for one request, to be settled or taken back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reserved {
    request_at: Nanos,
    tokens: u64,
    tokens_at: Nanos,
    assumed: Option<Assumed>,
}

/// What one request has spent in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// No deployment answered it.
    Nothing,
    /// By its usage. `answer`: the output of a whole answer, from which is learnt how long answers are; an error is none,
    /// nor is what broke off.
    Tokens { total: u64, answer: Option<u64> },
    /// It was answered, or may be billed, and nobody said what it cost.
    AsReserved,
}

/// How much of a limit is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    pub most: u64,
    pub remaining: u64,
}

/// How a client stands against one of its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitStanding {
    pub client: ClientName,
    /// `None`: all models together.
    pub model: Option<ModelName>,
    pub limit: Limit,
    pub most: u64,
    /// What requests under way have reserved is part of it.
    pub used: u64,
    /// When a period's count begins anew; the others move with time.
    pub renews: Option<std::time::SystemTime>,
}

/// Tokens of one period: what a store keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    pub client: ClientName,
    /// `None`: all models together.
    pub model: Option<ModelName>,
    pub period: Period,
    /// The period's beginning, in seconds since 1970.
    pub start: i64,
    pub tokens: u64,
}

/// Below what so many tokens may still be added. A request of at most a hundredth of the limit has to fit whole. A larger one may
/// go over by what it asks for, or its client would never get near its limit; none follows it.
fn below(most: u64, tokens: u64) -> u64 {
    if tokens <= most / 100 {
        most - tokens + 1
    } else {
        most
    }
}

impl Counter {
    const NEVER: Self = Self {
        span: Span { start: 0, end: 0 },
        stored: 0,
        writing: 0,
        fresh: 0,
    };

    fn used(&self) -> u64 {
        self.stored
            .saturating_add(self.writing)
            .saturating_add(self.fresh)
    }

    /// Makes it that of the period `now` is in.
    fn turn(&mut self, period: Period, now: i64, calendar: &Calendar) {
        let Span { start, end } = self.span;
        if now >= end || now < start - SET_BACK {
            *self = Self {
                span: calendar.span(period, now),
                ..Self::NEVER
            };
        }
    }
}

impl AccountState {
    fn counter(&mut self, period: Period, now: i64, calendar: &Calendar) -> &mut Counter {
        let counter = &mut self.counters[period as usize];
        counter.turn(period, now, calendar);
        counter
    }

    /// How long answers are is learnt from those to requests that named no maximum: the others are as long as they were
    /// allowed to be.
    fn learn(&mut self, assumed: Option<Assumed>, answer: Option<u64>) {
        let Some((assumed, output)) = assumed.zip(answer) else {
            return;
        };
        let each = output as f64 / assumed.answers.max(1) as f64;
        let usual = &mut self.output[kind(assumed.operation)];
        *usual += (each - *usual) * PACE_OF_AVERAGE;
    }
}

impl Account {
    pub(super) fn new(client: ClientName, model: Option<ModelName>, limits: Limits) -> Self {
        let state = AccountState {
            requests: Window::default(),
            tokens: Window::default(),
            running: 0,
            held: 0,
            assumed: 0,
            counters: [Counter::NEVER; 3],
            output: [0.0; KINDS],
        };
        Self {
            client,
            model,
            limits,
            state: Mutex::new(state),
        }
    }

    pub(super) fn bound(&self, limit: Limit, most: u64) -> Bound {
        Bound {
            limit,
            most,
            client: self.client.clone(),
            model: self.model.clone(),
        }
    }

    fn for_now(&self, limit: Limit, most: u64, wait: Duration) -> Refusal {
        let bound = self.bound(limit, most);
        Limited::ForNow { bound, wait }.into()
    }

    /// Counts one request, and as one under way.
    pub(super) fn enter(&self, now: Now) -> Result<Reserved, Refusal> {
        let mut state = self.state.lock();
        if let Some(most) = self.limits.requests_per_minute
            && state.requests.sum(now.at) >= most
        {
            let wait = state.requests.wait(most, now.at);
            return Err(self.for_now(Limit::RequestsPerMinute, most, wait));
        }
        if let Some(most) = self.limits.concurrency
            && state.running >= most
        {
            return Err(self.for_now(Limit::Concurrency, most, WHILE_OTHERS_RUN));
        }
        state.running += 1;
        let mut held = Reserved::default();
        if self.limits.requests_per_minute.is_some() {
            held.request_at = state.requests.add(1, now.at);
        }
        Ok(held)
    }

    /// What an answer of usual length has, in tokens; never less than [`LEAST_ASSUMED`].
    pub(super) fn usual_output(&self, operation: Operation) -> u64 {
        let usual = self.state.lock().output[kind(operation)].ceil() as u64;
        usual.max(LEAST_ASSUMED)
    }

    /// The least that any limit on tokens allows.
    pub(super) fn least(&self) -> Option<u64> {
        let periods = Period::ALL.map(|period| self.limits.of_period(period));
        let all = periods.into_iter().chain([self.limits.tokens_per_minute]);
        all.flatten().min()
    }

    /// Reserves tokens where every limit has room for them; `assumed` are part of them.
    pub(super) fn reserve(
        &self,
        held: &mut Reserved,
        tokens: u64,
        assumed: Option<Assumed>,
        now: Now,
        calendar: &Calendar,
    ) -> Result<(), Refusal> {
        if !self.limits.counts_tokens() {
            return Ok(());
        }
        self.could_ever(tokens)?;
        let mut state = self.state.lock();
        // The longest first: what a month forbids is not to be tried again in a minute.
        for period in Period::ALL.into_iter().rev() {
            self.has_left(&mut state, period, tokens, now, calendar)?;
        }
        if let Some(most) = self.limits.tokens_per_minute {
            let below = below(most, tokens);
            let sum = state.tokens.sum(now.at);
            if sum >= below {
                let wait = state.tokens.wait(below, now.at);
                // What is only assumed may be given back as soon as an answer is there.
                let wait = if sum.saturating_sub(state.assumed) < below {
                    wait.min(WHILE_OTHERS_RUN)
                } else {
                    wait
                };
                return Err(self.for_now(Limit::TokensPerMinute, most, wait));
            }
            held.tokens_at = state.tokens.add(tokens, now.at);
        }
        state.held = state.held.saturating_add(tokens);
        held.tokens = tokens;
        let unnamed = assumed.map_or(0, |it| it.tokens);
        state.assumed = state.assumed.saturating_add(unnamed);
        held.assumed = assumed;
        Ok(())
    }

    fn could_ever(&self, tokens: u64) -> Result<(), Refusal> {
        for (limit, most) in self.limits.all() {
            let counts_tokens = matches!(
                limit,
                Limit::TokensPerMinute
                    | Limit::TokensPerHour
                    | Limit::TokensPerDay
                    | Limit::TokensPerMonth
            );
            if counts_tokens && tokens > most {
                let bound = self.bound(limit, most);
                return Err(Limited::Never { bound, tokens }.into());
            }
        }
        Ok(())
    }

    fn has_left(
        &self,
        state: &mut AccountState,
        period: Period,
        tokens: u64,
        now: Now,
        calendar: &Calendar,
    ) -> Result<(), Refusal> {
        let Some(most) = self.limits.of_period(period) else {
            return Ok(());
        };
        let held = state.held;
        let counter = state.counter(period, now.second, calendar);
        let (used, limit) = (counter.used(), period.limit());
        let below = below(most, tokens);
        if used >= below {
            let renews = calendar.say(counter.span.end);
            let bound = self.bound(limit, most);
            return Err(Limited::Until { bound, renews }.into());
        }
        if used.saturating_add(held) >= below {
            Err(self.for_now(limit, most, WHILE_OTHERS_RUN))
        } else {
            Ok(())
        }
    }

    /// Ends a request's part in this account.
    pub(super) fn end(&self, held: &Reserved, spent: Spent, now: Option<Now>, calendar: &Calendar) {
        let mut state = self.state.lock();
        state.running = state.running.saturating_sub(1);
        state.held = state.held.saturating_sub(held.tokens);
        let unnamed = held.assumed.map_or(0, |it| it.tokens);
        state.assumed = state.assumed.saturating_sub(unnamed);
        let (Some(now), true) = (now, spent != Spent::Nothing) else {
            state.tokens.take_back(held.tokens, held.tokens_at);
            state.requests.take_back(1, held.request_at);
            return;
        };
        let total = match spent {
            Spent::Tokens { total, answer } => {
                state.learn(held.assumed, answer);
                total
            }
            Spent::Nothing | Spent::AsReserved => held.tokens,
        };
        if self.limits.tokens_per_minute.is_some() {
            match total.checked_sub(held.tokens) {
                // What was not foreseen counts from when it is known.
                Some(more) if more > 0 => drop(state.tokens.add(more, now.at)),
                Some(_) => {}
                None => state.tokens.take_back(held.tokens - total, held.tokens_at),
            }
        }
        for period in Period::ALL {
            if self.limits.of_period(period).is_some() {
                let counter = state.counter(period, now.second, calendar);
                counter.fresh = counter.fresh.saturating_add(total);
            }
        }
    }

    /// How many requests a minute are left.
    pub(super) fn requests_left(&self, now: Now) -> Option<Left> {
        let most = self.limits.requests_per_minute?;
        let used = self.state.lock().requests.sum(now.at);
        let remaining = most.saturating_sub(used);
        Some(Left { most, remaining })
    }

    /// How many tokens a minute are left; where only longer times are limited, of the one that has least.
    pub(super) fn tokens_left(&self, now: Now, calendar: &Calendar) -> Option<Left> {
        let mut state = self.state.lock();
        if let Some(most) = self.limits.tokens_per_minute {
            let remaining = most.saturating_sub(state.tokens.sum(now.at));
            return Some(Left { most, remaining });
        }
        let held = state.held;
        let of_period = |period| {
            let most = self.limits.of_period(period)?;
            let used = state.counter(period, now.second, calendar).used();
            let remaining = most.saturating_sub(used).saturating_sub(held);
            Some(Left { most, remaining })
        };
        let all = Period::ALL.into_iter().filter_map(of_period);
        all.min_by_key(|left| left.remaining)
    }

    /// How it stands against each limit that something is counted for.
    pub(super) fn report(&self, now: Now, calendar: &Calendar, to: &mut Vec<LimitStanding>) {
        let mut state = self.state.lock();
        let held = state.held;
        for (limit, most) in self.limits.all() {
            let mut renews = None;
            let mut of_period = |period| {
                let counter = state.counter(period, now.second, calendar);
                renews = Some(time(counter.span.end));
                counter.used().saturating_add(held)
            };
            let used = match limit {
                Limit::RequestsPerMinute => state.requests.sum(now.at),
                Limit::TokensPerMinute => state.tokens.sum(now.at),
                Limit::TokensPerHour => of_period(Period::Hour),
                Limit::TokensPerDay => of_period(Period::Day),
                Limit::TokensPerMonth => of_period(Period::Month),
                Limit::Concurrency => state.running,
                Limit::MaxOutputTokens | Limit::N | Limit::BestOf => continue,
            };
            to.push(LimitStanding {
                client: self.client.clone(),
                model: self.model.clone(),
                limit,
                most,
                used,
                renews,
            });
        }
    }

    /// What a store does not know yet; `all`: what it should know, as after it was lost.
    pub(super) fn take_changes(&self, all: bool, to: &mut Vec<Count>) {
        if !self.limits.has_periods() {
            return;
        }
        let mut state = self.state.lock();
        for (period, counter) in Period::ALL.into_iter().zip(&mut state.counters) {
            if all {
                (counter.fresh, counter.stored, counter.writing) = (counter.used(), 0, 0);
            }
            if counter.fresh == 0 {
                continue;
            }
            counter.writing = counter.writing.saturating_add(counter.fresh);
            to.push(Count {
                client: self.client.clone(),
                model: self.model.clone(),
                period,
                start: counter.span.start,
                tokens: counter.fresh,
            });
            counter.fresh = 0;
        }
    }

    /// Takes in what the store has of a period; nothing is on its way there any more.
    pub(super) fn take_in(&self, count: &Count) {
        let counter = &mut self.state.lock().counters[count.period as usize];
        if counter.span.start == count.start {
            (counter.stored, counter.writing) = (count.tokens, 0);
        }
    }

    /// What was on its way to the store has not arrived.
    pub(super) fn put_back(&self) {
        for counter in &mut self.state.lock().counters {
            counter.fresh = counter.fresh.saturating_add(counter.writing);
            counter.writing = 0;
        }
    }

    /// Takes in what a store kept from before, where its period is not over.
    pub(super) fn restore(&self, count: &Count, now: Now, calendar: &Calendar) {
        let mut state = self.state.lock();
        let counter = state.counter(count.period, now.second, calendar);
        if counter.span.start == count.start {
            counter.stored = count.tokens;
        }
    }
}
