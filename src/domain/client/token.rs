//! Clients' tokens: what one says, whether it may be believed, and whose it is. Signatures are checked elsewhere.

pub mod claims;
mod judge;
pub mod jwt;
mod rule;

pub use judge::{Granted, Ruled, judge};
pub use rule::{Demand, Rule};

pub use super::super::refusal::Rejection;

/// The longest token, in bytes.
pub const LONGEST: usize = 16 << 10;

#[cfg(test)]
mod tests;
