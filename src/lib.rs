//! Forebay: a gateway in front of many Azure OpenAI deployments.

pub mod config;
pub mod domain;
pub mod simulator;
