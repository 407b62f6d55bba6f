//! Tokens that an answer cost, as its deployment reported them: what is billed, limited and counted.
//!
//! [`Meter`] reads them while the answer passes.

pub(super) mod char_estimate;
mod cursor;
mod json_search;
mod memo;
mod meter;
mod output_count;
mod report;
mod scan;
mod schema;
mod token_counts;
pub(super) mod tokenizer;
pub mod trim;

pub use memo::Memo;
pub use meter::Meter;
pub use token_counts::{Guess, Tier, Usage};
pub use tokenizer::load as load_tokenizer;
