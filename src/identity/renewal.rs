//! The background task of a credential: fetch, keep, renew ahead of the end, try again after a failure.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{error, info, warn};

use super::{
    credential::Credential, error::FetchError, renewal_schedule, source::Source, token::Token,
};

/// The wall clock is looked at this often while nothing is to be done.
const LOOK: Duration = Duration::from_secs(15);

/// Requests wait for the first token while it is asked for again within this.
const WORTH_WAITING: Duration = Duration::from_secs(1);

/// How the last token request left us; the log hears of it when it changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RenewalState {
    Starting,
    Well,
    /// The renewal failed; the old token still holds.
    Failing,
    /// There is no token that holds: the identity's instances can't be asked.
    Out,
}

/// What the task knows beside its credential.
struct TokenRenewer<'a> {
    credential: &'a Credential,
    standing: RenewalState,
    /// When the next token is asked for.
    renewal: Instant,
}

impl Credential {
    /// Keeps the token fresh until `shutdown` says true or its sender is gone. To be spawned once. An api-key
    /// needs none of it, and this returns at once.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let Some(source) = &self.source else { return };
        let mut renewer = TokenRenewer {
            credential: &self,
            standing: RenewalState::Starting,
            renewal: Instant::now(),
        };
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            () = renewer.keep_fresh(source) => {}
        }
    }

    /// Sleeps until the token ends; for ever where there is none that holds. Looks at the clock now and then: a machine
    /// may have slept, or its clock been put right. Calls `look` each time.
    async fn end_of_token(&self, look: impl Fn()) {
        while let Some(left) = self.left(SystemTime::now()).filter(|left| !left.is_zero()) {
            sleep_until(Instant::now() + left.min(LOOK)).await;
            look();
        }
    }
}

impl TokenRenewer<'_> {
    /// The only place where tokens are asked for: one flight at a time.
    async fn keep_fresh(&mut self, source: &Arc<Source>) {
        loop {
            self.renewal = Instant::now();
            let (wait, standing) = match self.watching(source.fetch()).await {
                Ok(token) => (self.keep(token), RenewalState::Well),
                Err(error) => self.miss(&error),
            };
            self.turn(standing);
            let credential = self.credential;
            tokio::select! {
                () = self.pause(wait) => {}
                () = credential.wanted.notified() => {}
            }
        }
    }

    /// Does `work`, and raises the alarm if the token ends meanwhile.
    async fn watching<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if self.holds() {
            let (credential, renewal) = (self.credential, self.renewal.into_std());
            tokio::select! {
                done = &mut work => return done,
                () = credential.end_of_token(|| credential.announce(renewal)) => self.turn(RenewalState::Out),
            }
        }
        work.await
    }

    /// Until the next token is to be asked for, and not beyond the end of the one in use.
    async fn pause(&mut self, wait: Duration) {
        let due = sleep_until(Instant::now() + wait);
        if !self.holds() {
            return due.await;
        }
        let (credential, renewal) = (self.credential, self.renewal.into_std());
        tokio::select! {
            () = due => {}
            () = credential.end_of_token(|| credential.announce(renewal)) => self.turn(RenewalState::Out),
        }
    }

    fn holds(&self) -> bool {
        self.credential.header(SystemTime::now()).is_some()
    }

    /// Puts a fresh token into use. Gives the time until the next is to be asked for.
    fn keep(&mut self, token: Token) -> Duration {
        let wait = renewal_schedule::renew_after(token.left(SystemTime::now()), fastrand::f64());
        self.renewal = Instant::now() + wait;
        self.credential.token.store(Some(Arc::new(token)));
        // Whoever waits for it finds the pools knowing of it.
        self.credential.announce(self.renewal.into_std());
        self.credential.progress.send_modify(|p| {
            p.ended += 1;
            p.in_a_row = 0;
            p.last_error = None;
        });
        wait
    }

    /// Notes a failure. Gives the time until the next try, and where we stand without it.
    fn miss(&mut self, error: &FetchError) -> (Duration, RenewalState) {
        let progress = &self.credential.progress;
        let in_a_row = progress.borrow().in_a_row + 1;
        let (refused, asked) = (error.is_refusal(), error.retry_after());
        let wait = renewal_schedule::retry_after(in_a_row, refused, asked, fastrand::f64());
        let is_long = *error == FetchError::TimedOut || wait > WORTH_WAITING;
        progress.send_modify(|p| {
            p.ended += 1;
            p.failures += 1;
            p.in_a_row = in_a_row;
            p.last_error = Some(error.to_string());
            p.is_given_up |= is_long;
        });
        self.renewal = Instant::now() + wait;
        self.credential.announce(self.renewal.into_std());
        let standing = if self.holds() {
            RenewalState::Failing
        } else if self.is_awaited() {
            RenewalState::Starting
        } else {
            RenewalState::Out
        };
        (wait, standing)
    }

    /// The first token may still come: requests wait for it.
    fn is_awaited(&self) -> bool {
        self.standing == RenewalState::Starting && !self.credential.progress.borrow().is_given_up
    }

    /// Says so where we stand otherwise than before.
    fn turn(&mut self, standing: RenewalState) {
        if self.standing == standing {
            return;
        }
        self.standing = standing;
        let state = self.credential.state();
        let (identity, scope) = (&state.identity, state.scope.as_deref().unwrap_or_default());
        let names: Vec<&str> = state.instances.iter().map(|name| name.as_str()).collect();
        let instances = names.join(", ");
        let why = state.last_error.as_deref();
        match standing {
            RenewalState::Well => {
                info!(event = "token_obtained", %identity, scope, instances, "got a token for the identity; its instances can be used")
            }
            RenewalState::Failing => {
                warn!(event = "token_not_renewed", %identity, scope, instances, why, "could not renew the identity's token; the old one is still valid, so requests are not affected yet; check the token endpoint and the credential")
            }
            RenewalState::Out => {
                let why = why.unwrap_or("the token expired before it was renewed");
                error!(event = "token_missing", %identity, scope, instances, why, "the identity has no token: its instances get no requests, other instances serve instead; check the token endpoint and the credential")
            }
            RenewalState::Starting => {}
        }
    }
}
