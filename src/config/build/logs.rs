//! `log:`: where each log is written, and when its file is rotated.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use super::settings;
use crate::{
    config::{
        plan::{Log, LogFile, Prompts},
        problem::{Place, Placed},
        raw,
        read::{Named, Reader, Tried},
        section::{Brief, Required},
        value::FilePath,
    },
    domain::{redaction::Redaction, rotation::Rotation},
};

/// A shorter stretch would leave more files than lines.
const SHORTEST: Duration = Duration::from_secs(1);

pub(super) fn log(raw: Option<raw::Log>, reader: &mut Reader<'_>) -> Log {
    let Some(raw) = raw else {
        return Log::default();
    };
    let mut taken = Taken::default();
    Log {
        access: raw.access.and_then(|raw| file(raw, &mut taken, reader)),
        usage: raw.usage.and_then(|raw| file(raw, &mut taken, reader)),
        prompts: raw
            .prompts
            .and_then(|raw| prompts(raw.value, &mut taken, reader)),
    }
}

fn prompts(raw: raw::Prompts, taken: &mut Taken, reader: &mut Reader<'_>) -> Option<Prompts> {
    let mut max_bytes = 64 << 10;
    settings::size(raw.max_bytes, &mut max_bytes, reader);
    let patterns = raw.redact.map(|raw| {
        let patterns = raw.items("list a pattern, or remove `redact`", reader);
        patterns.map(|pattern| pattern.value.0)
    });
    Some(Prompts {
        redaction: Redaction::new(patterns.into_iter().flatten()),
        file: long(raw.file, taken, reader)?,
        max_bytes,
    })
}

/// Clients whose prompts are to be kept need a place for them, and the place needs such a client.
pub(super) fn check_prompts(
    clients: Option<&Tried<Placed<Named<raw::Client>>>>,
    log: Option<&raw::Log>,
    reader: &mut Reader<'_>,
) {
    let prompts = log.and_then(|log| log.prompts.as_ref());
    let clients = clients
        .and_then(|clients| clients.0.as_ref())
        .map(|clients| clients.value.0.iter());
    let wishes: Vec<_> = clients
        .into_iter()
        .flatten()
        .filter_map(|(_, client)| client.as_ref()?.log_prompts.as_ref())
        .filter(|wish| wish.value)
        .collect();
    match prompts {
        Some(prompts) if wishes.is_empty() => {
            let message = "no client has log_prompts: true, so nothing is written here";
            reader.warn(prompts.place, message);
        }
        Some(_) => {}
        None => {
            for wish in wishes {
                let mend = "there is no file for prompts; add log: { prompts: { file: … } }";
                reader.problem(wish.place, mend);
            }
        }
    }
}

/// Which line of the config names a file already.
#[derive(Default)]
struct Taken(HashMap<PathBuf, usize>);

impl Taken {
    fn claim(&mut self, path: &Placed<FilePath>, reader: &mut Reader<'_>) {
        let Place { line, .. } = path.place;
        if let Some(other) = self.0.insert(path.value.0.clone(), line) {
            reader.problem(
                path.place,
                format!(
                    "line {other} writes another log to this file; use a separate file for each log"
                ),
            );
        }
    }
}

fn file(
    Placed { place, value: raw }: Placed<Brief<FilePath, raw::LogFile>>,
    taken: &mut Taken,
    reader: &mut Reader<'_>,
) -> Option<LogFile> {
    let raw = match raw {
        Brief::Short(value) => raw::LogFile {
            file: Required(Some(Placed { place, value })),
            rotate: None,
        },
        Brief::Long(raw) => raw,
    };
    long(raw, taken, reader)
}

fn long(raw: raw::LogFile, taken: &mut Taken, reader: &mut Reader<'_>) -> Option<LogFile> {
    let rotation = raw.rotate.and_then(|raw| rotation(raw, reader));
    let path = raw.file.0?;
    taken.claim(&path, reader);
    Some(LogFile {
        path: path.value.0,
        rotation,
    })
}

fn rotation(
    Placed { place, value: raw }: Placed<raw::Rotate>,
    reader: &mut Reader<'_>,
) -> Option<Rotation> {
    if raw.size.is_none() && raw.every.is_none() {
        let mend = "set when to rotate: `size: 100MiB`, or `every: 1d`, or both";
        reader.problem(place, mend);
        return None;
    }
    let size = raw.size.and_then(|raw| {
        let size = Some(raw.value.0 as u64).filter(|size| *size > 0);
        reader.take(
            raw.place,
            size.ok_or("a log file needs room for a line; write more than 0B"),
        )
    });
    let every = raw.every.and_then(|raw| {
        let every = Some(raw.value.0).filter(|every| *every >= SHORTEST);
        reader.take(
            raw.place,
            every.ok_or("the shortest interval is a second; write 1s or more"),
        )
    });
    let keep = raw.keep.and_then(|raw| {
        let keep = usize::try_from(raw.value)
            .ok()
            .filter(|keep| (1..=1_000_000).contains(keep));
        let mend = "this must be a number from 1 to 1000000; remove it to keep all files";
        reader.take(raw.place, keep.ok_or(mend))
    });
    Some(Rotation { size, every, keep })
}
