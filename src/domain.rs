//! The decisions, and the words they are made in: plain values worked out by plain functions.
//!
//! Nothing here opens a socket, reads a clock, awaits, or knows Pingora; time and chance come in as
//! arguments. From outside only vocabulary is used: `http`, `bytes`, `serde_json`, and the pure
//! functions of `sha2`, `subtle`, `zeroize`, `thiserror`, `memchr`, `percent-encoding`, `httpdate`.

pub mod client;
pub mod deployment;
pub mod identity;
pub mod name;
pub mod secret;
