//! What a body says of how much it wants: what limits, costs and usage go by. Where each member stands, and nothing of
//! what it means: its value may be anything.

use std::ops::Range;

use memchr::memmem;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::place_of;

/// The members of the outermost object that say how much of an answer is wanted, and what is to be said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Chat and completions: the most output, in tokens.
    pub max_tokens: Option<Said>,
    /// Chat: the same, reasoning included.
    pub max_completion_tokens: Option<Said>,
    /// Responses: the same.
    pub max_output_tokens: Option<Said>,
    /// How many answers are wanted.
    pub n: Option<Said>,
    /// Completions: of how many drafts the best ones are taken.
    pub best_of: Option<Said>,
    /// What a stream is to bring along: `{"include_usage":true}`.
    pub stream_options: Option<Said>,
}

impl Wants {
    /// Where the members that bound the output stand that are `null`: to serde those and missing ones are the same, on the
    /// wire they are not.
    pub(in crate::domain) fn nulls(body: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        struct Members<'a> {
            #[serde(borrow, default, deserialize_with = "even_null")]
            max_tokens: Option<&'a RawValue>,
            #[serde(borrow, default, deserialize_with = "even_null")]
            max_completion_tokens: Option<&'a RawValue>,
            #[serde(borrow, default, deserialize_with = "even_null")]
            max_output_tokens: Option<&'a RawValue>,
        }
        if memmem::find(body, b"null").is_none() {
            return Self::default();
        }
        let members: Members<'_> = serde_json::from_slice(body).unwrap_or_default();
        let null = |raw: Option<&RawValue>| {
            let raw = raw.filter(|raw| raw.get() == "null")?;
            Some(Said(place_of(raw, body)))
        };
        Self {
            max_tokens: null(members.max_tokens),
            max_completion_tokens: null(members.max_completion_tokens),
            max_output_tokens: null(members.max_output_tokens),
            ..Self::default()
        }
    }
}

fn even_null<'de: 'a, 'a, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// Where a member's value stands in the body, quotes and brackets included. One that is `null` is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said(pub Range<usize>);

impl Said {
    /// The value as it is written in its body.
    pub fn text<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        &body[self.0.clone()]
    }

    /// The value, where it is a whole number that is not negative.
    pub fn count(&self, body: &[u8]) -> Option<u64> {
        std::str::from_utf8(self.text(body)).ok()?.parse().ok()
    }
}
