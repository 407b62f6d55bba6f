//! Prices and logs: what a config says of them, and the mistakes it can hold.

use std::time::Duration;

use super::*;
use crate::domain::{
    deployment::Capacity,
    price::Served,
    rotation::Rotation,
    usage::{Tier, Usage},
};

/// What stands behind [`SOUND`] here.
const RECORDS: &str = r#"prices:
  currency: EUR
  models:
    gpt-4o: { input: 2.50, cached: "1.25", output: 10, tiers: { flex: { input: 1, output: 5 } }, provisioned: { input: 0.1, output: 0.2 } }
log:
  access: { file: access.jsonl, rotate: { size: 100MiB, every: 1d, keep: 14 } }
  usage: usage.jsonl
  prompts: { file: prompts.jsonl, max_bytes: 1KiB, redact: ['[0-9]{16}'] }
"#;

fn with_records(part: &str, other: &str) -> String {
    assert_eq!(RECORDS.matches(part).count(), 1, "{part}");
    let clients = with(
        "models: [gpt-4o] }",
        "models: [gpt-4o], log_prompts: true }",
    );
    format!("{clients}{}", RECORDS.replacen(part, other, 1))
}

fn sound() -> Plan {
    let loaded = read(with_records("EUR", "EUR")).unwrap();
    assert_eq!(loaded.warnings, []);
    loaded.plan
}

#[test]
fn prices_are_taken_to_the_letter_and_parts_cost_what_their_whole_does() {
    let prices = sound().prices.unwrap();
    let cost = |capacity, tier, output, reasoning| {
        let usage = Usage {
            input: 3,
            cached: 1,
            output,
            reasoning,
            tier,
            ..Usage::default()
        };
        let served = Served {
            capacity,
            is_spilled: false,
        };
        let cost = prices.cost(&"gpt-4o".into(), served, &usage).unwrap();
        assert_eq!(cost.currency.as_str(), "EUR");
        cost.to_string()
    };
    assert_eq!(cost(Capacity::Standard, None, 2, 1), "0.00002625");
    // A tier has no price for what comes from the cache: it costs what the tier's input does.
    assert_eq!(cost(Capacity::Standard, Some(Tier::Flex), 2, 0), "0.000013");
    assert_eq!(
        cost(Capacity::Standard, Some(Tier::Scale), 2, 0),
        "0.00002625"
    );
    assert_eq!(
        cost(Capacity::Provisioned, Some(Tier::Flex), 2, 0),
        "0.0000007"
    );
}

#[test]
fn logs_go_where_the_config_says_and_are_put_aside_when_it_says() {
    let log = sound().log;
    let access = log.access.unwrap();
    assert_eq!(access.path, Path::new("access.jsonl"));
    let daily = Rotation {
        size: Some(100 << 20),
        every: Some(Duration::from_secs(24 * 3600)),
        keep: Some(14),
    };
    assert_eq!(access.rotation, Some(daily));
    assert_eq!(log.usage.unwrap().rotation, None);
    let prompts = log.prompts.unwrap();
    assert_eq!(prompts.max_bytes, 1 << 10);
    let kept = prompts
        .redaction
        .json(b"[\"4111111111111111\"]", 99)
        .unwrap();
    assert_eq!(kept.text, "[\"[redacted]\"]");
}

/// What is replaced in [`RECORDS`], by what; the one problem's place, and words of its message.
#[rustfmt::skip] // One row, one mistake.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    ("input: 2.50", "input: -2.50", "20:22", "not be negative; write 0"),
    ("input: 2.50", "input: -2", "20:22", "not be negative; write 0"),
    ("input: 2.50", "input: cheap", "20:22", "like 2.50"),
    ("input: 2.50", "input: 2.50 EUR", "20:22", "like 2.50"),
    ("input: 2.50", "input: 1e3", "20:22", "like 2.50"),
    ("input: 2.50", "input: [2.50]", "20:15", "like 2.50"),
    ("input: 2.50", "input: 0.0000001", "20:22", "six decimal places"),
    ("input: 2.50", "input: 1000001", "20:22", "at most a million"),
    ("input: 2.50, ", "", "20:5", "`input` is missing here"),
    ("output: 10,", "", "20:5", "`output` is missing here"),
    ("cached:", "cache:", "20:28", "did you mean `cached`?"),
    ("tiers: { flex:", "tiers: { batch:", "20:65", "known names: `priority`, `flex`, `scale`"),
    ("gpt-4o: {", "gpt-4: {", "20:5", "no model has this name; did you mean `gpt-4o`?"),
    ("EUR", "euro", "18:13", "three capital letters, like EUR"),
    ("  currency: EUR\n", "", "17:1", "`currency` is missing here"),
    ("{ size: 100MiB, every: 1d, keep: 14 }", "{}", "22:33", "set when to rotate: `size: 100MiB`, or `every: 1d`"),
    ("{ size: 100MiB, every: 1d, keep: 14 }", "{ keep: 14 }", "22:33", "set when to rotate: `size: 100MiB`, or `every: 1d`"),
    ("size: 100MiB", "size: 0B", "22:49", "more than 0B"),
    ("size: 100MiB", "size: 100MB", "22:49", "like 512B, 32KiB"),
    ("every: 1d", "every: 100ms", "22:64", "write 1s or more"),
    ("keep: 14", "keep: 0", "22:74", "remove it to keep all files"),
    ("usage: usage.jsonl", "usage: access.jsonl", "23:10", "line 22 writes another log to this file"),
    ("usage: usage.jsonl", "usage: { rotate: { every: 1d } }", "23:3", "`file` is missing here"),
    ("usage: usage.jsonl", "usage: [usage.jsonl]", "23:3", "this is a list"),
    ("'[0-9]{16}'", "'[0-9'", "24:61", "not a valid regular expression: unclosed character class"),
    ("'[0-9]{16}'", "'[0-9]*'", "24:61", "make it match at least one character"),
    ("['[0-9]{16}']", "[]", "24:52", "list a pattern"),
    ("max_bytes: 1KiB", "max_bytes: 0B", "24:46", "more than 0B"),
    ("  prompts: { file: prompts.jsonl, max_bytes: 1KiB, redact: ['[0-9]{16}'] }\n", "", "15:124", "there is no file for prompts"),
];

#[test]
fn each_mistake_about_prices_and_logs_is_answered_at_its_place_with_the_mend() {
    let mut wrong = Vec::new();
    for (part, other, place, words) in MISTAKES {
        let answer = match read(with_records(part, other)) {
            Ok(_) => "sound".into(),
            Err(problems) => problems.to_string(),
        };
        let wanted = answer.starts_with(&format!("f.yaml:{place}: ")) && answer.contains(words);
        if !wanted || answer.lines().count() != 1 {
            wrong.push(format!("{other}\n  wanted {place} {words}\n  got {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_model_without_a_price_and_a_prompt_log_without_a_client_are_warned_of() {
    let warnings = |text: String| {
        let loaded = read(text).unwrap();
        let warnings = loaded.warnings.iter().map(ToString::to_string);
        warnings.collect::<Vec<_>>().join("\n")
    };
    let more = "  o3: { deployments: [{ instance: swc }] }\nclients:";
    let unpriced = warnings(with_records("EUR", "EUR").replacen("clients:", more, 1));
    assert!(
        unpriced.starts_with("f.yaml:14:3: this model has no price"),
        "{unpriced}"
    );
    assert_eq!(unpriced.lines().count(), 1, "{unpriced}");
    let nobodys = warnings(with_records("EUR", "EUR").replacen(", log_prompts: true", "", 1));
    assert!(
        nobodys.starts_with("f.yaml:24:3: no client has log_prompts"),
        "{nobodys}"
    );
}
