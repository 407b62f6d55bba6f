//! Forebay: a gateway in front of many Azure OpenAI deployments.

pub mod admin;
pub mod app;
pub mod config;
pub mod demo;
pub mod domain;
pub mod identity;
pub mod proxy;
pub mod simulator;
pub mod telemetry;
