//! A deployment that is asked once more before it is judged. Each try is an attempt of the record; this one's last is
//! written down.

use http::HeaderValue;

use super::turn::Turn;

pub(crate) struct Again {
    pub(super) turn: Turn,
    /// Our credential as it was sent.
    pub(super) credential: HeaderValue,
    pub(super) why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The request was lost with its connection, which says nothing of the deployment.
    NewConnection,
    /// It refused our credential.
    RefusedCredential,
    /// It refused what the gateway had added.
    RefusedAddition,
}
