//! The members of the outermost object that matter, and where their values stand.

use std::ops::Range;

use crate::domain::refusal::Refusal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Model,
    Stream,
    Background,
    Conversation,
    Tools,
    MaxTokens,
    MaxCompletionTokens,
    MaxOutputTokens,
    N,
    BestOf,
    StreamOptions,
    DataSources,
    OlderDataSources,
    /// A chat has no other member that keeps anything.
    Store,
    Prompt,
}

const ALL: [(Member, &str); 15] = [
    (Member::Model, "model"),
    (Member::Stream, "stream"),
    (Member::Background, "background"),
    (Member::Conversation, "conversation"),
    (Member::Tools, "tools"),
    (Member::MaxTokens, "max_tokens"),
    (Member::MaxCompletionTokens, "max_completion_tokens"),
    (Member::MaxOutputTokens, "max_output_tokens"),
    (Member::N, "n"),
    (Member::BestOf, "best_of"),
    (Member::StreamOptions, "stream_options"),
    (Member::DataSources, "data_sources"),
    (Member::OlderDataSources, "dataSources"),
    (Member::Store, "store"),
    (Member::Prompt, "prompt"),
];

impl Member {
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        let mut all = ALL.iter();
        let found = all.find(|(_, known)| known.as_bytes() == name);
        found.map(|(member, _)| *member)
    }
}

/// Where a value stands, and the byte that it begins with: by that one `null`, `true` and `false` are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Value {
    pub(super) at: Range<usize>,
    /// 0: there is none.
    pub(super) first: u8,
}

/// Those that have come.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// Of which the names have come, one bit each.
    begun: u16,
    values: [Value; ALL.len()],
}

impl Members {
    /// A name has come. What a request goes by is said once, or two readers could take it for two things.
    pub(super) fn begin(&mut self, member: Member) -> Result<(), Refusal> {
        let bit = 1 << member as u16;
        let is_there = self.begun & bit != 0;
        self.begun |= bit;
        match member {
            Member::Store | Member::Prompt => Ok(()),
            Member::Model if is_there => Err(Refusal::ModelTwice),
            _ if is_there => Err(Refusal::MemberTwice {
                name: ALL[member as usize].1,
            }),
            _ => Ok(()),
        }
    }

    /// A value has come.
    pub(super) fn end(&mut self, member: Member, value: Value) {
        // Of two that may stand twice it is the one that says something.
        if self.given(member).is_none() {
            self.values[member as usize] = value;
        }
    }

    /// A value that has come, be it `null`.
    pub(super) fn said(&self, member: Member) -> Option<&Value> {
        Some(&self.values[member as usize]).filter(|value| value.first != 0)
    }

    /// A value that has come and is not `null`.
    pub(super) fn given(&self, member: Member) -> Option<&Value> {
        self.said(member).filter(|value| value.first != b'n')
    }

    /// Whether all that is gone by is text in this body.
    pub(super) fn are_text(&self, body: &[u8]) -> bool {
        // A number, a word and what is not there are in any case.
        let read = &self.values[..Member::Prompt as usize];
        let mut read = read
            .iter()
            .filter(|it| matches!(it.first, b'"' | b'[' | b'{'));
        read.all(|value| str::from_utf8(&body[value.at.clone()]).is_ok())
    }
}
