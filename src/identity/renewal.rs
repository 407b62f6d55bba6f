//! The background task of a credential: fetch, keep, renew ahead of the end, try again after a failure.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{error, info, warn};

use super::{
    credential::Credential,
    schedule,
    source::{FetchError, Source},
    token::Token,
};

/// The wall clock is looked at this often while nothing is to be done.
const LOOK: Duration = Duration::from_secs(15);

/// How the last token request left us; the log hears of it when it changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Starting,
    Well,
    /// The renewal failed; the old token still holds.
    Failing,
    /// There is no token that holds: the identity's instances can't be asked.
    Out,
}

impl Credential {
    /// Keeps the token fresh until `shutdown` says true or its sender is gone. To be spawned once. An api-key
    /// needs none of it, and this returns at once.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let Some(source) = &self.source else { return };
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            () = self.keep_fresh(source) => {}
        }
    }

    /// The only place where tokens are asked for: one flight at a time.
    async fn keep_fresh(&self, source: &Arc<Source>) {
        let mut standing = Standing::Starting;
        loop {
            let (wait, now_standing) = match source.fetch().await {
                Ok(token) => (self.keep(token), Standing::Well),
                Err(error) => self.miss(&error),
            };
            self.log(standing, now_standing);
            standing = now_standing;
            tokio::select! {
                () = self.pause(wait) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    /// Sleeps for `wait`; less where a token ends meanwhile that held when this began: a machine that slept,
    /// or whose clock was put right, counts the wait from the wrong end.
    async fn pause(&self, wait: Duration) {
        let due = Instant::now() + wait;
        let had_token = self.header(SystemTime::now()).is_some();
        while Instant::now() < due {
            sleep_until(due.min(Instant::now() + LOOK)).await;
            if had_token && self.header(SystemTime::now()).is_none() {
                return;
            }
        }
    }

    /// Puts a fresh token into use. Gives the time until the next is to be asked for.
    fn keep(&self, token: Token) -> Duration {
        let left = token.left(SystemTime::now());
        self.token.store(Some(Arc::new(token)));
        self.progress.send_modify(|p| {
            p.ended += 1;
            p.in_a_row = 0;
            p.is_refused = false;
            p.last_error = None;
        });
        schedule::renew_after(left, fastrand::f64())
    }

    /// Notes a failure. Gives the time until the next try, and where we stand without it.
    fn miss(&self, error: &FetchError) -> (Duration, Standing) {
        self.progress.send_modify(|p| {
            p.ended += 1;
            p.failures += 1;
            p.in_a_row += 1;
            p.is_refused = error.is_refusal();
            p.last_error = Some(error.to_string());
        });
        let in_a_row = self.progress.borrow().in_a_row;
        let (refused, asked) = (error.is_refusal(), error.retry_after());
        let wait = schedule::retry_after(in_a_row, refused, asked, fastrand::f64());
        match self.header(SystemTime::now()) {
            Some(_) => (wait, Standing::Failing),
            None => (wait, Standing::Out),
        }
    }

    fn log(&self, before: Standing, after: Standing) {
        if before == after {
            return;
        }
        let state = self.state();
        let (identity, scope) = (&state.identity, state.scope.as_deref().unwrap_or_default());
        let why = state.last_error.as_deref().unwrap_or_default();
        match after {
            Standing::Well => info!(%identity, scope, "the identity has a token"),
            Standing::Failing => {
                warn!(%identity, scope, why, "no new token; the old one still holds")
            }
            Standing::Out => {
                error!(%identity, scope, why, "no token: its instances can't be asked")
            }
            Standing::Starting => {}
        }
    }
}
