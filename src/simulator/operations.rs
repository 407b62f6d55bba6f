//! Which room answers which operation.

use super::{
    answer::{Answer, Call},
    chat,
    refusal::Refusal,
    route::Operation,
};

pub(crate) fn answer(operation: Operation, call: Call<'_>) -> Result<Answer, Refusal> {
    match operation {
        Operation::Chat => chat::answer(call),
        _ => Err(Refusal::no_resource()),
    }
}
