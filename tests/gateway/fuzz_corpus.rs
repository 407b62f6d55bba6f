//! What fuzzers found once stays found: each property over the corpus in `tests/fuzz`.

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "they are a library to the fuzzers")]
mod properties;

use std::{fs, path::Path};

fn over(name: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(name);
    let mut files = 0;
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        // A property that breaks names its input.
        eprintln!("{}", path.display());
        property(&fs::read(path).unwrap());
        files += 1;
    }
    assert!(files > 0, "{} is empty", folder.display());
}

#[test]
fn heads_have_one_meaning_to_every_reader() {
    over("head", properties::head);
}

#[test]
fn paths_lead_nowhere_else() {
    over("path", properties::path);
}

#[test]
fn bodies_are_read_alike_in_one_piece_and_in_many() {
    over("body", properties::body);
}

#[test]
fn errors_in_streams_are_found_however_they_are_cut() {
    over("stream", properties::stream);
}

#[test]
fn usage_is_read_alike_however_an_answer_is_cut() {
    over("usage", properties::usage);
}

#[test]
fn waits_are_waits_whatever_is_written() {
    over("wait", properties::wait);
}

#[test]
fn configs_are_sound_or_say_where_they_are_not() {
    over("config", properties::config);
}

#[test]
fn tokens_let_nobody_in_who_is_not_all_they_must_be() {
    over("token", properties::token);
}
