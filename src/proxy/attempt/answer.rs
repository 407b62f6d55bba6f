//! An answer from its head on, judged or not.

use http::HeaderValue;

use super::{
    additions::Additions,
    turn::{Head, Turn},
};
use crate::{
    domain::{additions::Added, deployment::Deployment},
    proxy::metering::{Passed, Reading, Wish},
};

pub(crate) struct Answer {
    pub(super) turn: Turn,
    /// Our credential as it was sent.
    pub(super) credential: HeaderValue,
    pub(super) added: Additions,
    pub(super) head: Head,
    /// What is read of it.
    pub(super) reading: Reading,
}

impl Answer {
    pub(crate) fn deployment(&self) -> &Deployment {
        self.turn.chosen.deployment()
    }

    /// What its deployment was asked with.
    pub(crate) fn credential(&self) -> &HeaderValue {
        &self.credential
    }

    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    /// What its request had added.
    pub(crate) fn added(&self) -> Added {
        self.added.said()
    }

    /// Whether the gateway asked it for the usage of its stream.
    pub(crate) fn was_asked_for_usage(&self) -> bool {
        self.added.usage == Wish::Asked
    }

    /// It looks well so far.
    pub(crate) fn looks_well(&self) {
        self.turn.chosen.looks_well();
    }

    /// Reads a piece as it came from the deployment.
    pub(crate) fn read(&mut self, piece: &[u8]) {
        self.reading.read(piece);
    }

    pub(super) fn passed(self) -> Passed {
        Passed {
            reading: self.reading,
            wish: self.added.usage,
            is_at_work: false,
        }
    }
}
