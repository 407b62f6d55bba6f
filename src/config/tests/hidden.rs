//! What came from the environment or a file is in no message, wherever it stands and whatever it is.

use super::*;

/// What may stand where something else belongs; all of them have this in them.
const LEAK: &str = "sw0rdf1sh";
const VALUES: [&str; 8] = [
    "sw0rdf1sh",
    "/etc/sw0rdf1sh/ca.pem",
    "https://sw0rdf1sh/openai/v1?api-key=sw0rdf1sh",
    "https://sw0rdf1sh.openai.azure.com/openai/v1",
    "http://sw0rdf1sh",
    "-----BEGIN PRIVATE KEY-----\nsw0rdf1sh\n-----END PRIVATE KEY-----",
    "[sw0rdf1sh(\\",
    "sw0rdf1sh \u{7f} \"*\"",
];

/// Each text of an example, replaced by a reference, one after the other.
fn with_references(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut from = 0;
    for line in text.split_inclusive('\n') {
        let start = from;
        from += line.len();
        let code = line.split(" #").next().unwrap_or_default();
        for (at, _) in code.match_indices([':', '[', ',', '-']) {
            let rest = &code[at + 1..];
            let value = rest.trim_start();
            let begin = at + 1 + (rest.len() - value.len());
            let end = match value.strip_prefix('"') {
                Some(quoted) => quoted.find('"').map(|end| end + 2),
                None => value.find([',', '}', ']', '\n']).or(Some(value.len())),
            };
            let Some(end) = end.filter(|_| begin > at + 1) else {
                continue;
            };
            let value = value[..end].trim_end();
            if value.is_empty()
                || value.starts_with(['{', '[', '&', '*'])
                || value.contains(": ")
                || value.ends_with(':')
            {
                continue;
            }
            let place = start + begin;
            all.push(
                [
                    &text[..place],
                    "\"${env:LEAK}\"",
                    &text[place + value.len()..],
                ]
                .concat(),
            );
        }
    }
    all
}

#[test]
fn no_value_that_was_filled_in_is_ever_printed() {
    let (sound, _) = SOUND.split_once("clients:").unwrap();
    let more = format!(
        "{sound}clients:\n  a: {{ keys: [\"sha256:{}\"], models: [gpt-4o], limits: {{ tokens_per_minute: 5, over_max_output_tokens: clamp }} }}\n  \
         b: {{ certificates: [ {{ dns: x.test, ca: none.pem }}], models: [\"*\"] }}\n\
         issuers:\n  ci: {{ url: \"https://ci.test\", audiences: [ x ], ca: none.pem, jwks: \"https://ci.test/keys\" }}\n\
         otlp: {{ endpoint: \"https://c\", ca: none.pem, headers: {{ a: x }}, resource: {{ b: x }} }}\n\
         counters: {{ file: none/counters, time_zone: Europe/Berlin }}\n\
         log: {{ access: {{ file: none/access.log }}, prompts: {{ file: none/prompts, redact: [ x ] }} }}\n\
         front_door: {{ ids: [ 0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f ], networks: [ 10.0.0.0/8 ] }}\n\
         prices: {{ currency: EUR, models: {{ gpt-4o: {{ input: 2.50 }} }} }}\n\
         server: {{ forward_headers: [ x-a ] }}\n",
        "1".repeat(64)
    )
    .replace("admin: {", "admin: { tls: { certificate: none.pem, key: none.key, client_ca: none.pem },")
    .replace("{ api_key: swordfish }", "{ client_certificate: { tenant_id: x, client_id: y, certificate: none.pem, key: none.key } }")
    .replace("identity: vm }", "identity: vm, ca: none.pem, scope: \"https://x/.default\", connect_to: 10.0.0.4 }");
    let mut places = 0;
    for text in [SOUND, &more] {
        for text in with_references(text) {
            places += 1;
            for value in VALUES {
                let environment = |name: &str| (name == "LEAK").then(|| value.to_owned());
                let said = match parse(text.as_bytes(), Path::new("f.yaml"), &environment) {
                    Ok(loaded) => loaded
                        .warnings
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("\n"),
                    Err(problems) => problems.to_string(),
                };
                assert!(
                    !said.to_lowercase().contains(LEAK),
                    "{value:?}\n{text}\n{said}"
                );
            }
        }
    }
    assert!(places >= 50, "{places}");
}

#[test]
fn a_key_where_its_path_belongs_is_answered_with_that() {
    let folder = std::env::temp_dir().join(format!("forebay-hidden-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let key = "-----BEGIN PRIVATE KEY-----\nsw0rdf1sh\n-----END PRIVATE KEY-----\n";
    std::fs::write(folder.join("tls.key"), key).unwrap();
    let text = SOUND.replace(
        "\"127.0.0.1:8080\" }",
        "\"127.0.0.1:8080\", tls: { certificate: tls.key, key: \"${file:tls.key}\" } }",
    );
    let problems = parse(text.as_bytes(), &folder.join("f.yaml"), &|_| None).unwrap_err();
    std::fs::remove_dir_all(&folder).unwrap();
    let said = problems.to_string();
    assert!(said.contains("this must be the path of a file"), "{said}");
    assert!(!said.contains(LEAK), "{said}");
}
