//! One model's deployments and their health: which one, now?
//!
//! The lowest priority number that can serve goes first; inside it, shares follow weights. State is per
//! deployment, never per instance: a throttled model does not bench its neighbours (wire facts: Rate limits).
//!
//! Choosing reads atomics only (`ready`); the one that was picked is then taken under its own lock.

mod attempt;
mod barred_operations;
mod constant_refusals;
mod credential_validity;
mod draws;
mod effect_on_clients;
mod failure;
mod held_failure;
mod member;
mod members;
mod ready;
mod served_lately;
mod suspicions;
mod tier;
mod tried;

#[cfg(test)]
pub(super) mod tests;

pub use self::{
    attempt::Attempt,
    constant_refusals::Refusing,
    credential_validity::CredentialValidity,
    effect_on_clients::Few,
    failure::Failure,
    held_failure::Charged,
    member::Member,
    members::{Exhausted, Pool, UNSAID_WAIT},
    suspicions::Suspicions,
};
