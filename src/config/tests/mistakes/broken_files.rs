//! What is no YAML, no mapping, cut, or unfolds into too much.

use super::*;

#[test]
fn what_is_no_config_at_all_is_answered_with_what_it_is() {
    let deep = format!("a: {}", "[".repeat(1000));
    let deep_block: String = (0..100)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    let cases: [(&[u8], &str); 13] = [
        (b"", "f.yaml:1:1: the file is empty"),
        (b"# nothing\n", "f.yaml:1:1: the file is empty"),
        (
            b"listeners: [\n",
            "f.yaml:1:12: this is not YAML: unclosed bracket",
        ),
        (b"a:\n\tb: 1\n", "indent with spaces"),
        ("a: \u{e9}\nb: ".as_bytes(), "`listeners` is missing"),
        (
            b"a: \xc3\xa9\nb: \xc3\xa9\xff",
            "f.yaml:2:5: this byte is not UTF-8",
        ),
        (b"\xff\xfea\0", "f.yaml:1:1: this byte is not UTF-8"),
        (deep.as_bytes(), "nested at most 32 levels deep"),
        (deep_block.as_bytes(), "nested at most 32 levels deep"),
        (b"a: *b", "names an anchor"),
        (b"a: &b [*b]", "f.yaml:1:8: this alias is inside"),
        (
            b"- a",
            "f.yaml:1:1: this is a list, but it must be a mapping",
        ),
        (b"a: 1\n---\nb: 2", "a single YAML document"),
    ];
    for (text, words) in cases {
        let answer = answer(text);
        assert!(answer.contains(words), "{answer}");
    }
}

#[test]
fn a_key_written_twice_is_found_at_its_second_place() {
    let twice = with("clients:", "failover: {}\nclients:");
    assert_eq!(
        answer(twice),
        "f.yaml:17:1: this key is already in line 14; remove one of the two"
    );
}

#[test]
fn aliases_that_unfold_into_billions_are_stopped_by_the_budget() {
    let line = |n: usize| format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(9));
    let bomb: String = std::iter::once("a0: &a0 [x]\n".into())
        .chain((1..12).map(line))
        .collect();
    let answer = answer(bomb);
    let of_line_6 = |line: &str| line.starts_with("f.yaml:6:");
    assert!(
        answer.lines().any(|line| {
            of_line_6(line) && line.ends_with("more than 100000 values; use fewer aliases")
        }),
        "{answer}"
    );
}

#[test]
fn aliases_of_a_long_text_are_stopped_by_the_budget_too() {
    let long = format!("a: &a {}\nb: [{}]", "x".repeat(1 << 20), "*a,".repeat(1000));
    assert!(answer(long).ends_with("use fewer aliases"));
}

#[test]
fn a_file_cut_anywhere_is_answered() {
    let example = include_bytes!("../../../../conf/forebay.yaml");
    for end in (0..example.len()).step_by(7) {
        if let Err(problems) = read(&example[..end]) {
            assert!(!problems.0.is_empty(), "cut at {end}");
        }
    }
}
