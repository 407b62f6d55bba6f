//! An error inside a stream that began with 200 is understood in every form that it has been seen in.

use forebay::simulator::{ErrorForm, ErrorType, FaultKind, StreamError};

use super::{
    check_rows,
    fixture::{OutcomeFixture, cases},
    row::{
        ForDeployment::{Closed, Fault, Nothing, SetAside},
        ForRequest::{Aborted, Delivered, Next, OnceMoreThenNext},
        Row, STREAMS, Shape,
    },
    rows::row,
};

/// The error's type, and the code that makes it known where the type isn't told.
const KINDS: [(ErrorType, &str); 5] = [
    (ErrorType::TooManyRequests, "rate_limit_exceeded"),
    (ErrorType::TooManyRequests, "no_capacity"),
    (ErrorType::ServerError, "server_error"),
    (ErrorType::Forbidden, "forbidden"),
    (ErrorType::UserError, "user_error"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_before_output_counts_as_the_status_that_it_names_in_every_form() {
    let pairs = ErrorForm::ALL
        .iter()
        .flat_map(|form| KINDS.map(|kind| (*form, kind)));
    let rows = pairs.map(|(form, (kind, code))| before_output(form, kind, code));
    let rows: Vec<Row> = rows.chain([spent_in_text()]).collect();
    check_rows(&rows).await;
}

/// Chats have one form: the same whatever `form` says.
fn before_output(form: ErrorForm, kind: ErrorType, code: &str) -> Row {
    let error = StreamError::new(kind, 1).in_form(form).with_code(code);
    let shapes = match form {
        ErrorForm::FailedThenError => STREAMS,
        _ => &[Shape::StreamedResponses][..],
    };
    // Of a text alone no more is known than that it failed.
    let known = if form == ErrorForm::FailedText {
        ErrorType::ServerError
    } else {
        kind
    };
    let wait = if code == "no_capacity" { 10.0 } else { 5.0 };
    let (request, outcome, after) = match known {
        ErrorType::TooManyRequests => (Next, "throttled", closed(wait)),
        ErrorType::ServerError => (Next, "fault_status", Fault),
        ErrorType::Forbidden => (
            OnceMoreThenNext,
            "identity_rejected",
            SetAside("credential"),
        ),
        ErrorType::UserError => (Delivered(200), "caller_error", Nothing),
    };
    Row {
        shapes,
        by_token: true,
        ..row(
            format!("{form:?}, {code}"),
            FaultKind::StreamError(error),
            request,
            outcome,
            after,
        )
    }
}

/// Nothing but a text, and a head that says that no requests are left.
fn spent_in_text() -> Row {
    let mut error = StreamError::new(ErrorType::TooManyRequests, 1).in_form(ErrorForm::FailedText);
    let head = [
        ("x-ratelimit-remaining-requests", "0"),
        ("retry-after", "53"),
    ];
    error
        .head
        .extend(head.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Row {
        shapes: &[Shape::StreamedResponses],
        ..row(
            "a text, and spent",
            FaultKind::StreamError(error),
            Next,
            "throttled",
            closed(53.0),
        )
    }
}

/// Its status is all that it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_without_a_body_counts_as_its_status() {
    let without = |status, outcome, request, after| {
        let fault = FaultKind::Status {
            status,
            headers: Default::default(),
            body: Some(String::new()),
        };
        Row {
            by_token: true,
            ..row(
                format!("{status} without a body"),
                fault,
                request,
                outcome,
                after,
            )
        }
    };
    let refused = SetAside("credential");
    check_rows(&[
        without(401, "identity_rejected", OnceMoreThenNext, refused),
        without(403, "identity_rejected", OnceMoreThenNext, refused),
        without(424, "fault_status", Next, Fault),
        without(500, "fault_status", Next, Fault),
        without(429, "throttled", Next, closed(10.0)),
    ])
    .await;
}

fn closed(seconds: f64) -> super::row::ForDeployment {
    Closed {
        seconds,
        off_by: 0.0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_after_output_never_ends_a_stream_cleanly() {
    let pairs = ErrorForm::ALL
        .iter()
        .flat_map(|form| KINDS.map(|kind| (*form, kind)));
    let rows = pairs.map(|(form, (kind, code))| {
        let error = StreamError::new(kind, 6).in_form(form).with_code(code);
        Row {
            shapes: STREAMS,
            ..row(
                format!("{form:?}, {code}"),
                FaultKind::StreamError(error),
                Aborted,
                "",
                Nothing,
            )
        }
    });
    let rows: Vec<Row> = rows.collect();
    let cases = cases(&rows);
    let fixture = OutcomeFixture::open(&cases).await;
    for case in &cases {
        let told = fixture.play(case).await.told.unwrap();
        let name = format!("{} {:?}: {told:?}", case.row.deployment, case.shape);
        let outputs = told.text.matches("delta").count();
        assert!(told.status == 200 && outputs > 0, "{name}");
        let errors = [
            "\"error\":{",
            "\"type\":\"error\"",
            "event: error",
            "response.failed",
        ];
        assert!(
            errors.iter().any(|error| told.text.contains(error)),
            "{name}"
        );
        assert!(told.broken && !case.is_whole(&told.text), "{name}");
        assert_eq!(
            ["first", "second"].map(|name| fixture.asked(name, case)),
            [1, 0],
            "{name}"
        );
    }
    let served = fixture.attempts(cases.len()).await;
    assert!(
        served.keys().all(|[.., outcome]| outcome != "served"),
        "{served:?}"
    );
}
