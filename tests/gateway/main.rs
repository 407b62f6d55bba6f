//! The real binary, real sockets, simulated instances: what the client saw, what each deployment saw, what was counted.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod admin_access;
mod authority;
mod bodies;
mod certificates;
mod chaos;
mod choosing;
mod conformance;
mod connections;
mod counted;
mod explaining;
mod failing;
mod frames;
mod front_door;
mod fuzzed;
mod heads;
mod holding;
mod house;
mod identities;
mod memory;
mod moving_on;
mod names;
mod namespace;
mod noise;
mod odd_answers;
mod operating;
mod operations;
mod own;
mod passing;
mod paths;
mod puppet;
mod raw;
mod readme;
mod realtime;
mod refusals;
mod renewing;
mod room;
mod secrets;
mod smuggling;
mod spillover;
mod streams;
mod tls;
mod tls_clients;
mod tokens;
mod wire;
