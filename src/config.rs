//! The configuration: YAML in; a [`Plan`] of domain values out, or every problem found, each with its place.

mod plan;

pub use plan::{Drain, Listener, Log, Plan, Server, TlsFiles};
