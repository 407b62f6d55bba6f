//! What each choice says, in the shapes of a plain chat, of a chat's stream and of a completion.

use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use super::super::{answer::Call, generated_text::Reply, request_body::Calling};

/// What each choice says.
pub(crate) enum Content {
    /// Of a completion.
    Text(Reply),
    /// Of a chat.
    Message(Reply),
    /// Of a chat too; the arguments, cut as they stream.
    Call {
        id: String,
        name: String,
        arguments: Reply,
    },
}

impl Content {
    pub(crate) fn call(call: &mut Call<'_>, Calling { name, arguments }: Calling) -> Self {
        Self::Call {
            id: call.id("call_", 24),
            name,
            arguments: Reply::cut_up(arguments),
        }
    }

    pub(crate) fn reply(&self) -> &Reply {
        match self {
            Self::Text(reply) | Self::Message(reply) => reply,
            Self::Call { arguments, .. } => arguments,
        }
    }

    pub(super) fn is_chat(&self) -> bool {
        !matches!(self, Self::Text(_))
    }

    pub(super) fn finish_reason(&self) -> &'static str {
        match self {
            Self::Call { .. } => "tool_calls",
            Self::Text(reply) | Self::Message(reply) if reply.cut => "length",
            Self::Text(_) | Self::Message(_) => "stop",
        }
    }

    /// A chat's message; as a stream begins, it has no text yet.
    fn message<'a>(&'a self, text: &'a str) -> Message<'a> {
        let tool_calls = match self {
            Self::Call { id, name, .. } => {
                let function = json!({ "name": name, "arguments": text });
                Some(json!([{ "id": id, "type": "function", "function": function }]))
            }
            _ => None,
        };
        Message {
            content: Some(tool_calls.is_none().then_some(text)),
            refusal: Some(()),
            role: Some("assistant"),
            tool_calls,
            ..Message::default()
        }
    }

    /// Each choice of a plain answer.
    pub(super) fn whole(&self) -> Choice<'_> {
        let text = self.reply().text();
        if !self.is_chat() {
            return Choice {
                text: Some(text),
                ..Choice::default()
            };
        }
        let message = Message {
            annotations: Some([]),
            ..self.message(text)
        };
        Choice {
            message: Some(message),
            ..Choice::default()
        }
    }

    /// The first part of a chat's stream.
    pub(super) fn opening(&self) -> Choice<'_> {
        let mut delta = self.message("");
        if let Some(calls) = &mut delta.tool_calls {
            calls[0]["index"] = json!(0);
        }
        Choice {
            delta: Some(delta),
            ..Choice::default()
        }
    }

    /// A later part of a stream; `None` at its end.
    pub(super) fn part<'a>(&self, piece: Option<&'a str>) -> Choice<'a> {
        let delta = match self {
            Self::Text(_) => {
                return Choice {
                    text: Some(piece.unwrap_or_default()),
                    ..Choice::default()
                };
            }
            Self::Message(_) => Message {
                content: piece.map(Some),
                ..Message::default()
            },
            Self::Call { .. } => Message {
                tool_calls: piece
                    .map(|piece| json!([{ "index": 0, "function": { "arguments": piece } }])),
                ..Message::default()
            },
        };
        Choice {
            delta: Some(delta),
            ..Choice::default()
        }
    }
}

/// Of what it says it has one: a delta in a chat's stream, a message in a plain chat, a text in a completion.
#[derive(Default, Serialize)]
pub(super) struct Choice<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_filter_results: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delta: Option<Message<'a>>,
    pub(super) finish_reason: Option<&'static str>,
    pub(super) index: u64,
    pub(super) logprobs: (),
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
}

#[derive(Default, Serialize)]
pub(super) struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Value>,
}
