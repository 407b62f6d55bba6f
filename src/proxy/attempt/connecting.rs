//! A deployment to which a connection comes about; our credential for it is at hand.

use std::{net::SocketAddr, time::Instant};

use http::HeaderValue;
use pingora::{Result, http::RequestHeader, protocols::ALPN, upstreams::peer::HttpPeer};

use super::{
    request::Request,
    sent::Sent,
    turn::Turn,
    unanswered::{Unanswered, Waited},
};
use crate::{
    domain::trace::Trace,
    proxy::{call::Call, realtime, walk::Walk},
};

pub(crate) struct Connecting {
    pub(super) turn: Turn,
    /// Our credential, as it was when the deployment was chosen.
    pub(super) credential: HeaderValue,
    /// Of which generation its connection is.
    generation: u64,
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
        let mut peer = target.reach.peer(address, group, bounds);
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
        self.turn.target(call).reach.note_connected();
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
