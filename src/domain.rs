//! The decisions, and the words they are made in: plain values worked out by plain functions.
//!
//! Nothing here opens a socket, reads a clock, awaits, or knows Pingora; time and chance come in as
//! arguments. From outside only vocabulary is used (`http`, `bytes`, `serde_json`) and crates of pure
//! functions and plain values.

pub mod additions;
pub mod answer;
pub mod ask;
pub mod body_outcome;
pub mod breaker;
pub mod budget;
mod bytes16;
pub mod client;
pub mod cloud;
pub mod collector;
pub mod cors;
pub mod deployment;
pub mod dialect;
pub mod event_stream;
pub mod failover;
pub mod forwarding;
pub mod front_door;
pub mod head;
pub mod health;
pub mod identity;
pub mod limit;
pub mod name;
pub mod outcome;
pub mod pool;
pub mod price;
pub mod query;
pub mod quota;
pub mod realtime;
pub mod redaction;
pub mod refusal;
pub mod resend;
pub mod rotation;
pub mod route;
pub mod secret;
pub mod span;
pub mod spillover;
pub mod trace;
pub mod usage;
pub mod validity;
pub mod wait;
pub mod wire_facts;

#[cfg(test)]
mod tests;
