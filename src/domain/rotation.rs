//! When a log's file is put aside for a new one, and what it is called then. Pure: sizes and times are arguments.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// When a file is put aside: at least one of `size` and `every` is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// No file is larger, in bytes, unless a single line is.
    pub size: Option<u64>,
    /// A file's lines are all of one such stretch of time, counted from 1970 in UTC: `1d` ends at midnight.
    pub every: Option<Duration>,
    /// How many are kept beside the one that is written; `None`: all.
    pub keep: Option<usize>,
}

impl Rotation {
    /// How many bytes a file of this length has room for.
    pub fn room(&self, length: u64) -> u64 {
        self.size
            .map_or(u64::MAX, |size| size.saturating_sub(length))
    }

    /// Whether the time of a file that was last written at `written` is over.
    pub fn is_over(&self, written: SystemTime, now: SystemTime) -> bool {
        match self.every {
            Some(every) => stretch(written, every) < stretch(now, every),
            None => false,
        }
    }

    /// How long the current stretch still lasts; `None`: for ever.
    pub fn left(&self, now: SystemTime) -> Option<Duration> {
        let every = self.every?;
        let past = since_epoch(now).as_nanos() % every.as_nanos().max(1);
        // Below `every`, which fits.
        Some(every.saturating_sub(Duration::from_nanos(u64::try_from(past).unwrap_or(0))))
    }
}

fn stretch(at: SystemTime, every: Duration) -> u128 {
    since_epoch(at).as_nanos() / every.as_nanos().max(1)
}

fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// What `file` is called once it is put aside: `usage.jsonl` becomes `usage.20261122T170000.000000Z.jsonl`. Names sort by time,
/// and a pattern for them does not find the file that is written.
pub fn stamped(file: &Path, at: SystemTime) -> PathBuf {
    let at = humantime::format_rfc3339_micros(at).to_string();
    let stamp: String = at.chars().filter(|c| !"-:".contains(*c)).collect();
    let (before, after) = around(file);
    file.with_file_name([before, stamp, after].concat())
}

/// Whether a file beside `file` is called as `file` was when it was put aside.
pub fn is_stamped(file: &Path, name: &OsStr) -> bool {
    let (before, after) = around(file);
    let name = name.to_string_lossy();
    let stamp = name
        .strip_prefix(&*before)
        .and_then(|rest| rest.strip_suffix(&*after));
    stamp.is_some_and(|stamp| {
        let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
        stamp
            .chars()
            .map(shape)
            .eq("00000000T000000.000000Z".chars())
    })
}

/// What stands before and behind the stamp in a name.
fn around(file: &Path) -> (String, String) {
    let text = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let after = file
        .extension()
        .map(|_| format!(".{}", text(file.extension())));
    (
        format!("{}.", text(file.file_stem())),
        after.unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn rotation(size: Option<u64>, every: Option<Duration>) -> Rotation {
        Rotation {
            size,
            every,
            keep: None,
        }
    }

    /// 2026-11-22T16:59:59.25Z
    fn before_five() -> SystemTime {
        humantime::parse_rfc3339("2026-11-22T16:59:59.25Z").unwrap()
    }

    #[test]
    fn a_file_is_over_when_the_hour_is_and_not_an_hour_after_its_first_line() {
        let hourly = rotation(None, Some(HOUR));
        let t = before_five();
        assert!(!hourly.is_over(t - HOUR / 2, t));
        assert!(hourly.is_over(t, t + Duration::from_millis(750)));
        assert_eq!(hourly.left(t), Some(Duration::from_millis(750)));
        // A clock that was set back is no reason.
        assert!(!hourly.is_over(t, t - HOUR));
        assert!(!rotation(Some(1), None).is_over(t, t + HOUR * 1000));
        assert_eq!(rotation(Some(1), None).left(t), None);
    }

    #[test]
    fn a_day_ends_at_midnight() {
        let daily = rotation(None, Some(24 * HOUR));
        assert_eq!(
            daily.left(before_five()),
            Some(7 * HOUR + Duration::from_millis(750))
        );
    }

    #[test]
    fn room_is_what_is_left_and_never_less_than_none() {
        let small = rotation(Some(10), None);
        assert_eq!((small.room(4), small.room(10), small.room(11)), (6, 0, 0));
        assert_eq!(rotation(None, Some(HOUR)).room(1 << 40), u64::MAX);
    }

    #[test]
    fn names_say_when_and_are_known_again() {
        for (file, aside) in [
            ("/l/usage.jsonl", "/l/usage.20261122T165959.250000Z.jsonl"),
            ("/l/usage", "/l/usage.20261122T165959.250000Z"),
            ("/l/a.b.log", "/l/a.b.20261122T165959.250000Z.log"),
        ] {
            let file = Path::new(file);
            let name = stamped(file, before_five());
            assert_eq!(name, Path::new(aside));
            assert!(is_stamped(file, name.file_name().unwrap()));
            assert!(!is_stamped(file, file.file_name().unwrap()));
        }
        let usage = Path::new("usage.jsonl");
        for other in [
            "usage.1.jsonl",
            "usage.20261122T165959.250000Z.jsonl.gz",
            "usage.20261122.jsonl",
            "other.20261122T165959.250000Z.jsonl",
        ] {
            assert!(!is_stamped(usage, OsStr::new(other)), "{other}");
        }
    }
}
