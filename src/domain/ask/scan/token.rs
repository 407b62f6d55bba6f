//! Where in the grammar of JSON a reader is, and why it stops.

use std::str::Utf8Error;

use super::{number::Number, text::NotJson};
use crate::domain::refusal::Refusal;

/// What may come next, outside of any token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Next {
    #[default]
    Object,
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    Nothing,
}

/// The token being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Token {
    #[default]
    None,
    Text(Escape),
    /// What is still to come of `true`, `false` or `null`.
    Word(&'static [u8]),
    Number(Number),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    None,
    Begun,
    /// So many hexadecimal digits are still to come.
    Digits(u8),
}

/// Why nothing more is read: a word's size, since it is asked of every token.
pub(super) enum Stop {
    NotJson,
    Refused(Box<Refusal>),
}

impl From<NotJson> for Stop {
    fn from(_: NotJson) -> Self {
        Self::NotJson
    }
}

impl From<Utf8Error> for Stop {
    fn from(_: Utf8Error) -> Self {
        Self::NotJson
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<Stop> for Refusal {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::NotJson => Self::BodyNotJson,
            Stop::Refused(refusal) => *refusal,
        }
    }
}
