//! How many tokens a request will cost, before anybody has said so.

use crate::domain::route::Operation;

/// How many tokens the prompt in this body is.
pub fn input(_operation: Operation, body: &[u8]) -> u64 {
    (body.len() as u64).div_ceil(4)
}
