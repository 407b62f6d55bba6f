//! Opens the logs that a plan names.

use super::StartError;
use crate::{
    config::{Log, LogFile, Plan, Prompts},
    telemetry::{
        access_log::{self, AccessLog},
        line_log::{Place, Readers},
        metrics::Metrics,
        prompt_log::{self, PromptLog, Rules},
        usage_log::{self, UsageLog},
    },
};

/// What the prompts that wait for their writer may hold together, in bytes.
const PROMPTS_WAITING: usize = 16 << 20;

pub(super) fn access(log: &Log, metrics: &Metrics) -> Result<AccessLog, StartError> {
    let place = log.access.as_ref().map(|file| place(file, Readers::Group));
    open(access_log::NAME, log.access.as_ref(), || {
        access_log::open(place, metrics)
    })
}

pub(super) fn usage(log: &Log, metrics: &Metrics) -> Result<Option<UsageLog>, StartError> {
    let Some(file) = &log.usage else {
        return Ok(None);
    };
    let place = place(file, Readers::Group);
    let log = open(usage_log::NAME, Some(file), || {
        usage_log::open(place, metrics)
    });
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
    let log = open(prompt_log::NAME, Some(file), || {
        PromptLog::open(place(file, Readers::Owner), rules, most_waiting, metrics)
    });
    log.map(Some)
}

fn place(file: &LogFile, readers: Readers) -> Place {
    Place {
        path: file.path.clone(),
        rotation: file.rotation,
        readers,
    }
}

/// `open`, and its failure with the log's name and place.
fn open<L>(
    log: &'static str,
    file: Option<&LogFile>,
    open: impl FnOnce() -> std::io::Result<L>,
) -> Result<L, StartError> {
    open().map_err(|source| {
        let path = file.map(|file| file.path.display().to_string());
        StartError::Log {
            log,
            path: path.unwrap_or_default(),
            source,
        }
    })
}
