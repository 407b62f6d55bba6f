//! Clients' tokens: what one says, whether it may be believed, and whose it is. Signatures are checked elsewhere.

pub mod claims;
pub mod jwt;
mod requirements;
mod verify;

pub use requirements::{Demand, Rule};
pub use verify::{Granted, Ruled, judge};

pub use super::super::refusal::Rejection;

/// The longest token, in bytes.
pub const LONGEST: usize = 16 << 10;

#[cfg(test)]
mod tests;
