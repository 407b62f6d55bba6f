//! Chat completions: what is asked, and what the model says to it.

use super::{
    answer::{Call, OperationAnswer, estimate},
    choices::{Choices, Content},
    generated_text::prompt_tokens,
    recorder::Spent,
    refusal::Refusal,
    request_body::{self, Chat},
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
    let tools = asked.tools.as_deref().unwrap_or_default();
    let said = match request_body::calling(tools, asked.tool_choice, last) {
        Some(calling) => Content::call(&mut call, calling),
        None => Content::Message(call.compose(last, most.map(|most| most - thought.min(most)))),
    };
    let spoken = call.deployment.config.usage.audio_output;
    let spent = Spent {
        completion_tokens: (said.reply().tokens() + thought) * choices + spoken,
        reasoning_tokens: thought * choices,
        audio_completion_tokens: spoken,
        ..prompt
    };
    let estimate = estimate(prompt, most, choices);
    Ok(Choices::new(&mut call, said, choices, spent).answer(
        prompt,
        estimate,
        asked.stream,
        asked.stream_options,
    ))
}
