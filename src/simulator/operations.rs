//! Which room answers which operation.

use super::{
    answer::{Call, OperationAnswer},
    chat, completions, embeddings, media,
    refusal::Refusal,
    responses,
    route::Operation,
};

pub(crate) fn answer(operation: Operation, call: Call<'_>) -> Result<OperationAnswer, Refusal> {
    match operation {
        Operation::Chat => chat::answer(call),
        Operation::Completions => completions::answer(call),
        Operation::Embeddings => embeddings::answer(call),
        Operation::Responses => responses::answer(call),
        Operation::ImageGenerations => media::generate(call),
        Operation::ImageEdits => media::edit(call),
        Operation::Speech => media::speak(call),
        Operation::Transcriptions | Operation::Translations => media::hear(call),
        Operation::Compact => responses::compact(call),
        Operation::InputTokens => responses::count(call),
        Operation::Realtime => Err(Refusal::no_resource()),
    }
}
