//! Opens the logs that a plan names.

use super::start_error::StartError;
use crate::{
    config::{Log, LogFile, Plan, Prompts},
    telemetry::{
        access_log::{self, AccessLog},
        line_log::{LogTarget, Readers},
        metrics::Metrics,
        prompt_log::{self, PromptLog, Rules},
        usage_log::{self, UsageLog},
    },
};

/// What the prompts that wait for their writer may hold together, in bytes.
const PROMPTS_WAITING: usize = 16 << 20;

pub(super) fn access(log: &Log, metrics: &Metrics) -> Result<AccessLog, StartError> {
    let place = log.access.as_ref().map(|file| place(file, Readers::Group));
    open(access_log::NAME, || access_log::open(place, metrics))
}

pub(super) fn usage(log: &Log, metrics: &Metrics) -> Result<Option<UsageLog>, StartError> {
    let Some(file) = &log.usage else {
        return Ok(None);
    };
    let place = place(file, Readers::Group);
    let log = open(usage_log::NAME, || usage_log::open(place, metrics));
    log.map(Some)
}

pub(super) fn prompts(plan: &Plan, metrics: &Metrics) -> Result<Option<PromptLog>, StartError> {
    let Some(Prompts {
        file,
        max_bytes,
        redaction,
    }) = &plan.log.prompts
    else {
        return Ok(None);
    };
    let rules = Rules {
        redaction: redaction.clone(),
        max_bytes: *max_bytes,
    };
    // A body that waits here still counts as kept to be sent again: never most of that memory.
    let most_waiting = PROMPTS_WAITING.min(plan.bounds.body_memory / 4);
    let log = open(prompt_log::NAME, || {
        PromptLog::open(place(file, Readers::Owner), rules, most_waiting, metrics)
    });
    log.map(Some)
}

fn place(file: &LogFile, readers: Readers) -> LogTarget {
    LogTarget {
        path: file.path.clone(),
        rotation: file.rotation,
        readers,
    }
}

/// `open`, and its failure with the log's name: what stands in the place of its path may be no path, and for nobody's eyes.
fn open<L>(log: &'static str, open: impl FnOnce() -> std::io::Result<L>) -> Result<L, StartError> {
    open().map_err(|source| StartError::Log { log, source })
}
