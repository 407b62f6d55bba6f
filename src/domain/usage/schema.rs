//! The places in an answer where its usage and its output stand, for each API.

use crate::domain::route::Operation;

/// The numbers of a usage report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Input,
    Cached,
    AudioInput,
    Output,
    Reasoning,
    AudioOutput,
    Total,
}

pub(super) const FIELDS: usize = Field::Total as usize + 1;

/// An object or an array of an answer that is looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    /// Chat and completions: an answer or an event.
    Chat,
    Choices,
    Choice,
    /// A message, or what an event adds to it.
    Message,
    Calls,
    Call,
    /// A function's name and arguments, or a message's transcript.
    Words,
    /// A whole response.
    Response,
    Items,
    Item,
    Parts,
    /// Embeddings, images, audio: an answer.
    Answer,
    /// An event of these, or of a response.
    Event,
    /// The response that an event repeats.
    Repeated,
    Usage,
    InputDetails,
    OutputDetails,
}

/// What a member of an object, or an element of an array, is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Nothing,
    /// To be looked into, if it is of that form.
    Inside(Container),
    /// A number of tokens.
    Count(Field),
    /// Output in words.
    Text,
    /// The service tier.
    Tier,
    /// What kind of event, or of usage, it is.
    Kind,
    /// How far a response has come.
    Status,
    /// What content filters say of a prompt or an answer: as long as all the rest, and the same in most answers.
    Filters,
}

impl Container {
    /// The outermost one.
    pub(super) fn outermost(operation: Operation, is_stream: bool) -> Self {
        match operation {
            Operation::ChatCompletions | Operation::Completions => Self::Chat,
            Operation::Responses | Operation::ResponsesCompact if !is_stream => Self::Response,
            _ if !is_stream => Self::Answer,
            _ => Self::Event,
        }
    }

    /// What an array's elements are; `None`: it is an object.
    pub(super) fn elements(self) -> Option<Member> {
        let element = match self {
            Self::Choices => Self::Choice,
            Self::Calls => Self::Call,
            Self::Items => Self::Item,
            Self::Parts => Self::Words,
            _ => return None,
        };
        Some(Member::Inside(element))
    }

    /// What the member of this name is.
    pub(super) fn member(self, key: &[u8]) -> Member {
        use Member::{Count, Filters, Inside, Kind, Status, Text, Tier};
        match (self, key) {
            (
                Self::Chat | Self::Response | Self::Answer | Self::Event | Self::Repeated,
                b"usage",
            ) => Inside(Self::Usage),
            (
                Self::Chat | Self::Response | Self::Answer | Self::Event | Self::Repeated,
                b"service_tier",
            ) => Tier,
            (Self::Chat, b"choices") => Inside(Self::Choices),
            (Self::Choice, b"delta" | b"message") => Inside(Self::Message),
            (Self::Choice, b"text") => Text,
            (Self::Chat, b"prompt_filter_results") | (Self::Choice, b"content_filter_results") => {
                Filters
            }
            (Self::Message, b"content" | b"refusal" | b"reasoning_content" | b"reasoning") => Text,
            (Self::Message, b"tool_calls") => Inside(Self::Calls),
            (Self::Message, b"function_call" | b"audio") => Inside(Self::Words),
            (Self::Call, b"function" | b"custom") => Inside(Self::Words),
            (
                Self::Words,
                b"name" | b"arguments" | b"input" | b"transcript" | b"text" | b"refusal",
            ) => Text,
            (Self::Response, b"output") => Inside(Self::Items),
            (Self::Response, b"status") => Status,
            (Self::Item, b"content" | b"summary") => Inside(Self::Parts),
            (Self::Item, b"name" | b"arguments" | b"input" | b"code") => Text,
            (Self::Answer, b"text") => Text,
            (Self::Event, b"response") => Inside(Self::Repeated),
            (Self::Event, b"delta") => Text,
            (Self::Event | Self::Usage, b"type") => Kind,
            (Self::Usage, b"prompt_tokens" | b"input_tokens") => Count(Field::Input),
            (Self::Usage, b"completion_tokens" | b"output_tokens") => Count(Field::Output),
            (Self::Usage, b"total_tokens") => Count(Field::Total),
            (
                Self::Usage,
                b"prompt_tokens_details" | b"input_tokens_details" | b"input_token_details",
            ) => Inside(Self::InputDetails),
            (
                Self::Usage,
                b"completion_tokens_details" | b"output_tokens_details" | b"output_token_details",
            ) => Inside(Self::OutputDetails),
            (Self::InputDetails, b"cached_tokens") => Count(Field::Cached),
            (Self::InputDetails, b"audio_tokens") => Count(Field::AudioInput),
            (Self::OutputDetails, b"reasoning_tokens") => Count(Field::Reasoning),
            (Self::OutputDetails, b"audio_tokens") => Count(Field::AudioOutput),
            _ => Member::Nothing,
        }
    }
}
