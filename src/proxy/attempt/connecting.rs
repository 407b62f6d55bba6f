//! A deployment to which a connection comes about: with our credential for it at hand, and one of its addresses.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use http::HeaderValue;
use pingora::{Result, http::RequestHeader, protocols::ALPN, upstreams::peer::HttpPeer};

use super::{
    request::Request,
    sent::Sent,
    turn::{Again, Over, Turn, Why},
    unanswered::{Unanswered, Waited},
};
use crate::{
    domain::{
        outcome::{Fault, Outcome},
        trace::Trace,
    },
    proxy::{call::Call, realtime, walk::Walk},
};

/// For a fresh token, after one was refused: as long as for a few tries at the authority, no longer.
const RENEWAL_TIME: Duration = Duration::from_secs(5);

pub(crate) struct Connecting {
    pub(super) turn: Turn,
    /// Our credential, as it was when the deployment was chosen.
    pub(super) credential: HeaderValue,
    /// Of which generation its connection is.
    generation: u64,
}

/// Whether a deployment can be asked.
pub(crate) enum Begun {
    Connecting(Connecting, Box<HttpPeer>),
    /// It could not even be tried.
    Over(Over),
}

impl Turn {
    pub(crate) async fn connect(self, walk: &mut Walk) -> Begun {
        let (target, bounds) = (self.target(&walk.call), &walk.call.served.bounds);
        // Only before the first token ever came is one worth waiting for, and no longer than for a connection.
        let by = walk
            .progress
            .deadline(bounds)
            .min(self.began + bounds.connect_timeout);
        let credential = &target.connector.credential;
        let mut held = credential.header(SystemTime::now());
        if held.is_none() && credential.ready(by).await {
            held = credential.header(SystemTime::now());
        }
        match held {
            Some((_, credential)) => self.towards(credential, walk),
            None => Begun::Over(self.end(None, &Outcome::fault(Fault::Credential), walk)),
        }
    }

    fn towards(self, credential: HeaderValue, walk: &mut Walk) -> Begun {
        match self.target(&walk.call).connector.address() {
            Some(address) => {
                let (connecting, peer) = Connecting::new(self, credential, address, &walk.call);
                Begun::Connecting(connecting, peer)
            }
            None => Begun::Over(self.end(None, &Outcome::fault(Fault::Connect), walk)),
        }
    }
}

impl Again {
    /// The same deployment once more, with what stood in the way cleared away.
    pub(crate) async fn connect(self, walk: &mut Walk) -> Begun {
        let Self {
            mut turn,
            credential,
            why,
        } = self;
        if why == Why::RefusedCredential {
            let deadline = walk.progress.deadline(&walk.call.served.bounds);
            let by = deadline.min(Instant::now() + RENEWAL_TIME);
            let ours = &turn.target(&walk.call).connector.credential;
            if !ours.renew(&credential, by).await {
                return Begun::Over(unrenewed(turn, walk));
            }
            turn.history.is_renewed = true;
        }
        turn.begin_again(&walk.call);
        turn.towards(credential, walk)
    }
}

/// What was refused is written down already.
fn unrenewed(mut turn: Turn, walk: &mut Walk) -> Over {
    let (now, outcome) = (Instant::now(), Outcome::IdentityRejected);
    let changes = turn.tell_pool(None, &outcome, walk, now);
    Over::new(walk.follow(&outcome, 0, false, now), None, changes)
}

impl Connecting {
    /// With where it goes, and over which connections it may.
    pub(super) fn new(
        turn: Turn,
        credential: HeaderValue,
        address: SocketAddr,
        call: &Call,
    ) -> (Self, Box<HttpPeer>) {
        let (target, bounds) = (turn.target(call), &call.served.bounds);
        let generation = target.connections.generation();
        let group = target.group(turn.history.is_alone);
        let mut peer = target.connector.peer(address, group, bounds);
        if target.connections.wants_http1() {
            peer.options.alpn = ALPN::H1;
        }
        if call.relay.is_tunnel() {
            realtime::prepare(&mut peer, bounds);
        }
        let connecting = Self {
            turn,
            credential,
            generation,
        };
        (connecting, peer)
    }

    /// A connection has come about.
    pub(crate) fn note_connected(&self, call: &Call) {
        self.turn.target(call).connector.note_connected();
    }

    /// What it is sent; the client's head is replaced by its own.
    pub(crate) fn request(
        &self,
        call: &Call,
        trace: Option<&Trace>,
        head: &mut RequestHeader,
    ) -> Result<Request> {
        Request::build(&self.turn, &self.credential, call, trace, head)
    }

    /// From here on the request is on its way.
    pub(crate) fn send(self, request: Request, walk: &Walk) -> Sent {
        let now = Instant::now();
        let (credential, added) = request.order(walk, now);
        Sent {
            turn: self.turn,
            credential,
            generation: self.generation,
            added,
            waited: Waited {
                since: now,
                was_heard: false,
            },
        }
    }

    /// Its connection has ended.
    pub(crate) fn cut_off(self) -> Unanswered {
        Unanswered {
            turn: self.turn,
            credential: self.credential,
            generation: self.generation,
            sent: None,
        }
    }
}
