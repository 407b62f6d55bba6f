//! What stays of a prompt, and what never does.

use super::*;

fn redaction(patterns: &[&str]) -> Redaction {
    Redaction::new(patterns.iter().map(|text| Pattern::parse(text).unwrap()))
}

fn mails() -> Redaction {
    redaction(&[r"[a-z.]+@[a-z.]+", r"\b\d{4}(?:[ -]?\d{4}){3}\b"])
}

fn kept(body: &str) -> String {
    let excerpt = mails().json(body.as_bytes(), usize::MAX).unwrap();
    assert!(!excerpt.is_cut);
    excerpt.text
}

#[test]
fn what_a_pattern_finds_is_taken_out_of_strings_keys_and_numbers() {
    for (body, left) in [
        (
            r#"{"a": "write to jo@x.org, please"}"#,
            r#"{"a": "write to [redacted], please"}"#,
        ),
        (r#"{"jo@x.org":1}"#, r#"{"[redacted]":1}"#),
        (
            r#"[4111111111111111, -1.5e3,true]"#,
            r#"["[redacted]", -1.5e3,true]"#,
        ),
        (r#"["4111 1111-1111 1111"]"#, r#"["[redacted]"]"#),
        (r#"["a@b.c","d@e.f"]"#, r#"["[redacted]","[redacted]"]"#),
    ] {
        assert_eq!(kept(body), left);
    }
}

#[test]
fn credentials_that_a_request_hands_on_are_never_kept() {
    let open = Redaction::default();
    for (body, left) in [
        (
            r#"{"tools":[{"type":"mcp","server_label":"x","authorization":"Bearer S3","headers":{"x-key":"S3","n":[1,"}"]}}],"a":1}"#,
            r#"{"tools":[{"type":"mcp","server_label":"x","authorization":"[redacted]","headers":"[redacted]"}],"a":1}"#,
        ),
        (
            r#"{"data_sources":[{"type":"azure_search","parameters":{"endpoint":"https://s","authentication":{"type":"api_key","key":"S3"},"index_name":"i"}}],"key":"k"}"#,
            r#"{"data_sources":[{"type":"azure_search","parameters":{"endpoint":"https://s","authentication":"[redacted]","index_name":"i"}}],"key":"k"}"#,
        ),
        (
            r#"{"dataSources":[{"parameters":{"key" : "S3","embeddingKey":"S3"}}],"key":"k"}"#,
            r#"{"dataSources":[{"parameters":{"key" : "[redacted]","embeddingKey":"[redacted]"}}],"key":"k"}"#,
        ),
        // However it is spelled.
        (
            r#"{"\u0041uthorization":"S3"}"#,
            r#"{"\u0041uthorization":"[redacted]"}"#,
        ),
        (
            r#"{"API-Key":"S3","apiKey":["S3"]}"#,
            r#"{"API-Key":"[redacted]","apiKey":"[redacted]"}"#,
        ),
        (
            r#"{"connection_string":"S3;\"x"} "#,
            r#"{"connection_string":"[redacted]"} "#,
        ),
        (
            r#"{"authorization":null,"headers":7}"#,
            r#"{"authorization":null,"headers":"[redacted]"}"#,
        ),
        (
            r#"{"server_url":"https://h/sse?token=S3","image_url":{"url":"https://h/a.png?sig=S3&x"}}"#,
            r#"{"server_url":"https://h/sse?[redacted]","image_url":{"url":"https://h/a.png?[redacted]"}}"#,
        ),
        (r#"{"url":"https://u:S3@h/x"}"#, r#"{"url":"[redacted]"}"#),
        // What was cut off.
        (
            r#"{"authorization":"S3"#,
            r#"{"authorization":"[redacted]""#,
        ),
        (r#"{"headers":{"a":"S3","#, r#"{"headers":"[redacted]""#),
        (r#"{"headers":"#, r#"{"headers":"#),
    ] {
        let kept = open.json(body.as_bytes(), usize::MAX).unwrap();
        assert_eq!(kept.text, left, "{body}");
    }
    for body in [
        r#"{"messages":[{"content":"my authorization: none"}],"url":"https://h/x","image_url":"data:image/png;base64,AA"}"#,
        r#"["authorization","key",{"authorizations":"x","header":"y","content":"a?b"}]"#,
    ] {
        let kept = open.json(body.as_bytes(), usize::MAX).unwrap();
        assert_eq!(kept.text, body);
    }
}

#[test]
fn no_escape_hides_anything() {
    for body in [
        r#"["jo\u0040x.org"]"#,
        r#"["\u006a\u006F@x.org"]"#,
        // The arguments of a tool: JSON in a string, and once more in one.
        r#"["{\"to\":\"jo@x.org\"}"]"#,
        r#"["{\"to\":\"jo\\u0040x.org\"}"]"#,
        r#"["{\"to\":\"{\\\"to\\\":\\\"jo\\\\u0040x.org\\\"}\"}"]"#,
    ] {
        let kept = kept(body);
        assert!(
            kept.contains("[redacted]") && !kept.contains("x.org"),
            "{kept}"
        );
        assert!(
            serde_json::from_str::<serde_json::Value>(&kept).is_ok(),
            "{kept}"
        );
    }
}

#[test]
fn what_no_pattern_finds_stays_as_it_was_spelled() {
    for body in [
        r#"{ "a" : "\u00e9 \ud83d\ude00 C:\\users\\x \/ \q", "b":[1.50, null,false ] }"#,
        "{\"a\":\"é😀\"}\r\n",
        "",
    ] {
        assert_eq!(kept(body), body);
    }
}

#[test]
fn escapes_mean_what_json_says() {
    assert_eq!(unescaped(r#"\ud83d\ude00\n\"\u00E9"#), "😀\n\"é");
    assert_eq!(
        unescaped(r"\ud83d x \u12 \+123 \"),
        "\u{fffd} x \\u12 \\+123 \\"
    );
}

#[test]
fn a_body_that_is_no_json_is_not_kept() {
    for body in [
        &b"hello jo@x.org"[..],
        b"--boundary\r\n",
        b"{\"a\":nix}",
        b"\xff",
    ] {
        assert_eq!(mails().json(body, 100), None);
    }
    let lossy = mails().json(b"[\"\xffjo@x.org\"]", 100).unwrap();
    assert_eq!(lossy.text, "[\"\u{fffd}[redacted]\"]");
}

#[test]
fn what_is_too_long_is_cut_between_characters_after_redaction() {
    let cut = |body: &str, most| mails().json(body.as_bytes(), most).unwrap();
    let excerpt = cut(r#"["éé"]"#, 5);
    assert_eq!((excerpt.text.as_str(), excerpt.is_cut), ("[\"é", true));
    // The cut would leave `jo@x`, which no pattern finds any more.
    assert_eq!(cut(r#"["jo@x.org"]"#, 6).text, "[\"[red");
    assert!(!cut("[1]", 3).is_cut && cut("[1]", 2).is_cut);
}

#[test]
fn a_text_that_was_not_kept_to_its_end_loses_what_may_begin_a_match() {
    let body = format!(r#"{{"a":"{}jo@"#, "x ".repeat(400));
    let excerpt = mails().json(body.as_bytes(), usize::MAX).unwrap();
    assert!(!excerpt.text.contains("jo"));
    assert_eq!(excerpt.text.len(), body.len() - MARGIN);
    // Without patterns all of it stays, half an escape too.
    let open = Redaction::default();
    assert_eq!(open.json(br#"["a\u00"#, 99).unwrap().text, r#"["a\\u00"#);
    assert_eq!(open.json(b"[tr", 99).unwrap().text, "[tr");
}

#[test]
fn a_pattern_that_is_none_says_why() {
    let said = |text: &str| Pattern::parse(text).unwrap_err().to_string();
    assert!(
        said("[a-").contains("unclosed character class"),
        "{}",
        said("[a-")
    );
    assert!(said("(a").contains("unclosed group"));
    assert!(said("x*").contains("matches the empty string"));
    assert!(said(r"\w{1000}{1000}").contains("too large"));
}

proptest::proptest! {
    #[test]
    fn no_way_to_spell_an_address_keeps_it(
        spelled in proptest::collection::vec(0u8..3, 8), before in "[^\u{0}]{0,8}",
    ) {
        let inner: String = "jo@x.org".chars().zip(&spelled).map(|(c, how)| match how {
            0 => c.to_string(),
            1 => format!("\\u{:04x}", u32::from(c)),
            _ => format!("\\u{:04X}", u32::from(c)),
        }).collect();
        let prefix = serde_json::to_string(&before).unwrap();
        let body = format!("[{}{inner}\"]", &prefix[..prefix.len() - 1]);
        let kept = mails().json(body.as_bytes(), usize::MAX).unwrap().text;
        let meant: Vec<String> = serde_json::from_str(&kept).unwrap();
        assert!(!meant[0].contains("jo@x.org"), "{kept}");
    }
}
