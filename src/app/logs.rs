//! Opens the logs that a plan names.

use super::StartError;
use crate::{
    config::{Log, LogFile},
    telemetry::{
        access_log::{self, AccessLog},
        line_log::{Place, Readers},
        metrics::Metrics,
    },
};

pub(super) fn access(log: &Log, metrics: &Metrics) -> Result<AccessLog, StartError> {
    let place = log.access.as_ref().map(|file| place(file, Readers::Group));
    open(access_log::NAME, log.access.as_ref(), || {
        access_log::open(place, metrics)
    })
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
