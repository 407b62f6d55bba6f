//! What is no YAML, or YAML of a kind that few know: merge keys; and a simulation in a config's place.

use super::*;

fn answer(text: impl AsRef<[u8]>) -> String {
    match read(text) {
        Ok(_) => "sound".into(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn what_is_not_yaml_is_answered_with_what_to_do_and_hides_no_mistake_before_it() {
    for (broken, place, words) in [
        (
            "api_key: @fish",
            "5:22",
            "quote strings that contain one of",
        ),
        (
            "api_key: `fish`",
            "5:22",
            "quote strings that contain one of",
        ),
        (
            "api_key: %fish",
            "5:22",
            "quote strings that contain one of",
        ),
        (
            "api_key: *fish",
            "5:22",
            "quote a string that begins with *",
        ),
        ("api_key: 'fish", "", "end the string with the same quote"),
        ("api_key: \"fi\\sh\"", "", "in single quotes"),
        ("api_key: a: b", "5:23", "inside brackets, quote strings"),
        ("api_key: fish]", "", "quote"),
    ] {
        let text =
            with("api_key: swordfish", broken).replace("address: \"127.0.0.1:9090\"", "addres: x");
        let answer = answer(text);
        let lines: Vec<_> = answer.lines().collect();
        let about = lines
            .iter()
            .find(|line| line.contains("YAML") || line.contains("anchor"));
        assert!(
            about.is_some_and(|it| it.contains(words) && it.contains(place)),
            "{broken}: {answer}"
        );
        assert!(
            lines[0].starts_with("f.yaml:2:10: unknown field `addres`"),
            "{broken}: {answer}"
        );
        // Nothing is called missing that may stand behind it.
        assert_eq!(lines.len(), 2, "{broken}: {answer}");
        assert!(!answer.contains("fish"), "{answer}");
    }
    let answer = answer(format!("{SOUND}drain: a: b\n").replace("attempts: 4", "tries: 4"));
    let lines: Vec<_> = answer.lines().collect();
    assert!(lines[0].contains("unknown field `tries`"), "{answer}");
    assert!(
        lines[1].contains("f.yaml:17:9: this is not YAML")
            && lines[1].ends_with("quote strings that contain a colon and a space"),
        "{answer}"
    );
    assert_eq!(lines.len(), 2, "{answer}");
}

#[test]
fn merge_keys_take_over_what_is_not_written() {
    let text = SOUND.replace("instances:\n", "instances:\n  base: &base { endpoint: \"https://a.openai.azure.com\", identity: vm, stream_usage: false }\n");
    let swc = "swc: { endpoint: \"https://contoso-swc.openai.azure.com\", identity: vm }";
    for (other, stream_usage, host) in [
        (
            "swc: { <<: *base, endpoint: \"https://b.openai.azure.com\" }",
            false,
            "b.openai.azure.com",
        ),
        (
            "swc: { endpoint: \"https://b.openai.azure.com\", <<: [*base] }",
            false,
            "b.openai.azure.com",
        ),
        (
            "swc:\n    <<: [{ stream_usage: true }, *base]\n    endpoint: \"https://c.openai.azure.com\"",
            true,
            "c.openai.azure.com",
        ),
    ] {
        let loaded = read(text.replace(swc, other)).unwrap();
        let swc = loaded
            .plan
            .instances
            .iter()
            .find(|it| it.name.as_str() == "swc")
            .unwrap();
        assert_eq!(
            (swc.stream_usage, swc.endpoint.host()),
            (stream_usage, host),
            "{other}"
        );
    }
    let wrong = answer(text.replace(
        swc,
        "swc: { <<: base, endpoint: \"https://b.openai.azure.com\", identity: vm }",
    ));
    assert!(
        wrong.starts_with("f.yaml:8:10: << merges a mapping"),
        "{wrong}"
    );
    let quoted = answer(text.replace(swc, "swc: { \"<<\": *base }"));
    assert!(quoted.contains("unknown field"), "{quoted}");
}

#[test]
fn a_simulation_is_known_for_what_it_is() {
    let simulation = include_str!("../../../conf/simulator.yaml");
    for text in [
        simulation,
        "instances: { e: { keys: [k], deployments: { d: { model: m } } } }",
        "seed: 7\ninstances: { e: { keys: [k] } }",
    ] {
        let answer = answer(text);
        assert!(
            answer.starts_with("f.yaml:1:1: this is a config of the simulator"),
            "{answer}"
        );
        assert_eq!(answer.lines().count(), 1, "{answer}");
    }
}
