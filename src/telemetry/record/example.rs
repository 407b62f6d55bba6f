//! The record that tests and benches take for an example.
//!
//! The benches read this file as theirs (`benches/samples`), so that the library needs no code for them: what it names, it
//! has from the module it stands in.

use super::{
    AnswerEnd, AttemptRecord, Capacity, Duration, Method, Priority, Record, SystemTime, Usage,
    Version,
};

/// A chat that a throttled deployment passed on to another.
pub(crate) fn record() -> Record {
    let attempt = |instance: &str, outcome, status| AttemptRecord {
        instance: instance.into(),
        deployment: "gpt-4o".into(),
        capacity: Capacity::Standard,
        priority: Priority::FIRST,
        outcome,
        may_be_billed: false,
        spilled_to: None,
        status: Some(status),
        began: Duration::ZERO,
        took: Duration::from_millis(20),
        span: None,
    };
    Record {
        arrived: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        request_id: "r-1".into(),
        trace: None,
        client: Some("app".into()),
        model: Some("gpt-4o".into()),
        model_version: Some("2024-11-20".into()),
        operation: "chat",
        stream: true,
        method: Some(Method::POST),
        path: Some("/v1/chat/completions".into()),
        version: Version::HTTP_11,
        address: Some([127, 0, 0, 1].into()),
        client_address: Some([192, 0, 2, 1].into()),
        attempts: vec![
            attempt("east", "throttled", 429),
            attempt("west", "served", 200),
        ],
        refusal: None,
        detail: None,
        out_of_budget: false,
        status: Some(200),
        end: AnswerEnd::Complete,
        unreplayable: false,
        usage: Some(Usage {
            input: 30,
            cached: 10,
            output: 12,
            reasoning: 4,
            ..Usage::default()
        }),
        guess: None,
        cost: None,
        request_bytes: 1024,
        response_bytes: 2048,
        time_to_first_byte: Some(Duration::from_micros(41_500)),
        time_to_first_token: Some(Duration::from_micros(41_500)),
        duration: Duration::from_millis(900),
        overhead: Some(Duration::from_micros(120)),
    }
}
