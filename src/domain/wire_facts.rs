//! # Wire facts
#![doc = include_str!("wire_facts.md")]
