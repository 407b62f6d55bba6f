//! What an operator sees of the traffic: counters for Prometheus, and one log line a request.
//!
//! The proxy fills a plain [`record::Record`] and hands it over once, when the request has ended; nothing
//! here knows the proxy, decides anything, or holds a request up. Prompts and credentials never come here.

pub mod access_log;
pub mod metrics;
pub mod record;
