//! Chat completions, plain and streamed, in Azure's shape (wire facts: Streams).

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    answer::{Call, DONE, EMPTY, Form, OperationAnswer, Usage, data, estimate, fingerprint},
    event_writer::{EventKind, EventWriter},
    faults::StreamError,
    generated_text::{Reply, prompt_tokens},
    recorder::Spent,
    refusal::Refusal,
    request_body::{self, Calling, Chat},
};

/// More choices than this are refused, as Azure does.
const MOST_CHOICES: u64 = 128;

pub(crate) fn answer(mut call: Call<'_>) -> Result<OperationAnswer, Refusal> {
    let asked: Chat<'_> = request_body::read(call.body)?;
    let messages = asked
        .messages
        .as_deref()
        .ok_or_else(|| Refusal::missing("messages"))?;
    if messages.is_empty() {
        return Err(Refusal::invalid(
            "[] is too short - 'messages'",
            Some("messages"),
            Some("empty_array"),
        ));
    }
    let choices = asked.n.unwrap_or(1);
    if !(1..=MOST_CHOICES).contains(&choices) {
        return Err(Refusal::invalid(
            "'n' must be between 1 and 128",
            Some("n"),
            Some("integer_out_of_range"),
        ));
    }
    let (last, characters, count) = request_body::survey(messages);
    let prompt = call.prompt(prompt_tokens(characters, count))?;
    let most = asked.max_completion_tokens.or(asked.max_tokens);
    let thought = call.thought(most);
    let said = match request_body::calling(
        asked.tools.as_deref().unwrap_or_default(),
        asked.tool_choice,
        last,
    ) {
        Some(calling) => Content::call(&mut call, calling),
        None => {
            let wanted = call.deployment.output_tokens(&mut call.rng);
            Content::Text(Reply::compose(
                last,
                wanted,
                most.map(|most| most - thought.min(most)),
            ))
        }
    };
    let spoken = call.deployment.usage.audio_output;
    let spent = Spent {
        completion_tokens: (said.tokens() + thought) * choices + spoken,
        reasoning_tokens: thought * choices,
        audio_completion_tokens: spoken,
        ..prompt
    };
    let estimate = estimate(prompt, most, choices);
    let told = ChatAnswer::new(&mut call, said, choices, spent);
    if asked.stream.unwrap_or(false) {
        let include_usage = asked
            .stream_options
            .is_some_and(|it| it.include_usage == Some(true));
        return Ok(OperationAnswer {
            estimate,
            spent: prompt,
            form: Form::Stream(Box::new(Events {
                told,
                include_usage,
            })),
        });
    }
    Ok(OperationAnswer {
        estimate,
        spent,
        form: told.whole(),
    })
}

/// What each choice says.
enum Content {
    Text(Reply),
    /// The arguments, cut as they stream.
    Call {
        id: String,
        name: String,
        arguments: Reply,
    },
}

impl Content {
    fn call(call: &mut Call<'_>, Calling { name, arguments }: Calling) -> Self {
        Self::Call {
            id: call.id("call_", 24),
            name,
            arguments: Reply::cut_up(arguments),
        }
    }

    fn reply(&self) -> &Reply {
        match self {
            Self::Text(reply)
            | Self::Call {
                arguments: reply, ..
            } => reply,
        }
    }

    fn tokens(&self) -> u64 {
        self.reply().tokens()
    }

    fn finish_reason(&self) -> &'static str {
        match self {
            Self::Text(reply) if reply.cut => "length",
            Self::Text(_) => "stop",
            Self::Call { .. } => "tool_calls",
        }
    }
}

/// An answer's content, whichever way it is told.
struct ChatAnswer {
    id: String,
    created: u64,
    model: String,
    system_fingerprint: String,
    said: Content,
    choices: u64,
    spent: Spent,
    tier: Option<String>,
    filter: Option<&'static RawValue>,
    prompt_filter: Option<&'static RawValue>,
}

impl ChatAnswer {
    fn new(call: &mut Call<'_>, said: Content, choices: u64, spent: Spent) -> Self {
        Self {
            id: call.id("chatcmpl-", 29),
            created: call.created,
            model: call.deployment.model.clone(),
            system_fingerprint: fingerprint(&call.deployment.model),
            spent,
            tier: call.deployment.usage.tier.clone(),
            filter: call.filter(),
            prompt_filter: call.prompt_filter(),
            said,
            choices,
        }
    }

    fn whole(&self) -> Form {
        let choice = |index| Choice {
            content_filter_results: self.filter,
            finish_reason: self.said.finish_reason(),
            index,
            logprobs: (),
            message: self.message(),
        };
        Form::json(&Completion {
            choices: (0..self.choices).map(choice).collect(),
            created: self.created,
            id: &self.id,
            model: &self.model,
            object: "chat.completion",
            prompt_filter_results: self.prompt_filter,
            service_tier: self.tier.as_deref(),
            system_fingerprint: &self.system_fingerprint,
            usage: Usage::new(self.spent),
        })
    }

    fn message(&self) -> Message<'_> {
        let (content, tool_calls) = match &self.said {
            Content::Text(reply) => (Some(reply.text()), None),
            Content::Call {
                id,
                name,
                arguments,
            } => {
                let function = FunctionPart {
                    name: Some(name),
                    arguments: arguments.text(),
                };
                (
                    None,
                    Some([ToolCall {
                        index: None,
                        id: Some(id),
                        kind: Some("function"),
                        function,
                    }]),
                )
            }
        };
        Message {
            annotations: [],
            content,
            refusal: (),
            role: "assistant",
            tool_calls,
        }
    }

    /// One choice's part of the stream.
    fn chunk(&self, out: &mut Vec<u8>, include_usage: bool, choice: ChunkChoice<'_>) {
        self.write(out, include_usage.then_some(None), &[choice]);
    }

    fn write(&self, out: &mut Vec<u8>, usage: Option<Option<Usage>>, choices: &[ChunkChoice<'_>]) {
        data(
            out,
            &Chunk {
                choices,
                created: self.created,
                id: &self.id,
                model: &self.model,
                object: "chat.completion.chunk",
                prompt_filter_results: None,
                service_tier: self.tier.as_deref(),
                system_fingerprint: Some(&self.system_fingerprint),
                usage,
            },
        );
    }

    /// Comes first, with nothing of the model in it (wire facts: Streams).
    fn filter_chunk(&self, out: &mut Vec<u8>, include_usage: bool) {
        data(
            out,
            &Chunk {
                choices: &[],
                created: 0,
                id: "",
                model: "",
                object: "",
                prompt_filter_results: self.prompt_filter,
                service_tier: None,
                system_fingerprint: None,
                usage: include_usage.then_some(None),
            },
        );
    }

    fn opening(&self) -> Delta<'_> {
        match &self.said {
            Content::Text(_) => Delta {
                role: Some("assistant"),
                content: Some(Some("")),
                refusal: Some(()),
                tool_calls: None,
            },
            Content::Call { id, name, .. } => {
                let function = FunctionPart {
                    name: Some(name),
                    arguments: "",
                };
                let call = ToolCall {
                    index: Some(0),
                    id: Some(id),
                    kind: Some("function"),
                    function,
                };
                Delta {
                    role: Some("assistant"),
                    content: Some(None),
                    refusal: Some(()),
                    tool_calls: Some([call]),
                }
            }
        }
    }

    fn piece<'a>(&self, piece: &'a str) -> Delta<'a> {
        match &self.said {
            Content::Text(_) => Delta {
                content: Some(Some(piece)),
                ..Delta::default()
            },
            Content::Call { .. } => {
                let function = FunctionPart {
                    name: None,
                    arguments: piece,
                };
                Delta {
                    tool_calls: Some([ToolCall {
                        index: Some(0),
                        id: None,
                        kind: None,
                        function,
                    }]),
                    ..Delta::default()
                }
            }
        }
    }
}

/// The stream's order: filter, roles, content, finishes, usage, `[DONE]`.
struct Events {
    told: ChatAnswer,
    include_usage: bool,
}

impl EventWriter for Events {
    fn event(&mut self, at: usize, out: &mut Vec<u8>) -> Option<EventKind> {
        let (told, usage) = (&self.told, self.include_usage);
        let choices = told.choices as usize;
        let contents = told.said.reply().pieces() * choices;
        let mut at = at;
        if told.prompt_filter.is_some() {
            let Some(later) = at.checked_sub(1) else {
                told.filter_chunk(out, usage);
                return Some(EventKind::Frame);
            };
            at = later;
        }
        let choice = |at: usize, delta, finish_reason, filter| ChunkChoice {
            content_filter_results: filter,
            delta,
            finish_reason,
            index: (at % choices) as u64,
            logprobs: (),
        };
        let none = told.filter.map(|_| &**EMPTY);
        if at < choices {
            told.chunk(out, usage, choice(at, told.opening(), None, none));
            // The thought comes before the first word, and is counted there.
            return Some(if at == 0 {
                EventKind::Before {
                    thought: told.spent.reasoning_tokens,
                    spoken: told.spent.audio_completion_tokens,
                }
            } else {
                EventKind::Frame
            });
        }
        at -= choices;
        if at < contents {
            let piece = told.said.reply().piece(at / choices).unwrap_or_default();
            told.chunk(out, usage, choice(at, told.piece(piece), None, told.filter));
            return Some(EventKind::Output(1));
        }
        at -= contents;
        if at < choices {
            told.chunk(
                out,
                usage,
                choice(at, Delta::default(), Some(told.said.finish_reason()), none),
            );
            return Some(EventKind::Frame);
        }
        match (at - choices, usage) {
            (0, true) => told.write(out, Some(Some(Usage::new(told.spent))), &[]),
            (0, false) | (1, true) => out.extend_from_slice(DONE),
            _ => return None,
        }
        Some(EventKind::Frame)
    }

    fn error_event(&self, error: &StreamError) -> String {
        error.in_chat()
    }
}

#[derive(Serialize)]
struct Completion<'a> {
    choices: Vec<Choice<'a>>,
    created: u64,
    id: &'a str,
    model: &'a str,
    object: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_filter_results: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    system_fingerprint: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Choice<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    content_filter_results: Option<&'a RawValue>,
    finish_reason: &'static str,
    index: u64,
    logprobs: (),
    message: Message<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    annotations: [(); 0],
    content: Option<&'a str>,
    refusal: (),
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolCall<'a>; 1]>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: FunctionPart<'a>,
}

#[derive(Serialize)]
struct FunctionPart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Chunk<'a> {
    choices: &'a [ChunkChoice<'a>],
    created: u64,
    id: &'a str,
    model: &'a str,
    object: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_filter_results: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_fingerprint: Option<&'a str>,
    /// Absent, `null`, or filled: three things (wire facts: Streams).
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    content_filter_results: Option<&'a RawValue>,
    delta: Delta<'a>,
    finish_reason: Option<&'static str>,
    index: u64,
    logprobs: (),
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolCall<'a>; 1]>,
}
