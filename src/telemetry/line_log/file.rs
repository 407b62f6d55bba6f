//! A file of lines that may be renamed, deleted or full under us, and that is put aside for a new one when it is time.
//!
//! No line is ever written twice, and none is half there: what could not be written whole is taken out again, or ended.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use memchr::{memchr, memchr_iter, memrchr};
use tracing::warn;

use crate::domain::rotation::{Rotation, is_stamped, stamped};

/// The file's place is looked at no more often than this; nor is a rotation that failed tried again sooner.
const LOOK: Duration = Duration::from_secs(1);

/// Where a log's lines go.
#[derive(Clone, Debug)]
pub struct LogTarget {
    pub path: PathBuf,
    pub rotation: Option<Rotation>,
    pub readers: Readers,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Its owner, and its group: who called when is nobody's business but the operator's.
    Group,
    /// Its owner alone, whoever made the file.
    Owner,
}

/// The time, by both clocks.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) time: SystemTime,
}

impl Now {
    pub(super) fn get() -> Self {
        Self {
            instant: Instant::now(),
            time: SystemTime::now(),
        }
    }
}

/// Lines that could not be written, and why.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) lines: u64,
    pub(super) error: io::Error,
}

/// A file that is appended to.
#[derive(Debug)]
pub(super) struct LogFile {
    place: LogTarget,
    file: File,
    /// Anything else, like `/dev/full`, is neither measured nor put aside.
    is_regular: bool,
    length: u64,
    /// When its last line was written; anything where it has none.
    written: SystemTime,
    looked: Instant,
    /// It ends within a line: the next one starts on a line of its own.
    is_torn: bool,
    /// Putting it aside failed; when that may be tried again.
    rotate_after: Option<Instant>,
}

impl LogFile {
    pub(super) fn open(place: LogTarget) -> io::Result<Self> {
        let file = open(&place)?;
        let mut log = Self {
            place,
            file,
            is_regular: false,
            length: 0,
            written: SystemTime::UNIX_EPOCH,
            looked: Instant::now(),
            is_torn: false,
            rotate_after: None,
        };
        log.measure()?;
        log.remove_old();
        Ok(log)
    }

    /// Appends whole lines. Where that fails the lines from the first on that was not written whole are lost.
    pub(super) fn write(&mut self, mut lines: &[u8], now: Now) -> Result<(), Lost> {
        if now.instant.saturating_duration_since(self.looked) >= LOOK {
            self.looked = now.instant;
            self.follow();
        }
        self.rotate_if_over(now);
        while !lines.is_empty() {
            let part = self.part(lines, now.instant);
            if part == 0 {
                self.rotate(now);
                continue;
            }
            if let Err((written, error)) = self.append(&lines[..part]) {
                let lost = memchr_iter(b'\n', &lines[written..]).count() as u64;
                return Err(Lost { lines: lost, error });
            }
            self.written = now.time;
            lines = &lines[part..];
        }
        Ok(())
    }

    /// Puts the file aside if its time is over.
    pub(super) fn rotate_if_over(&mut self, now: Now) {
        let is_over = |rotation: Rotation| rotation.is_over(self.written, now.time);
        if self.may_rotate(now.instant) && self.place.rotation.is_some_and(is_over) {
            self.rotate(now);
        }
    }

    /// How long until it has to be put aside, if nothing more is written; `None`: it need not be.
    pub(super) fn time_left(&self, now: Now) -> Option<Duration> {
        let rotation = self.place.rotation.filter(|_| self.may_hold_lines())?;
        let left = rotation.left(now.time)?;
        Some(match self.rotate_after {
            Some(_) => left.max(LOOK),
            None => left,
        })
    }

    fn may_hold_lines(&self) -> bool {
        self.is_regular && self.length > 0
    }

    fn may_rotate(&self, now: Instant) -> bool {
        self.may_hold_lines() && self.rotate_after.is_none_or(|after| now >= after)
    }

    /// How much of the lines, by whole ones, the file has room for; 0: it has to be put aside first.
    fn part(&self, lines: &[u8], now: Instant) -> usize {
        let all = lines.len();
        let Some(rotation) = self.place.rotation.filter(|_| self.is_regular) else {
            return all;
        };
        let room = usize::try_from(rotation.room(self.length)).unwrap_or(usize::MAX);
        if room >= all {
            return all;
        }
        match (memrchr(b'\n', &lines[..room]), self.length) {
            (Some(end), _) => end + 1,
            // A line that is too long for any file has one of its own.
            (None, 0) => memchr(b'\n', lines).map_or(all, |end| end + 1),
            // Better a file that is too large than a lost line.
            (None, _) if !self.may_rotate(now) => all,
            (None, _) => 0,
        }
    }

    /// Where it fails: how many bytes, whole lines all, are in the file.
    fn append(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        if self.is_torn {
            self.file.write_all(b"\n").map_err(|error| (0, error))?;
            (self.is_torn, self.length) = (false, self.length + 1);
        }
        let (written, error) = write_all(&mut self.file, lines);
        self.length += written as u64;
        let Some(error) = error else { return Ok(()) };
        let whole = memrchr(b'\n', &lines[..written]).map_or(0, |end| end + 1);
        self.cut((written - whole) as u64);
        Err((whole, error))
    }

    /// Takes half a line out again, if nobody wrote behind it.
    fn cut(&mut self, half: u64) {
        if half == 0 {
            return;
        }
        let is_last = |length| self.is_regular && length == self.length;
        let ours = self.file.metadata().is_ok_and(|it| is_last(it.len()));
        if ours && self.file.set_len(self.length - half).is_ok() {
            self.length -= half
        } else {
            self.is_torn = true
        }
    }

    /// Renames the file and begins a new one. Where either fails the old one goes on.
    fn rotate(&mut self, now: Now) {
        if !self.is_in_place().unwrap_or(false) {
            // Somebody else has put it aside, or something else is in its place.
            self.follow();
            self.rotate_after = (self.length > 0).then(|| now.instant + LOOK);
            return;
        }
        let aside = self.free_name(now.time);
        match fs::rename(&self.place.path, &aside) {
            Ok(()) => {
                self.rotate_after = None;
                self.follow();
                self.remove_old();
            }
            Err(error) => {
                if self.rotate_after.is_none() {
                    let path = self.place.path.display();
                    warn!(event = "log_rotation_failed", %path, %error, "could not rotate a log file; lines still go to the old file");
                }
                self.rotate_after = Some(now.instant + LOOK);
            }
        }
    }

    /// A name that no file has: a rename would replace it. Only who writes this log gives such names.
    fn free_name(&self, mut at: SystemTime) -> PathBuf {
        loop {
            let name = stamped(&self.place.path, at);
            if name.symlink_metadata().is_err() {
                return name;
            }
            at += Duration::from_micros(1);
        }
    }

    /// Removes the oldest of those put aside, down to as many as are to be kept.
    fn remove_old(&self) {
        let Some(keep) = self.place.rotation.and_then(|rotation| rotation.keep) else {
            return;
        };
        let folder = match self.place.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name());
        let mut aside: Vec<_> = names
            .filter(|name| is_stamped(&self.place.path, name))
            .collect();
        aside.sort();
        for name in aside.iter().rev().skip(keep) {
            if let Err(error) = fs::remove_file(folder.join(name)) {
                warn!(event = "log_removal_failed", name = %name.display(), %error, "could not remove an old log file; check the folder's permissions");
            }
        }
    }

    /// Opens the path anew where another file is there, or none. While that fails the old file goes on.
    fn follow(&mut self) {
        if self.is_in_place().unwrap_or(false) {
            return;
        }
        if let Ok(file) = open(&self.place) {
            self.file = file;
            self.rotate_after = None;
            let _ = self.measure();
        }
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let (there, ours) = (self.place.path.metadata()?, self.file.metadata()?);
        Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino()))
    }

    /// Learns what there is to know of a file just opened.
    fn measure(&mut self) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        self.is_regular = metadata.is_file();
        self.length = if self.is_regular { metadata.len() } else { 0 };
        self.written = metadata.modified()?;
        // A process that was killed may have left half a line.
        self.is_torn = self.length > 0 && last_byte(&self.place.path).is_some_and(|it| it != b'\n');
        Ok(())
    }
}

/// How much was written, and what kept the rest from it.
fn write_all(file: &mut File, lines: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < lines.len() {
        match file.write(&lines[written..]) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// `None`: it can't be read, which a file that is only written to need not be.
fn last_byte(path: &Path) -> Option<u8> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::End(-1)).ok()?;
    let mut byte = [0];
    file.read_exact(&mut byte).ok()?;
    Some(byte[0])
}

fn open(place: &LogTarget) -> io::Result<File> {
    let mode = match place.readers {
        Readers::Group => 0o640,
        Readers::Owner => 0o600,
    };
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(mode);
    let file = options.open(&place.path)?;
    let there = file.metadata()?;
    if place.readers == Readers::Owner && there.is_file() && there.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
