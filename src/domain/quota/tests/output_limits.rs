//! How much output a client may ask for.

use super::*;

/// What a client with these limits may send of a body, and what is then sent.
fn judged(limits: Limits, operation: Operation, body: &str) -> Result<(String, Output), String> {
    let desk = Desk::own(limits);
    let allowance = desk.quotas.allowance_for(&"app".into()).unwrap();
    let bytes = body.as_bytes();
    let ask = Ask::read(Some("application/json"), bytes).map_err(|it| it.reason().to_owned())?;
    let wanted = allowance
        .rules()
        .judge(operation, &ask, bytes)
        .map_err(|it| it.reason().to_owned())?;
    let mut changes = wanted.changes;
    changes.extend(
        wanted
            .cap
            .and_then(|cap| cap.say(output::Field::MaxCompletionTokens, &ask)),
    );
    changes.sort_by_key(|change| Reverse(change.at.start));
    let mut sent = bytes.to_vec();
    for change in changes {
        sent.splice(change.at, change.with);
    }
    Ok((String::from_utf8(sent).unwrap(), wanted.output))
}

fn at_most(most: u64) -> Limits {
    Limits {
        max_output_tokens: Some(most),
        n: Some(4),
        best_of: Some(4),
        ..Limits::default()
    }
}

#[test]
fn more_output_than_a_client_may_have_is_asked_for_by_nobody() {
    let chat = |body: &str| judged(at_most(100), Operation::ChatCompletions, body);
    let cut = |body: &str, sent: &str, output: u64| {
        assert_eq!(
            chat(body),
            Ok((sent.to_owned(), Output::AtMost(output))),
            "{body}"
        );
    };
    cut(r#"{"max_tokens":50}"#, r#"{"max_tokens":50}"#, 50);
    cut(
        r#"{"max_tokens": 5000 ,"n":3}"#,
        r#"{"max_tokens": 100 ,"n":3}"#,
        300,
    );
    cut(
        r#"{"max_completion_tokens":101,"max_tokens":9}"#,
        r#"{"max_completion_tokens":100,"max_tokens":9}"#,
        100,
    );
    cut(
        r#"{"max_output_tokens":101}"#,
        r#"{"max_completion_tokens":100,"max_output_tokens":100}"#,
        100,
    );
    cut(
        r#"{"messages":[]}"#,
        r#"{"max_completion_tokens":100,"messages":[]}"#,
        100,
    );
    cut(
        r#"{"max_completion_tokens": null}"#,
        r#"{"max_completion_tokens": 100}"#,
        100,
    );
    cut(
        r#"{"m\u0061x_tokens":200}"#,
        r#"{"m\u0061x_tokens":100}"#,
        100,
    );
    // Azure multiplies by the drafts.
    cut(
        r#"{"max_tokens":10,"n":2,"best_of":4}"#,
        r#"{"max_tokens":10,"n":2,"best_of":4}"#,
        40,
    );
    let refusing = Limits {
        over_max_output_tokens: OverMaxOutput::Refuse,
        ..at_most(100)
    };
    let refused = judged(
        refusing,
        Operation::ChatCompletions,
        r#"{"max_tokens":101}"#,
    );
    assert_eq!(refused, Err("max_output_tokens_exceeded".into()));
}

#[test]
fn no_way_of_writing_a_number_gets_round_a_limit() {
    for value in [
        "\"50\"",
        "1e9",
        "50.0",
        "-1",
        "-0",
        "[50]",
        "{}",
        "true",
        "99999999999999999999999999",
        "1E400",
    ] {
        for field in [
            "max_tokens",
            "max_completion_tokens",
            "max_output_tokens",
            "n",
            "best_of",
        ] {
            let body = format!("{{\"{field}\":{value}}}");
            let read = judged(at_most(100), Operation::ChatCompletions, &body);
            assert_eq!(read, Err("unreadable_limit".into()), "{body}");
        }
    }
    for field in ["max_tokens", "n"] {
        let body = format!("{{\"{field}\":1,\"{field}\":900}}");
        let read = judged(at_most(100), Operation::ChatCompletions, &body);
        assert_eq!(read, Err("member_twice".into()), "{body}");
    }
    let more = |field| {
        judged(
            at_most(100),
            Operation::Completions,
            &format!("{{\"{field}\":5}}"),
        )
    };
    assert_eq!(more("n"), Err("n_exceeded".into()));
    assert_eq!(more("best_of"), Err("best_of_exceeded".into()));
}

#[test]
fn only_what_has_output_is_bounded_in_it() {
    let embeddings = judged(at_most(100), Operation::Embeddings, r#"{"input":"x"}"#);
    assert_eq!(
        embeddings,
        Ok((r#"{"input":"x"}"#.into(), Output::AtMost(0)))
    );
    let unbounded = judged(
        tokens_per_minute(9),
        Operation::ChatCompletions,
        r#"{"n":3}"#,
    );
    assert_eq!(
        unbounded,
        Ok((r#"{"n":3}"#.into(), usual(Operation::ChatCompletions, 3)))
    );
}
