//! One model's deployments and their health: which one, now?
//!
//! The lowest priority number that can serve goes first; inside it, shares follow weights. State is per
//! deployment, never per instance: a throttled model does not bench its neighbours (wire facts: Rate limits).
//!
//! Choosing reads atomics only (`ready`); the one that was picked is then taken under its own lock.

mod attempt;
mod bars;
mod chance;
mod effect;
mod failure;
mod held;
mod member;
mod members;
mod ready;
mod refusing;
mod served_lately;
mod suspicions;
mod term;
mod tier;
mod tried;

#[cfg(test)]
pub(super) mod tests;

pub use self::{
    attempt::Attempt,
    effect::Few,
    failure::Failure,
    held::Charged,
    member::Member,
    members::{Exhausted, Pool, UNSAID_WAIT},
    refusing::Refusing,
    suspicions::Suspicions,
    term::Term,
};
