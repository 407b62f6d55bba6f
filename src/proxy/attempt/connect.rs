//! What a deployment needs before it can be asked: our credential for it, and one of its addresses.

use std::time::{Duration, Instant, SystemTime};

use http::HeaderValue;
use pingora::upstreams::peer::HttpPeer;

use super::{
    again::{Again, Why},
    connecting::Connecting,
    over::Over,
    turn::Turn,
};
use crate::{
    domain::outcome::{Fault, Outcome},
    proxy::walk::Walk,
};

/// For a fresh token, after one was refused: as long as for a few tries at the authority, no longer.
const RENEWAL_TIME: Duration = Duration::from_secs(5);

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
        let credential = &target.reach.credential;
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
        match self.target(&walk.call).reach.address() {
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
            let ours = &turn.target(&walk.call).reach.credential;
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
