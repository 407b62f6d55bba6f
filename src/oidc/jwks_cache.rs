//! One issuer's keys, kept fresh: fetched at the start, looked at again every hour, and when a token names one that isn't
//! there. While the issuer can't be reached, the keys it had go on counting.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tracing::{error, info, warn};

use super::{
    fetch::{FetchError, Fetched, Fetcher},
    fetch_schedule::{self, Allowance},
    keys::{Key, Keys},
};
use crate::{
    domain::{
        client::{Clients, issuer::Issuer, token::Ruled},
        name::IssuerName,
    },
    http_client::SetupError,
};

/// How long a request waits for keys that are being fetched.
const PATIENCE: Duration = Duration::from_secs(2);

/// One issuer.
pub struct JwksCache {
    pub(super) issuer: Arc<Issuer>,
    /// What its tokens must say.
    pub(super) rules: Vec<Ruled>,
    keys: ArcSwapOption<Keys>,
    fetcher: Fetcher,
    progress: watch::Sender<Progress>,
    /// Keys are wanted before their time.
    wanted: Notify,
    allowance: Mutex<(Allowance, Asked)>,
}

/// How many fetches had ended when a request last asked for one.
type Asked = Option<u64>;

/// What became of the fetches so far.
#[derive(Clone, Debug, Default)]
struct Progress {
    begun: u64,
    ended: u64,
    failures: u64,
    in_a_row: u32,
    fetched_at: Option<SystemTime>,
    last_error: Option<String>,
}

/// How an issuer stands, for `/status` and the metrics.
#[derive(Clone, Debug)]
pub struct JwksCacheState {
    pub issuer: IssuerName,
    pub url: String,
    /// Keys in use.
    pub keys: usize,
    /// When they were last fetched; `None`: never yet, so that no token can be checked.
    pub fetched_at: Option<SystemTime>,
    /// Fetches that ended, well or not, since the start.
    pub fetches: u64,
    /// Those that failed.
    pub failures: u64,
    /// Why the last one failed; `None` once one has succeeded since.
    pub last_error: Option<String>,
}

/// A key that was looked for and not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The issuer does not publish it.
    Unknown,
    /// None of its keys could be fetched yet.
    NoKeysYet,
}

impl JwksCache {
    pub(super) fn new(issuer: &Arc<Issuer>, clients: &Clients) -> Result<Self, SetupError> {
        Ok(Self {
            rules: clients.rules(&issuer.name),
            keys: ArcSwapOption::empty(),
            fetcher: Fetcher::new(issuer)?,
            progress: watch::Sender::default(),
            wanted: Notify::new(),
            allowance: Mutex::new((Allowance::new(Instant::now()), None)),
            issuer: Arc::clone(issuer),
        })
    }

    /// Keeps the keys fresh until `shutdown` says true or its sender is gone. To be spawned once.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            () = self.keep_fresh() => {}
        }
    }

    /// The only place where keys are asked for: one flight at a time.
    async fn keep_fresh(&self) {
        loop {
            self.progress.send_modify(|p| p.begun += 1);
            let before = self.keys.load_full();
            let wait = match self.fetcher.fetch(&self.issuer, before.as_deref()).await {
                Ok(fetched) => self.keep(fetched),
                Err(error) => self.miss(&error),
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    /// Puts keys into use. Gives the time until they are looked at again.
    fn keep(&self, fetched: Fetched) -> Duration {
        let keys = Arc::new(fetched.keys);
        let count = keys.len();
        let before = self.keys.swap(Some(Arc::clone(&keys)));
        if let Some(before) = &before {
            before.make_way_for(&keys);
        }
        let was_failing = self.progress.borrow().in_a_row > 0;
        if before.is_none() || was_failing {
            info!(event = "jwks_fetched", issuer = %self.issuer.name, keys = count, "fetched the issuer's signing keys");
        }
        self.progress.send_modify(|p| {
            p.ended += 1;
            p.in_a_row = 0;
            p.fetched_at = Some(SystemTime::now());
            p.last_error = None;
        });
        fetch_schedule::refresh_after(fetched.max_age, fastrand::f64())
    }

    /// Notes a failure. Gives the time until the next try.
    fn miss(&self, failure: &FetchError) -> Duration {
        self.progress.send_modify(|p| {
            p.ended += 1;
            p.failures += 1;
            p.in_a_row += 1;
            p.last_error = Some(failure.to_string());
        });
        let in_a_row = self.progress.borrow().in_a_row;
        let (issuer, why) = (&self.issuer.name, failure.to_string());
        match self.keys.load().is_some() {
            _ if in_a_row > 1 => {}
            true => {
                warn!(event = "jwks_not_renewed", %issuer, why, "could not fetch the issuer's signing keys again; the old keys are still used, so clients are not affected yet; check that its url can be reached")
            }
            false => {
                error!(event = "jwks_missing", %issuer, why, "no signing keys of the issuer: clients with its tokens get 503; check that its url can be reached")
            }
        }
        fetch_schedule::retry_after(in_a_row, fastrand::f64())
    }

    /// The key of this id. Where it isn't there, it may have come since: the keys are fetched again, as far as that is
    /// allowed, and the request waits for them a while.
    pub(super) async fn key(&self, id: &str) -> Result<Arc<Key>, Missing> {
        let mut progress = self.progress.subscribe();
        // A fetch that was under way may have begun before the key was published: then one more.
        for _ in 0..2 {
            if let Some(key) = self.find(id) {
                return Ok(key);
            }
            let Some(before) = self.want() else { break };
            let ended = progress.wait_for(|p| p.ended > before);
            let _ = timeout(PATIENCE, ended).await;
        }
        self.find(id).ok_or(if self.keys.load().is_some() {
            Missing::Unknown
        } else {
            Missing::NoKeysYet
        })
    }

    fn find(&self, id: &str) -> Option<Arc<Key>> {
        self.keys.load().as_ref()?.find(id).cloned()
    }

    /// Joins the fetch under way, or asks for one. Gives how many ended before it; `None`: there is none to wait for.
    fn want(&self) -> Option<u64> {
        let mut guard = self.allowance.lock();
        let (allowance, asked) = &mut *guard;
        let (begun, ended) = {
            let progress = self.progress.borrow();
            (progress.begun, progress.ended)
        };
        if begun > ended || *asked == Some(ended) {
            return Some(ended);
        }
        allowance.take(Instant::now()).then(|| {
            *asked = Some(ended);
            self.wanted.notify_one();
            ended
        })
    }

    pub fn state(&self) -> JwksCacheState {
        let progress = self.progress.borrow().clone();
        JwksCacheState {
            issuer: self.issuer.name.clone(),
            url: self.issuer.url.clone(),
            keys: self.keys.load().as_ref().map_or(0, |keys| keys.len()),
            fetched_at: progress.fetched_at,
            fetches: progress.ended,
            failures: progress.failures,
            last_error: progress.last_error,
        }
    }
}
