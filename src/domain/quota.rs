//! Quotas and rate limits of clients, and their usage: requests, tokens, and requests in flight.
//!
//! A request is admitted in steps, the cheap ones first: as a request, before its body is read; with its model; with the
//! tokens that it may cost at most. What was taken is held by a [`Reservation`], which is settled with what the request
//! cost in the end, or gives everything back when it is dropped.
//!
//! A new limit begins in `domain::limit`, and is counted in `account`; `Limits::all` says which there are.
//!
//! A minute slides; hours, days and months are the calendar's. No limit is gone over by more than the one request that
//! reaches it asked for. Of a request that names no maximum nobody knows what it asks for: at least [`LEAST_ASSUMED`] tokens are
//! assumed of each answer, so that at most so many as that fits into a limit, and one more, are under way against it at once. They
//! go over it by what their answers have beyond that, and by nothing where these are shorter.

mod account;
mod calendar;
mod limits;
mod output;
mod prompts;
#[cfg(test)]
mod tests;
mod window;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Instant, SystemTime},
};

#[cfg(doc)]
use account::LEAST_ASSUMED;
use account::{Account, Assumed, Now, Reserved};
pub use account::{Count, Left, LimitStanding, Spent};
pub use calendar::{Calendar, Period};
pub use limits::{ClientLimits, Limits, OverMaxOutput};
pub use output::{Cap, Field, Output, Rules, Wanted};

pub use super::limit::{Bound, Limit};
use super::{
    name::{ClientName, ModelName},
    refusal::Refusal,
    route::Operation,
};

/// A moment, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For what slides: it is never set back.
    pub at: Instant,
    /// For what the calendar says.
    pub wall: SystemTime,
}

/// The accounts of all clients that have limits.
#[derive(Debug)]
pub struct Quotas {
    clock: Arc<Clock>,
    clients: HashMap<ClientName, Arc<Accounts>>,
}

#[derive(Debug)]
struct Clock {
    opened: Instant,
    calendar: Calendar,
}

/// Those of one client.
#[derive(Debug)]
struct Accounts {
    own: Option<Arc<Account>>,
    models: HashMap<ModelName, Arc<Account>>,
    need_body: bool,
}

impl Clock {
    fn read(&self, moment: Moment) -> Now {
        let since = moment.at.saturating_duration_since(self.opened).as_nanos();
        Now {
            at: u64::try_from(since).unwrap_or(u64::MAX),
            second: calendar::seconds(moment.wall),
        }
    }
}

impl Quotas {
    pub fn new<'a>(
        clients: impl IntoIterator<Item = (&'a ClientName, &'a ClientLimits)>,
        calendar: Calendar,
        now: Moment,
    ) -> Self {
        let limited = clients.into_iter().filter(|(_, limits)| !limits.is_empty());
        let accounts = limited.map(|(client, limits)| {
            let of = |model: Option<&ModelName>, limits: &Limits| {
                let any = !limits.all().is_empty();
                any.then(|| Account::new(client.clone(), model.cloned(), limits.clone()))
                    .map(Arc::new)
            };
            let models = limits.models.iter();
            let accounts = Accounts {
                own: of(None, &limits.own),
                models: models
                    .filter_map(|(model, limits)| Some((model.clone(), of(Some(model), limits)?)))
                    .collect(),
                need_body: limits.need_body(),
            };
            (client.clone(), Arc::new(accounts))
        });
        let opened = now.at;
        Self {
            clients: accounts.collect(),
            clock: Arc::new(Clock { opened, calendar }),
        }
    }

    /// A client's part in them; `None`: it has no limits.
    pub fn allowance_for(&self, client: &ClientName) -> Option<Allowance> {
        let accounts = self.clients.get(client)?;
        Some(Allowance {
            clock: Arc::clone(&self.clock),
            accounts: Arc::clone(accounts),
            model: None,
        })
    }

    /// How every client stands against every limit that something is counted for.
    pub fn report(&self, now: Moment) -> Vec<LimitStanding> {
        let (mut all, now) = (Vec::new(), self.clock.read(now));
        for account in self.accounts() {
            account.report(now, &self.clock.calendar, &mut all);
        }
        all.sort_by(|a, b| (&a.client, &a.model, a.limit).cmp(&(&b.client, &b.model, b.limit)));
        all
    }

    /// Takes in what a store has kept from before.
    pub fn restore(&self, counts: &[Count], now: Moment) {
        let now = self.clock.read(now);
        for count in counts {
            if let Some(account) = self.account(count) {
                account.restore(count, now, &self.clock.calendar);
            }
        }
    }

    /// What a store is to add; `all`: everything, since it has lost what it had. To be followed by [`Self::arrived`] or
    /// [`Self::not_arrived`].
    pub fn take_changes(&self, all: bool) -> Vec<Count> {
        let mut changes = Vec::new();
        for account in self.accounts() {
            account.take_changes(all, &mut changes);
        }
        changes
    }

    /// The store has added what it was given, and says what it has now: others may have added to it too.
    pub fn arrived(&self, totals: &[Count]) {
        for count in totals {
            if let Some(account) = self.account(count) {
                account.take_in(count);
            }
        }
    }

    /// It has not.
    pub fn not_arrived(&self) {
        self.accounts().for_each(|account| account.put_back());
    }

    /// When the periods of this moment began, in seconds since 1970: what is older is over.
    pub fn beginnings(&self, now: SystemTime) -> [(Period, i64); 3] {
        let (calendar, now) = (&self.clock.calendar, calendar::seconds(now));
        Period::ALL.map(|period| (period, calendar.span(period, now).start))
    }

    fn account(&self, count: &Count) -> Option<&Arc<Account>> {
        let accounts = self.clients.get(&count.client)?;
        match &count.model {
            Some(model) => accounts.models.get(model),
            None => accounts.own.as_ref(),
        }
    }

    fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        let clients = self.clients.values();
        clients.flat_map(|accounts| accounts.own.iter().chain(accounts.models.values()))
    }
}

/// One client's part in the quotas, while it asks for something.
#[derive(Clone, Debug)]
pub struct Allowance {
    clock: Arc<Clock>,
    accounts: Arc<Accounts>,
    /// Of the model that is asked for, where it has limits of its own.
    model: Option<Arc<Account>>,
}

impl Allowance {
    /// Whether bodies have to be read for it, whichever model they name.
    pub fn needs_body(&self) -> bool {
        self.accounts.need_body
    }

    /// Counts a request, before anything is known of it but whose it is.
    pub fn enter(&self, now: Moment) -> Result<Reservation, Refusal> {
        let now = self.clock.read(now);
        let enter = |account: &Arc<Account>| Part::enter(account, now);
        let own = self.accounts.own.as_ref().map(enter).transpose()?;
        Ok(Reservation {
            clock: Arc::clone(&self.clock),
            parts: [own, None],
        })
    }

    /// Counts it with its model too.
    pub fn ask_model(
        &mut self,
        reservation: &mut Reservation,
        model: &ModelName,
        now: Moment,
    ) -> Result<(), Refusal> {
        self.model = self.accounts.models.get(model).cloned();
        if let Some(account) = &self.model {
            reservation.parts[1] = Some(Part::enter(account, self.clock.read(now))?);
        }
        Ok(())
    }

    /// What it says of a request's body; the model must be known.
    pub fn rules(&self) -> Rules<'_> {
        Rules::from_accounts(self.all())
    }

    /// How many requests and tokens a minute are left, of whichever limit has least.
    pub fn left(&self, now: Moment) -> (Option<Left>, Option<Left>) {
        let now = self.clock.read(now);
        let least = |all: &mut dyn Iterator<Item = Left>| all.min_by_key(|left| left.remaining);
        let mut requests = self.all().filter_map(|it| it.requests_left(now));
        let mut tokens = self
            .all()
            .filter_map(|it| it.tokens_left(now, &self.clock.calendar));
        (least(&mut requests), least(&mut tokens))
    }

    fn all(&self) -> impl Iterator<Item = &Account> {
        let own = self.accounts.own.as_ref();
        own.into_iter().chain(&self.model).map(|account| &**account)
    }
}

/// What one request has taken: settled with what it cost, or given back when dropped.
#[derive(Debug)]
#[must_use]
pub struct Reservation {
    clock: Arc<Clock>,
    /// Of the client's own account, and of that with its model.
    parts: [Option<Part>; 2],
}

#[derive(Debug)]
struct Part {
    account: Arc<Account>,
    held: Reserved,
}

impl Part {
    fn enter(account: &Arc<Account>, now: Now) -> Result<Self, Refusal> {
        let held = account.enter(now)?;
        let account = Arc::clone(account);
        Ok(Self { account, held })
    }
}

impl Reservation {
    /// Reserves what the request may cost: what it brings along, and what it may be answered with.
    pub fn reserve(&mut self, input: u64, output: Output, now: Moment) -> Result<(), Refusal> {
        let now = self.clock.read(now);
        let assumed = match output {
            Output::AtMost(_) => None,
            Output::Usual { operation, answers } => Some(Assumed {
                operation,
                answers,
                tokens: self.usual_output(input, operation, answers),
            }),
        };
        let output = match output {
            Output::AtMost(most) => most,
            Output::Usual { .. } => assumed.map_or(0, |it| it.tokens),
        };
        let tokens = input.saturating_add(output);
        for Part { account, held } in self.parts.iter_mut().flatten() {
            account.reserve(held, tokens, assumed, now, &self.clock.calendar)?;
        }
        Ok(())
    }

    /// Nobody said how long the answer may get: as long as the client's answers to such requests are, those of this model
    /// where it is counted apart. What is only assumed makes no request too large for a limit.
    fn usual_output(&self, input: u64, operation: Operation, answers: u64) -> u64 {
        let parts = || self.parts.iter().flatten();
        let usual = parts()
            .last()
            .map_or(0, |part| part.account.usual_output(operation));
        let least = parts().filter_map(|part| part.account.least()).min();
        let room = least.map_or(u64::MAX, |least| least.saturating_sub(input));
        usual.saturating_mul(answers).min(room)
    }

    /// The request has ended.
    pub fn settle(mut self, spent: Spent, now: Moment) {
        let now = self.clock.read(now);
        self.end(spent, Some(now));
    }

    fn end(&mut self, spent: Spent, now: Option<Now>) {
        for part in &mut self.parts {
            if let Some(Part { account, held }) = part.take() {
                account.end(&held, spent, now, &self.clock.calendar);
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.end(Spent::Nothing, None);
    }
}
