//! One identity's credential for one scope: the header that is ready, and its state.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwapOption;
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::timeout_at,
};

use super::{
    error::SetupError, renewal_schedule, source::Source, token::Token, transport::Clients,
};
use crate::domain::{
    cloud::Cloud,
    deployment::{Instance, Kind},
    identity::{Identity, Proof},
    name::{IdentityName, InstanceName},
    pool::CredentialValidity,
};

const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// How the gateway proves itself to the instances that share this. Its token is fetched and renewed by
/// [`Credential::run`]; everything else only reads what is ready.
pub struct Credential {
    pub(super) identity: IdentityName,
    kind: &'static str,
    name: HeaderName,
    pub(super) token: ArcSwapOption<Token>,
    /// `None`: an api-key, which needs no fetching.
    pub(super) source: Option<Arc<Source>>,
    pub(super) progress: watch::Sender<Progress>,
    /// A fresh token is wanted before its time.
    pub(super) wanted: Notify,
    /// When it was wanted last, and how many token requests had ended then.
    forced: Mutex<Option<(Instant, u64)>>,
    instances: Vec<InstanceName>,
    listener: OnceLock<Listener>,
}

/// Hears until when the gateway can prove itself to those instances, seen from a moment.
type Listener = Box<dyn Fn(&[InstanceName], CredentialValidity, Instant) + Send + Sync>;

/// What became of the token requests so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Requests that ended, well or not.
    pub(super) ended: u64,
    pub(super) failures: u64,
    /// Failures since the last success.
    pub(super) in_a_row: u32,
    pub(super) last_error: Option<String>,
    /// There was no first token, and it isn't waited for any more.
    pub(super) is_given_up: bool,
}

/// How a credential stands, for `/status` and the metrics. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialState {
    pub identity: IdentityName,
    /// `None` for an api-key.
    pub scope: Option<String>,
    /// As in the config, like `managed_identity`.
    pub kind: &'static str,
    /// Whose tokens they are: `imds`, `app_service` or `entra`; `None` for an api-key.
    pub source: Option<&'static str>,
    /// Scheme, host and port that the tokens are asked for at.
    pub asked_at: Option<String>,
    /// The instances that are asked with it.
    pub instances: Vec<InstanceName>,
    /// When the token in use ends, or ended; `None`: it has no end, or there is no token yet.
    pub expires_on: Option<SystemTime>,
    /// Token requests that failed since the start.
    pub failures: u64,
    /// Why the last one failed; `None` once one has succeeded since.
    pub last_error: Option<String>,
}

impl Credential {
    /// Fails where the proof can't ever work: a value no header may hold, an authority that is no URL, a
    /// token file or a variable that isn't there.
    pub(super) fn new(
        identity: &Identity,
        instance: &Instance,
        clients: &mut Clients,
    ) -> Result<Self, SetupError> {
        let (name, token, source) = match &identity.proof {
            Proof::ApiKey(key) if instance.kind == Kind::Openai => (
                AUTHORIZATION,
                Some(Token::bearer(key.expose(), None)?),
                None,
            ),
            Proof::ApiKey(key) => (API_KEY, Some(Token::key(key.expose())?), None),
            proof => (
                AUTHORIZATION,
                None,
                Some(
                    Source::new(
                        proof,
                        &instance.scope,
                        Cloud::of_instance(instance),
                        clients,
                    )?
                    .into(),
                ),
            ),
        };
        Ok(Self {
            identity: identity.name.clone(),
            kind: identity.proof.kind(),
            name,
            token: ArcSwapOption::from_pointee(token),
            source,
            progress: watch::Sender::default(),
            wanted: Notify::new(),
            forced: Mutex::default(),
            instances: Vec::new(),
            listener: OnceLock::new(),
        })
    }

    /// One more instance is asked with it.
    pub(super) fn add(&mut self, instance: &InstanceName) {
        self.instances.push(instance.clone());
    }

    pub(super) fn instances(&self) -> &[InstanceName] {
        &self.instances
    }

    /// Lets `listener` hear, from [`Credential::run`], whenever the time changes until which those instances can be
    /// asked. Only the first one is kept.
    pub fn listen(
        &self,
        listener: impl Fn(&[InstanceName], CredentialValidity, Instant) + Send + Sync + 'static,
    ) {
        let _ = self.listener.set(Box::new(listener));
    }

    /// Tells the listener how it stands. `renewal`: when the next token is asked for.
    pub(super) fn announce(&self, renewal: Instant) {
        let Some(listener) = self.listener.get() else {
            return;
        };
        let now = Instant::now();
        let left = self.left(SystemTime::now());
        let validity = match left {
            // The first token is on its way.
            None if !self.progress.borrow().is_given_up => CredentialValidity::default(),
            None => CredentialValidity::over(now, renewal),
            Some(left) => CredentialValidity {
                ends: now.checked_add(left),
                renewal: Some(renewal),
            },
        };
        listener(&self.instances, validity, now);
    }

    /// How long the token still holds, for ever where it has no end; `None`: there is none.
    pub(super) fn left(&self, now: SystemTime) -> Option<Duration> {
        let token = self.token.load();
        token.as_ref().map(|token| token.left(now))
    }

    /// The header that proves us, marked sensitive; `None` when there is no token that still holds. Never waits.
    pub fn header(&self, now: SystemTime) -> Option<(HeaderName, HeaderValue)> {
        let newest = self.token.load();
        let token = newest.as_ref().filter(|token| token.holds(now))?;
        Some((self.name.clone(), token.header.clone()))
    }

    /// The header's name.
    pub fn name(&self) -> HeaderName {
        self.name.clone()
    }

    /// Waits for the first token: until it is there, or failed to come and isn't asked for again at once, or the
    /// deadline. Says whether there is a header. Returns at once ever after.
    pub async fn ready(&self, deadline: Instant) -> bool {
        if self.token.load().is_some() {
            return self.header(SystemTime::now()).is_some();
        }
        let mut progress = self.progress.subscribe();
        let settled = progress.wait_for(|p| self.token.load().is_some() || p.is_given_up);
        let _ = timeout_at(deadline.into(), settled).await;
        self.header(SystemTime::now()).is_some()
    }

    /// Whether a fresh one can be had at all: an api-key is what it is.
    pub fn is_renewable(&self) -> bool {
        self.source.is_some()
    }

    /// Gets a token other than the one an instance has just refused, with one token request however many
    /// requests want it, and not more often than the schedule allows. Waits for it until the deadline. Says
    /// whether the header is another one now; an api-key's never is.
    pub async fn renew(&self, refused: &HeaderValue, deadline: Instant) -> bool {
        if self.source.is_none() || self.differs_from(refused) {
            return self.source.is_some();
        }
        let mut progress = self.progress.subscribe();
        let before = self.force(Instant::now());
        let ended = progress.wait_for(|p| p.ended > before);
        let _ = timeout_at(deadline.into(), ended).await;
        self.differs_from(refused)
    }

    /// Wakes the task that fetches, unless that was done just before. Gives the number of token requests that
    /// had ended when it was woken last: the next one to end is the one to wait for.
    fn force(&self, now: Instant) -> u64 {
        let mut forced = self.forced.lock();
        match *forced {
            Some((at, ended)) if !renewal_schedule::may_force(at, now) => ended,
            _ => {
                let ended = self.progress.borrow().ended;
                *forced = Some((now, ended));
                self.wanted.notify_one();
                ended
            }
        }
    }

    fn differs_from(&self, refused: &HeaderValue) -> bool {
        let token = self.token.load();
        token.as_ref().is_some_and(|token| token.header != refused)
    }

    /// How it stands.
    pub fn state(&self) -> CredentialState {
        let progress = self.progress.borrow();
        CredentialState {
            identity: self.identity.clone(),
            scope: self.source.as_ref().map(|s| s.scope().to_owned()),
            kind: self.kind,
            source: self
                .source
                .as_ref()
                .map(|s| s.authority().endpoint().as_str()),
            asked_at: self.source.as_ref().and_then(|s| s.asked_at()),
            instances: self.instances.clone(),
            expires_on: self.token.load().as_ref().and_then(|t| t.expires_on),
            failures: progress.failures,
            last_error: progress.last_error.clone(),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("identity", &self.identity)
            .field("kind", &self.kind)
            .field("token", &self.token.load())
            .finish_non_exhaustive()
    }
}
