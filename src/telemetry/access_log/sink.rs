//! Where lines go: stderr, or a file that may be renamed or deleted under us.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::line::Format;

/// The file's place is looked at no more often than this.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum Sink {
    Stderr(Format),
    File(LogFile),
}

/// A file that is appended to, and made anew when it is no longer where it was.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    looked: Instant,
    /// A write failed, perhaps within a line: the next one starts on a line of its own.
    is_torn: bool,
}

impl Sink {
    pub(super) fn stderr() -> Self {
        match io::stderr().is_terminal() {
            true => Self::Stderr(Format::Text),
            false => Self::Stderr(Format::Json),
        }
    }

    pub(super) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::File(LogFile {
            path: path.to_owned(),
            file: open(path)?,
            looked: Instant::now(),
            is_torn: false,
        }))
    }

    pub(super) fn format(&self) -> Format {
        match self {
            Self::Stderr(format) => *format,
            Self::File(_) => Format::Json,
        }
    }

    /// Hands whole lines to the operating system.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stderr(_) => io::stderr().lock().write_all(lines),
            Self::File(file) => file.write(lines, Instant::now()),
        }
    }
}

impl LogFile {
    fn write(&mut self, lines: &[u8], now: Instant) -> io::Result<()> {
        if now.saturating_duration_since(self.looked) >= LOOK {
            self.looked = now;
            self.follow();
        }
        let written = self.mend().and_then(|()| self.file.write_all(lines));
        self.is_torn = written.is_err();
        written
    }

    fn mend(&mut self) -> io::Result<()> {
        match self.is_torn {
            true => self.file.write_all(b"\n"),
            false => Ok(()),
        }
    }

    /// Opens the path anew where another file is there, or none. While that fails the old file goes on.
    fn follow(&mut self) {
        if self.is_in_place().unwrap_or(false) {
            return;
        }
        if let Ok(file) = open(&self.path) {
            self.file = file;
            self.is_torn = false;
        }
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let (there, ours) = (self.path.metadata()?, self.file.metadata()?);
        Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino()))
    }
}

/// Who called when is nobody's business but the operator's: not readable by all.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let name = format!("forebay-{name}-{}", std::process::id());
            let place = Self(std::env::temp_dir().join(name));
            let _ = fs::remove_dir_all(&place.0);
            fs::create_dir(&place.0).unwrap();
            place
        }

        fn log(&self) -> LogFile {
            match Sink::file(&self.0.join("log")).unwrap() {
                Sink::File(log) => log,
                Sink::Stderr(_) => unreachable!(),
            }
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_rotated_file_is_left_for_a_new_one_within_a_second() {
        let place = Place::new("rotated");
        let (mut log, t) = (place.log(), Instant::now());
        log.write(b"1\n", t).unwrap();
        fs::rename(place.0.join("log"), place.0.join("log.1")).unwrap();
        log.write(b"2\n", t).unwrap();
        log.write(b"3\n", t + LOOK * 2).unwrap();
        assert_eq!([place.text("log.1"), place.text("log")], ["1\n2\n", "3\n"]);
    }

    #[test]
    fn a_log_that_was_there_is_added_to() {
        let place = Place::new("append");
        for line in ["1\n", "2\n"] {
            place.log().write(line.as_bytes(), Instant::now()).unwrap();
        }
        assert_eq!(place.text("log"), "1\n2\n");
    }

    #[test]
    fn after_a_failed_write_the_next_line_stands_alone() {
        let place = Place::new("torn");
        let mut log = place.log();
        log.is_torn = true;
        log.write(b"1\n", Instant::now()).unwrap();
        log.write(b"2\n", Instant::now()).unwrap();
        assert_eq!(place.text("log"), "\n1\n2\n");
    }
}
