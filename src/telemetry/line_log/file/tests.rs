//! Renamed, removed, full, torn, put aside: what becomes of the lines.

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("forebay-file-{name}-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        let _ = fs::remove_dir_all(&folder.0);
        fs::create_dir(&folder.0).unwrap();
        folder
    }

    fn place(&self, rotation: Option<Rotation>) -> LogTarget {
        LogTarget {
            path: self.0.join("log.jsonl"),
            rotation,
            readers: Readers::Group,
        }
    }

    fn log(&self, rotation: Option<Rotation>) -> LogFile {
        LogFile::open(self.place(rotation)).unwrap()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    /// What each file put aside holds, the oldest first.
    fn aside(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.retain(|name| is_stamped(&self.0.join("log.jsonl"), name));
        names.sort();
        let text = |name: &std::ffi::OsString| self.text(name.to_str().unwrap());
        names.iter().map(text).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn now() -> Now {
    Now::get()
}

fn later(now: Now, by: Duration) -> Now {
    Now {
        instant: now.instant + by,
        time: now.time + by,
    }
}

fn by_size(size: u64, keep: Option<usize>) -> Option<Rotation> {
    Some(Rotation {
        size: Some(size),
        every: None,
        keep,
    })
}

fn by_time(every: Duration) -> Option<Rotation> {
    Some(Rotation {
        size: None,
        every: Some(every),
        keep: None,
    })
}

#[test]
fn a_file_that_was_renamed_is_left_for_a_new_one_within_a_second() {
    let folder = Folder::new("renamed");
    let (mut log, t) = (folder.log(None), now());
    log.write(b"1\n", t).unwrap();
    fs::rename(folder.0.join("log.jsonl"), folder.0.join("log.1")).unwrap();
    log.write(b"2\n", t).unwrap();
    log.write(b"3\n", later(t, LOOK * 2)).unwrap();
    let texts = [folder.text("log.1"), folder.text("log.jsonl")];
    assert_eq!(texts, ["1\n2\n", "3\n"]);
}

#[test]
fn a_log_that_was_there_is_added_to() {
    let folder = Folder::new("append");
    for line in ["1\n", "2\n"] {
        folder.log(None).write(line.as_bytes(), now()).unwrap();
    }
    assert_eq!(folder.text("log.jsonl"), "1\n2\n");
}

#[test]
fn half_a_line_that_a_killed_process_left_is_ended() {
    let folder = Folder::new("killed");
    fs::write(folder.0.join("log.jsonl"), "1\nhal").unwrap();
    let mut log = folder.log(None);
    log.write(b"2\n", now()).unwrap();
    log.write(b"3\n", now()).unwrap();
    assert_eq!(folder.text("log.jsonl"), "1\nhal\n2\n3\n");
}

#[test]
fn half_a_line_is_taken_out_again_unless_somebody_wrote_behind_it() {
    let folder = Folder::new("half");
    let mut log = folder.log(None);
    log.write(b"1\n", now()).unwrap();
    // As a write leaves it that found room for three bytes.
    log.file.write_all(b"hal").unwrap();
    log.length += 3;
    log.cut(3);
    assert_eq!(
        (folder.text("log.jsonl").as_str(), log.is_torn),
        ("1\n", false)
    );

    log.file.write_all(b"hal").unwrap();
    log.length += 3;
    let mut other = OpenOptions::new()
        .append(true)
        .open(&log.place.path)
        .unwrap();
    other.write_all(b"theirs\n").unwrap();
    log.cut(3);
    log.write(b"2\n", now()).unwrap();
    assert_eq!(folder.text("log.jsonl"), "1\nhaltheirs\n\n2\n");
}

#[test]
fn no_file_is_larger_than_its_size_and_no_line_is_lost_between_two() {
    let folder = Folder::new("size");
    let mut log = folder.log(by_size(8, None));
    // All within one second, and some within one write.
    log.write(b"1\n2\n3\n", now()).unwrap();
    log.write(b"4\n5\n6\n", now()).unwrap();
    log.write(b"a long line\n7\n", now()).unwrap();
    let mut all = folder.aside();
    assert_eq!(all, ["1\n2\n3\n4\n", "5\n6\n", "a long line\n"]);
    all.push(folder.text("log.jsonl"));
    assert_eq!(all.concat(), "1\n2\n3\n4\n5\n6\na long line\n7\n");
}

#[test]
fn two_files_put_aside_at_the_same_time_have_two_names() {
    let folder = Folder::new("same");
    let (mut log, t) = (folder.log(by_size(2, None)), now());
    for line in [b"1\n", b"2\n", b"3\n", b"4\n"] {
        log.write(line, t).unwrap();
    }
    assert_eq!(folder.aside(), ["1\n", "2\n", "3\n"]);
}

#[test]
fn the_oldest_go_beyond_what_is_kept_and_nothing_else_does() {
    let folder = Folder::new("keep");
    fs::write(folder.0.join("log.2020.jsonl"), "another's").unwrap();
    let mut log = folder.log(by_size(2, Some(2)));
    for n in 0..6 {
        log.write(format!("{n}\n").as_bytes(), now()).unwrap();
    }
    assert_eq!(folder.aside(), ["3\n", "4\n"]);
    assert_eq!(folder.text("log.2020.jsonl"), "another's");
    // A start with less to keep removes what is too much.
    folder.log(by_size(2, Some(1)));
    assert_eq!(folder.aside(), ["4\n"]);
}

#[test]
fn a_file_holds_the_lines_of_one_hour_also_over_a_restart() {
    const HOUR: Duration = Duration::from_secs(3600);
    let folder = Folder::new("hourly");
    let (mut log, t) = (folder.log(by_time(HOUR)), now());
    assert_eq!(log.time_left(t), None, "an empty file is not put aside");
    log.write(b"1\n", t).unwrap();
    let left = log.time_left(t).unwrap();
    log.write(b"2\n", later(t, left)).unwrap();
    assert_eq!(folder.aside(), ["1\n"]);
    drop(log);
    // Its last line is from now: the real clock says so.
    let mut log = folder.log(by_time(HOUR));
    log.rotate_if_over(later(t, 2 * HOUR));
    assert_eq!(folder.aside(), ["1\n", "2\n"]);
    assert_eq!(folder.text("log.jsonl"), "");
}

#[test]
fn a_file_that_cannot_be_put_aside_is_written_on() {
    let folder = Folder::new("stuck");
    let (mut log, t) = (folder.log(by_size(2, None)), now());
    log.write(b"1\n", t).unwrap();
    // Somebody has taken it away, and its folder too: nothing can be renamed or made.
    let away = folder.0.with_extension("away");
    fs::rename(&folder.0, &away).unwrap();
    log.write(b"2\n3\n", t).unwrap();
    assert_eq!(
        fs::read_to_string(away.join("log.jsonl")).unwrap(),
        "1\n2\n3\n"
    );
    fs::rename(&away, &folder.0).unwrap();
    log.write(b"4\n", later(t, LOOK * 2)).unwrap();
    assert_eq!(
        (folder.aside(), folder.text("log.jsonl")),
        (vec!["1\n2\n3\n".into()], "4\n".into())
    );
}

#[test]
fn what_only_its_owner_may_read_is_closed_to_others_whoever_made_it() {
    let folder = Folder::new("mode");
    let place = LogTarget {
        readers: Readers::Owner,
        ..folder.place(by_size(2, None))
    };
    fs::write(&place.path, "1\n").unwrap();
    fs::set_permissions(&place.path, Permissions::from_mode(0o644)).unwrap();
    let mut log = LogFile::open(place).unwrap();
    log.write(b"2\n", now()).unwrap();
    for entry in fs::read_dir(&folder.0).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(folder.aside(), ["1\n"]);
}
