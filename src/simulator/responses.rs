//! The Responses API, plain and streamed in named events (wire facts: Streams).
//!
//! Answers are shaped, not kept: an id from here can't be asked for later.

use serde_json::{Value, json, value::RawValue};

use super::{
    answer::{Call, EventKind, EventWriter, Form, OperationAnswer, estimate, write_json},
    faults::StreamError,
    generated_text::{Reply, prompt_tokens},
    recorder::Spent,
    refusal::Refusal,
    request_body::{self, Calling, Input, Respond, Tool},
};

/// How many tokens a compacted conversation has.
const COMPACTED: u64 = 32;

pub(crate) fn answer(mut call: Call<'_>) -> Result<OperationAnswer, Refusal> {
    let asked: Respond<'_> = request_body::read(call.body)?;
    let (last, tokens) = read(&asked)?;
    let prompt = call.prompt(tokens)?;
    let most = asked.max_output_tokens;
    let thought = call.thought(most);
    let tools: Vec<Tool<'_>> = asked
        .tools
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default();
    let item = match request_body::calling(&tools, asked.tool_choice, last) {
        Some(calling) => Item::call(&mut call, calling),
        None => {
            let reply = call.compose(last, most.map(|most| most - thought.min(most)));
            Item {
                id: call.id("msg_", 48),
                reply,
                call: None,
            }
        }
    };
    let spent = Spent {
        completion_tokens: item.reply.tokens() + thought,
        reasoning_tokens: thought,
        ..prompt
    };
    let whole = whole(&mut call, &asked, &item, spent, thought);
    let estimate = estimate(prompt, most, 1);
    let (spent, form) = if asked.stream.unwrap_or(false) {
        let events = Events {
            whole,
            item,
            thought,
        };
        (prompt, Form::Stream(Box::new(events)))
    } else {
        (spent, Form::json(&whole))
    };
    Ok(OperationAnswer {
        estimate,
        spent,
        form,
    })
}

/// What the last user message says, and what all of it comes to.
fn read<'a>(asked: &'a Respond<'_>) -> Result<(&'a str, u64), Refusal> {
    let input = asked.input.as_ref();
    let (last, characters, count) = match input.ok_or_else(|| Refusal::missing("input"))? {
        Input::Text(text) => (&*text.text, text.characters, 1),
        Input::Items(items) => request_body::survey(items),
    };
    let instructions = asked.instructions.as_ref().map_or(0, String::len) as u64;
    Ok((last, prompt_tokens(characters + instructions, count)))
}

/// A conversation made shorter: what its user said last, and a text that only this resource can read.
pub(crate) fn compact(mut call: Call<'_>) -> Result<OperationAnswer, Refusal> {
    let asked: Respond<'_> = request_body::read(call.body)?;
    let (last, tokens) = read(&asked)?;
    let prompt = call.prompt(tokens)?;
    let spent = Spent {
        completion_tokens: COMPACTED,
        ..prompt
    };
    let (id, message, item) = (
        call.id("resp_", 48),
        call.id("msg_", 48),
        call.id("cmp_", 48),
    );
    let text = call.id("gAAAA", 200);
    let whole = json!({
        "id": id, "object": "response.compaction", "created_at": call.created,
        "output": [
            { "type": "message", "id": message, "status": "completed", "role": "user",
              "content": [{ "type": "input_text", "text": last }] },
            { "type": "compaction", "id": item, "encrypted_content": text },
        ],
        "usage": usage(spent, 0),
    });
    Ok(OperationAnswer {
        estimate: estimate(prompt, Some(COMPACTED), 1),
        spent,
        form: Form::json(&whole),
    })
}

/// How many tokens a response's input would be. It runs no model and costs none.
pub(crate) fn count(call: Call<'_>) -> Result<OperationAnswer, Refusal> {
    let asked: Respond<'_> = request_body::read(call.body)?;
    let (_, tokens) = read(&asked)?;
    Ok(OperationAnswer {
        estimate: 0,
        spent: Spent::default(),
        form: Form::json(&json!({ "object": "response.input_tokens", "input_tokens": tokens })),
    })
}

fn usage(spent: Spent, thought: u64) -> Value {
    json!({
        "input_tokens": spent.prompt_tokens, "input_tokens_details": { "cached_tokens": spent.cached_tokens },
        "output_tokens": spent.completion_tokens, "output_tokens_details": { "reasoning_tokens": thought },
        "total_tokens": spent.prompt_tokens + spent.completion_tokens,
    })
}

/// The one thing an answer consists of: a message, or a function call.
struct Item {
    id: String,
    /// The message's text, or the call's arguments.
    reply: Reply,
    call: Option<Called>,
}

struct Called {
    id: String,
    name: String,
}

impl Item {
    fn call(call: &mut Call<'_>, Calling { name, arguments }: Calling) -> Self {
        let called = Called {
            id: call.id("call_", 24),
            name,
        };
        Self {
            id: call.id("fc_", 48),
            reply: Reply::cut_up(arguments),
            call: Some(called),
        }
    }

    /// At its beginning an item is there, but empty.
    fn json(&self, status: &str, begun: bool) -> Value {
        let text = if begun { "" } else { self.reply.text() };
        match &self.call {
            Some(Called { id, name }) => {
                json!({ "type": "function_call", "id": self.id, "status": status, "call_id": id, "name": name, "arguments": text })
            }
            None => {
                let content = if begun {
                    json!([])
                } else {
                    json!([part(text)])
                };
                json!({ "type": "message", "id": self.id, "status": status, "role": "assistant", "content": content })
            }
        }
    }

    fn status(&self) -> &'static str {
        if self.reply.cut {
            "incomplete"
        } else {
            "completed"
        }
    }
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "annotations": [], "logprobs": [], "text": text })
}

fn whole(
    call: &mut Call<'_>,
    asked: &Respond<'_>,
    item: &Item,
    spent: Spent,
    thought: u64,
) -> Value {
    let given = |raw: Option<&RawValue>, usual: Value| {
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
            .filter(|v: &Value| !v.is_null())
            .unwrap_or(usual)
    };
    let mut whole = json!({
        "id": call.id("resp_", 48), "object": "response", "created_at": call.created, "status": item.status(),
        "background": false, "error": null,
        "incomplete_details": item.reply.cut.then(|| json!({ "reason": "max_output_tokens" })),
        "instructions": asked.instructions, "max_output_tokens": asked.max_output_tokens, "max_tool_calls": null,
        "model": call.deployment.name, "output": [item.json(item.status(), false)], "parallel_tool_calls": true,
        "previous_response_id": asked.previous_response_id, "prompt_cache_key": null,
        "reasoning": { "effort": null, "summary": null }, "safety_identifier": null, "service_tier": call.deployment.config.usage.tier.as_deref().unwrap_or("default"),
        "store": asked.store.unwrap_or(true), "temperature": 1.0, "text": { "format": { "type": "text" }, "verbosity": "medium" },
        "tool_choice": given(asked.tool_choice, json!("auto")), "tools": given(asked.tools, json!([])), "top_logprobs": 0, "top_p": 1.0,
        "truncation": "disabled", "user": null, "metadata": given(asked.metadata, json!({})),
        "usage": usage(spent, thought),
    });
    if let Some(filter) = call.filter() {
        let filter: Value = serde_json::from_str(filter.get()).unwrap_or_default();
        let at = |source: &str| json!({ "blocked": false, "source_type": source, "content_filter_raw": [], "content_filter_results": filter });
        whole["content_filters"] = json!([at("prompt"), at("completion")]);
    }
    whole
}

/// The stream's order: created, in progress, the item's beginning, deltas, the item's end, the whole.
struct Events {
    whole: Value,
    item: Item,
    thought: u64,
}

impl Events {
    fn unfinished(&self) -> Value {
        let mut response = self.whole.clone();
        response["status"] = json!("in_progress");
        response["incomplete_details"] = Value::Null;
        response["output"] = json!([]);
        response["usage"] = Value::Null;
        response
    }

    fn delta(&self, at: usize) -> (&'static str, Value) {
        let (piece, id) = (self.item.reply.piece(at).unwrap_or_default(), &self.item.id);
        match self.item.call {
            Some(_) => (
                "response.function_call_arguments.delta",
                json!({ "item_id": id, "output_index": 0, "delta": piece }),
            ),
            None => {
                let delta = json!({ "item_id": id, "output_index": 0, "content_index": 0, "delta": piece, "logprobs": [] });
                ("response.output_text.delta", delta)
            }
        }
    }

    /// The events before the first delta.
    fn opening(&self) -> &'static [&'static str] {
        const NAMES: [&str; 4] = [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
        ];
        match self.item.call {
            Some(_) => &NAMES[..3],
            None => &NAMES,
        }
    }

    /// The event of that number, counted from the last delta.
    fn closing(&self, at: usize) -> Option<&'static str> {
        let done: &[&str] = match self.item.call {
            Some(_) => &["response.function_call_arguments.done"],
            None => &["response.output_text.done", "response.content_part.done"],
        };
        let end = if self.item.reply.cut {
            "response.incomplete"
        } else {
            "response.completed"
        };
        let last = ["response.output_item.done", end];
        done.iter().copied().chain(last).nth(at)
    }

    fn frame(&self, name: &str) -> Value {
        let (item, text) = (&self.item, self.item.reply.text());
        match name {
            "response.created" | "response.in_progress" => json!({ "response": self.unfinished() }),
            "response.output_item.added" => {
                json!({ "output_index": 0, "item": item.json("in_progress", true) })
            }
            "response.content_part.added" => {
                json!({ "item_id": item.id, "output_index": 0, "content_index": 0, "part": part("") })
            }
            "response.output_text.done" => {
                json!({ "item_id": item.id, "output_index": 0, "content_index": 0, "text": text, "logprobs": [] })
            }
            "response.content_part.done" => {
                json!({ "item_id": item.id, "output_index": 0, "content_index": 0, "part": part(text) })
            }
            "response.function_call_arguments.done" => {
                json!({ "item_id": item.id, "output_index": 0, "name": item.call.as_ref().map(|call| &call.name), "arguments": text })
            }
            "response.output_item.done" => {
                json!({ "output_index": 0, "item": item.json(item.status(), false) })
            }
            _ => json!({ "response": self.whole }),
        }
    }
}

impl EventWriter for Events {
    fn event(&mut self, at: usize, out: &mut Vec<u8>) -> Option<EventKind> {
        let (opening, deltas) = (self.opening(), self.item.reply.pieces());
        let (name, mut fields, kind) = if let Some(name) = opening.get(at) {
            // The item's beginning is where thinking ends.
            let kind = if *name == "response.output_item.added" {
                EventKind::Before {
                    thought: self.thought,
                    spoken: 0,
                }
            } else {
                EventKind::Frame
            };
            (*name, self.frame(name), kind)
        } else if at - opening.len() < deltas {
            let (name, fields) = self.delta(at - opening.len());
            (name, fields, EventKind::Output(1))
        } else {
            let name = self.closing(at - opening.len() - deltas)?;
            (name, self.frame(name), EventKind::Frame)
        };
        fields["type"] = json!(name);
        fields["sequence_number"] = json!(at);
        out.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
        write_json(out, &fields);
        out.extend_from_slice(b"\n\n");
        Some(kind)
    }

    fn error_event(&self, error: &StreamError) -> String {
        error.in_responses(|| self.unfinished())
    }
}
