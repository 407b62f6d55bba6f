//! Mistakes about clients' tokens and their issuers.

use super::*;

/// A client with tokens of each kind.
const TOKENS: &str = r#"issuers:
  ci: { url: "https://ci.test/", audiences: [forebay], algorithms: [RS256], leeway: 10s, jwks: "https://ci.test/keys" }
clients:
  a:
    entra: { tenant_id: 11111111-1111-1111-1111-111111111111, application_id: 22222222-2222-2222-2222-222222222222, audiences: ["api://gw"], roles: [R], scopes: [S], groups: [G], authority: "https://login.microsoftonline.us" }
    models: ["*"]
  b: { token: { issuer: ci, claims: { sub: jobs }, scopes: [use] }, models: ["*"] }
"#;

/// What is replaced in [`TOKENS`], by what; the one problem's line and column, and words of its message.
#[rustfmt::skip] // One row, one mistake.
const TOKEN_MISTAKES: &[(&str, &str, &str, &str)] = &[
    // Issuers.
    ("url: \"https://ci.test/\", ", "", "15:3", "`url` is missing"),
    ("https://ci.test/\", aud", "ci.test/\", aud", "15:14", "write it like"),
    ("https://ci.test/\", aud", "http://ci.test/\", aud", "15:14", "so it must be https://"),
    ("https://ci.test/keys", "http://ci.test/keys", "15:96", "so it must be https://"),
    ("audiences: [forebay], ", "", "15:3", "`audiences` is missing"),
    ("audiences: [forebay]", "audiences: []", "15:34", "this is empty; list an audience"),
    ("algorithms: [RS256]", "algorithms: [HS256]", "15:69", "did you mean `RS256`?"),
    ("algorithms: [RS256]", "algorithms: [none]", "15:69", "known names: `RS256`"),
    ("algorithms: [RS256]", "algorithms: []", "15:56", "without an algorithm"),
    ("leeway: 10s", "leeway: 10m", "15:85", "5m or less"),
    ("leeway: 10s", "ca: none.pem", "15:81", "none.pem can't be read"),
    ("leeway: 10s", "secret: x", "15:77", "unknown field `secret`"),
    ("  ci: {", "  entra/ci: { url: \"https://x\", audiences: [x] }\n  ci: {", "15:3", "choose another"),
    ("  ci: {", "  cj: { url: \"https://ci.test/\", audiences: [x] }\n  ci: {", "16:14", "this issuer is already in line 15"),
    ("https://ci.test/\", aud", "https://login.microsoftonline.us/11111111-1111-1111-1111-111111111111/v2.0\", aud", "18:5", "has the same `iss`"),
    // Entra.
    ("tenant_id: 11111111-1111-1111-1111-111111111111, ", "", "18:5", "`tenant_id` is missing"),
    ("tenant_id: 11111111-1111-1111-1111-111111111111", "tenant_id: common", "18:25", "as it is in tokens"),
    ("tenant_id: 11111111-1111-1111-1111-111111111111", "tenant_id: contoso.onmicrosoft.com", "18:25", "as it is in tokens"),
    ("application_id: 22222222-2222-2222-2222-222222222222", "application_id: my-app", "18:79", "as it is in tokens"),
    ("application_id: 22222222-2222-2222-2222-222222222222, audiences: [\"api://gw\"], roles: [R], scopes: [S], groups: [G]", "audiences: [\"api://gw\"], scopes: [S]", "18:5", "add `application_id`, `roles` or `groups`"),
    ("application_id: 22222222-2222-2222-2222-222222222222, audiences: [\"api://gw\"]", "audiences: [\"https://cognitiveservices.azure.com/\"]", "18:75", "everyone in the tenant"),
    ("application_id: 22222222-2222-2222-2222-222222222222, audiences: [\"api://gw\"]", "audiences: [00000003-0000-0000-c000-000000000000]", "18:75", "everyone in the tenant"),
    ("audiences: [\"api://gw\"], ", "", "18:5", "`audiences` is missing"),
    ("audiences: [\"api://gw\"]", "audiences: []", "18:117", "this is empty; list an audience"),
    ("roles: [R]", "roles: []", "18:142", "list a role"),
    ("scopes: [S]", "scopes: []", "18:154", "list a scope"),
    ("groups: [G]", "groups: []", "18:167", "list a group"),
    ("groups: [G]", "groups: [\"\"]", "18:176", "this is empty"),
    ("https://login.microsoftonline.us", "http://login.microsoftonline.us", "18:191", "so it must be https://"),
    ("https://login.microsoftonline.us", "https://login.microsoftonline.us/common", "18:191", "remove the path"),
    ("authority: \"https://login.microsoftonline.us\"", "ca: none.pem", "18:184", "none.pem can't be read"),
    ("  b: {", "  c: { models: [\"*\"], entra: { tenant_id: 11111111-1111-1111-1111-111111111111, application_id: 22222222-2222-2222-2222-222222222222, audiences: [\"api://gw\", x], roles: [R], scopes: [S], groups: [G], authority: \"https://login.microsoftonline.us\" } }\n  b: {", "20:23", "line 18 requires the same of a token"),
    // Other issuers' tokens.
    ("issuer: ci", "issuer: cj", "20:25", "no issuer has this name; did you mean `ci`?"),
    ("issuer: ci, claims: { sub: jobs }, scopes: [use]", "issuer: ci", "20:8", "gives tokens to many"),
    ("claims: { sub: jobs }", "claims: {}", "20:29", "this is empty; add a claim"),
    ("claims: { sub: jobs }", "claims: { sub: \"\" }", "20:44", "this is empty"),
    ("claims: { sub: jobs }", "claims: { sub: [jobs] }", "20:39", "it must be a string"),
    ("claims: { sub: jobs }", "claims: { aud: x, sub: jobs }", "20:39", "already set in the issuer's entry"),
    ("claims: { sub: jobs }", "claims: { exp: x, sub: jobs }", "20:39", "always checked"),
    ("claims: { sub: jobs }", "claims: { scope: use }", "20:39", "put scopes in `scopes:`"),
    ("  b: {", "  c: { token: { issuer: ci, claims: { sub: jobs }, scopes: [use] }, models: [\"*\"] }\n  b: {", "21:8", "line 20 requires the same of a token"),
];

#[test]
fn each_mistake_about_tokens_is_answered_at_its_place_with_the_mend() {
    let (sound, _) = SOUND.split_once("clients:").unwrap();
    let with = |text: &str| format!("{sound}{text}");
    assert_eq!(answer(with(TOKENS)), "sound");
    let mut wrong = Vec::new();
    for (part, other, place, words) in TOKEN_MISTAKES {
        assert_eq!(TOKENS.matches(part).count(), 1, "{part}");
        let answer = answer(with(&TOKENS.replace(part, other)));
        let wanted = answer.starts_with(&format!("f.yaml:{place}: ")) && answer.contains(words);
        if !wanted || answer.lines().count() != 1 {
            wrong.push(format!("{other}\n  wanted {place} {words}\n  got {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tokens_that_microsofts_own_services_see_too_and_issuers_without_clients_are_warned_of() {
    let (sound, _) = SOUND.split_once("clients:").unwrap();
    let warnings = |part: &str, other: &str| {
        let loaded = read(format!("{sound}{}", TOKENS.replace(part, other))).unwrap();
        let warnings = loaded.warnings.iter().map(ToString::to_string);
        warnings.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(warnings("", ""), "");
    let azures = warnings("api://gw", "https://cognitiveservices.azure.com");
    assert!(
        azures.contains("use an audience of the gateway's own"),
        "{azures}"
    );
    let unused = warnings(
        "clients:",
        "  cj: { url: \"https://cj.test\", audiences: [x] }\nclients:",
    );
    assert!(
        unused.contains("f.yaml:16:3: warning: no client shows")
            || unused.contains("no client uses this issuer's tokens"),
        "{unused}"
    );
}
