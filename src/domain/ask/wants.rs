//! What a body says of how much it wants: what limits, costs and usage go by. Where each member stands, and nothing of
//! what it means: its value may be anything.

use std::ops::Range;

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
    /// What a stream is to bring along: `{"include_usage":true}`. It may be `null`.
    pub stream_options: Option<Said>,
    /// The answer is to be drawn from data of the caller's own (Azure's `data_sources`).
    pub brings_data: bool,
    /// The bounds of the output that stand there and say nothing.
    pub nulls: Nulls,
}

/// Where the members that bound the output stand that are `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nulls {
    pub max_tokens: Option<Said>,
    pub max_completion_tokens: Option<Said>,
    pub max_output_tokens: Option<Said>,
}

/// Where a member's value stands in the body, quotes and brackets included. Unless told otherwise, one that is `null` is
/// not there.
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
