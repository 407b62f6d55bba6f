//! `log:`: where each log goes, and when its file is put aside.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use crate::{
    config::{
        plan::{Log, LogFile},
        problem::{Place, Placed},
        raw,
        read::Reader,
        section::Brief,
        value::FilePath,
    },
    domain::rotation::Rotation,
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
                format!("line {other} writes another log into this file; each has one of its own"),
            );
        }
    }
}

fn file(
    Placed { place, value: raw }: Placed<Brief<FilePath, raw::LogFile>>,
    taken: &mut Taken,
    reader: &mut Reader<'_>,
) -> Option<LogFile> {
    let (path, rotate) = match raw {
        Brief::Short(value) => (Placed { place, value }, None),
        Brief::Long(raw) => (raw.file.0?, raw.rotate),
    };
    taken.claim(&path, reader);
    Some(LogFile {
        path: path.value.0,
        rotation: rotate.and_then(|raw| rotation(raw, reader)),
    })
}

fn rotation(
    Placed { place, value: raw }: Placed<raw::Rotate>,
    reader: &mut Reader<'_>,
) -> Option<Rotation> {
    if raw.size.is_none() && raw.every.is_none() {
        let mend = "say when: write `size: 100MiB`, or `every: 1d`, or both";
        reader.problem(place, mend);
        return None;
    }
    let size = raw.size.and_then(|raw| {
        let size = Some(raw.value.0 as u64).filter(|size| *size > 0);
        reader.take(
            raw.place,
            size.ok_or("an empty file holds no line; write more than 0B"),
        )
    });
    let every = raw.every.and_then(|raw| {
        let every = Some(raw.value.0).filter(|every| *every >= SHORTEST);
        reader.take(
            raw.place,
            every.ok_or("a file is for a second at least; write 1s or more"),
        )
    });
    let keep = raw.keep.and_then(|raw| {
        let keep = usize::try_from(raw.value).ok();
        let keep = keep.filter(|keep| (1..=1_000_000).contains(keep));
        let mend = "this is a number from 1 to 1000000; leave it out to keep all";
        reader.take(raw.place, keep.ok_or(mend))
    });
    Some(Rotation { size, every, keep })
}
