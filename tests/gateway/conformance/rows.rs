//! The table: one row a line of what an attempt's end means, and one a source of a wait.

mod waits;

use std::collections::BTreeMap;

use forebay::simulator::{ErrorType, FaultKind, StreamError};
use serde_json::json;

use super::row::{
    ALL, Does,
    ForDeployment::{self, Closed, Fault, FaultAndClosed, Nothing, SetAside, SetAsideFor, Success},
    ForRequest::{self, Aborted, Delivered, Next, OnceMoreThenNext, Stopped},
    Row, STREAMS,
};
use crate::harness::status;

/// `breaker.longest_pause` of the table's gateway, in seconds.
pub(crate) const LONGEST_PAUSE: f64 = 100.0;
/// Its `breaker.pause`.
pub(crate) const PAUSE: f64 = 60.0;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = answers();
    rows.extend(refused());
    rows.extend(waits::waits());
    rows.extend(waits::words());
    rows.extend(faults());
    rows.extend(streams());
    rows.extend(ends());
    rows
}

/// A row whose deployment does this in every shape.
pub(crate) fn row(
    deployment: impl Into<String>,
    does: impl Into<Does>,
    request: ForRequest,
    outcome: &'static str,
    after: ForDeployment,
) -> Row {
    Row {
        deployment: deployment.into(),
        does: does.into(),
        shapes: ALL,
        request,
        outcome,
        after,
        by_token: false,
    }
}

/// An answer of this status that says this.
fn says(status: u16, error: serde_json::Value) -> FaultKind {
    FaultKind::Status {
        status,
        headers: BTreeMap::new(),
        body: Some(json!({ "error": error }).to_string()),
    }
}

fn closed(seconds: f64) -> ForDeployment {
    Closed {
        seconds,
        off_by: 0.0,
    }
}

/// What it answers is the caller's matter.
fn answers() -> Vec<Row> {
    let caller = |deployment, code| {
        let request = Delivered(code);
        row(
            deployment,
            status(code, &[]),
            request,
            "caller_error",
            Nothing,
        )
    };
    let moved = row(
        "a status of `more_statuses`",
        status(451, &[]),
        Next,
        "unwanted",
        Nothing,
    );
    let id = says(
        404,
        json!({"code": null, "message": "Response with id 'resp_1' not found."}),
    );
    let tool = says(
        424,
        json!({"message": "Error retrieving tool list from MCP server: 'x'.", "type": "external_connector_error", "code": "http_error"}),
    );
    let filter = says(
        400,
        json!({"code": "content_filter", "message": "…", "status": 400}),
    );
    vec![
        row("2xx", Does::Well, Delivered(200), "served", Success),
        caller("400", 400),
        row(
            "400 `content_filter`",
            filter,
            Delivered(400),
            "caller_error",
            Nothing,
        ),
        row("404 of an id", id, Delivered(404), "caller_error", Nothing),
        caller("409", 409),
        caller("413", 413),
        caller("422", 422),
        caller("any other 4xx", 418),
        row(
            "424 `external_connector_error`: the client's own tool",
            tool,
            Delivered(424),
            "caller_error",
            Nothing,
        ),
        moved,
    ]
}

/// Its answer shows that the gateway is set up wrongly for it.
fn refused() -> Vec<Row> {
    let refused = |deployment, code, by_token, request| Row {
        by_token,
        ..row(
            deployment,
            status(code, &[]),
            request,
            "identity_rejected",
            SetAside("credential"),
        )
    };
    let absent = FaultKind::NotDeployed {};
    let denied = json!({"code": "PermissionDenied", "message": "The principal `x` lacks the required data action `…`"});
    let tenant = json!({"code": "Tenant provided in token does not match resource token", "message": "Token tenant 1 does not match resource tenant."});
    let subdomain = json!({"code": "BadRequest", "message": "Please provide a custom subdomain for token authentication, otherwise API key is required."});
    let unfit = |deployment, error| {
        let aside = SetAside("credential");
        row(
            deployment,
            says(400, error),
            Next,
            "identity_rejected",
            aside,
        )
    };
    let redirects = |code: u16| {
        let to = [("location", "http://elsewhere.example/openai")];
        let aside = SetAside("configuration");
        row(
            code.to_string(),
            status(code, &to),
            Next,
            "redirected",
            aside,
        )
    };
    vec![
        unfit("400 that the token is of another tenant", tenant),
        unfit("400 that a token needs a custom subdomain", subdomain),
        refused("401", 401, true, OnceMoreThenNext),
        refused("403", 403, true, OnceMoreThenNext),
        refused(
            "401 or 403 where the credential is an api-key",
            401,
            false,
            Next,
        ),
        row(
            "401 or 403 `PermissionDenied`",
            says(401, denied),
            Next,
            "operation_rejected",
            SetAsideFor("credential"),
        ),
        row(
            "404 `Resource not found`, where the next serves",
            status(404, &[]),
            Next,
            "not_found",
            SetAsideFor("configuration"),
        ),
        redirects(301),
        redirects(302),
        redirects(307),
        redirects(308),
        row(
            "407",
            status(407, &[]),
            Next,
            "not_the_api",
            SetAside("configuration"),
        ),
        row(
            "200 with a web page (HTML or XML)",
            status(200, &[("content-type", "text/html")]),
            Next,
            "not_the_api",
            SetAside("configuration"),
        ),
        row(
            "404 `DeploymentNotFound`, where the next serves",
            absent,
            Next,
            "not_deployed",
            SetAside("configuration"),
        ),
    ]
}

fn faults() -> Vec<Row> {
    let fault = |deployment: &str, does: Does, outcome| row(deployment, does, Next, outcome, Fault);
    let mut rows = vec![fault(
        "408, where the next serves",
        status(408, &[]).into(),
        "fault_timeout",
    )];
    rows.extend([424, 500, 502, 503, 504].map(|code| {
        let deployment = format!("{code}, where the next serves");
        fault(&deployment, status(code, &[]).into(), "fault_status")
    }));
    let told = FaultAndClosed { seconds: 44.0 };
    let says = status(503, &[("retry-after", "44")]);
    rows.push(row(
        "503, `retry-after: 44`",
        says,
        Next,
        "fault_status",
        told,
    ));
    rows.extend([
        fault("no connection", Does::Gone, "fault_connect"),
        fault(
            "a name that can't be resolved",
            Does::NoName,
            "fault_connect",
        ),
        fault("no TLS", Does::NoTls, "fault_connect"),
        fault(
            "a reset before its answer",
            FaultKind::Reset {}.into(),
            "fault_reset",
        ),
        fault(
            "a close before its answer",
            FaultKind::Close {}.into(),
            "fault_reset",
        ),
        fault(
            "silence until `first_byte_timeout` or `unstreamed_timeout`",
            FaultKind::Hang {}.into(),
            "fault_silence",
        ),
    ]);
    rows
}

/// A 200 whose stream begins with an error, behind the one event that comes first and has no output.
fn streams() -> Vec<Row> {
    let row = |deployment: &str, error, request, outcome, after| Row {
        shapes: STREAMS,
        by_token: true,
        ..row(
            format!("200, {deployment}"),
            FaultKind::StreamError(error),
            request,
            outcome,
            after,
        )
    };
    let full =
        |deployment, error, seconds| row(deployment, error, Next, "throttled", closed(seconds));
    let plain = |kind| StreamError::new(kind, 1);
    let wait = |seconds: &str| BTreeMap::from([("retry-after".to_owned(), seconds.to_owned())]);
    let throttled = plain(ErrorType::TooManyRequests);
    let in_head = StreamError {
        head: wait("51"),
        ..throttled.clone()
    };
    let in_event = StreamError {
        headers: wait("52"),
        ..throttled.clone()
    };
    let refused = SetAside("credential");
    vec![
        full(
            "`retry-after: 51`, and `too_many_requests` in the stream before output",
            in_head,
            51.0,
        ),
        full(
            "`too_many_requests` before output, `retry-after: 52` in the event's `headers`",
            in_event,
            52.0,
        ),
        full(
            "`too_many_requests` before output, \"… Try again in 5 seconds.\"",
            throttled,
            5.0,
        ),
        row(
            "a code of the request's own before output, as `invalid_image_url`",
            plain(ErrorType::ServerError).with_code("invalid_image_url"),
            Delivered(200),
            "caller_error",
            Nothing,
        ),
        row(
            "`PermissionDenied` before output",
            plain(ErrorType::Forbidden).with_code("PermissionDenied"),
            Next,
            "operation_rejected",
            SetAsideFor("credential"),
        ),
        row(
            "`server_error` before output, where the next serves",
            plain(ErrorType::ServerError),
            Next,
            "fault_status",
            Fault,
        ),
        row(
            "`forbidden` before output",
            plain(ErrorType::Forbidden),
            OnceMoreThenNext,
            "identity_rejected",
            refused,
        ),
        row(
            "`user_error` before output",
            plain(ErrorType::UserError),
            Delivered(200),
            "caller_error",
            Nothing,
        ),
    ]
}

/// What can't be mended any more.
fn ends() -> Vec<Row> {
    let breaks = FaultKind::ResetMidStream { after_events: 6 };
    vec![
        row(
            "200, broken off after output",
            breaks,
            Aborted,
            "fault_broken",
            Fault,
        ),
        row(
            "its client goes away",
            Does::LosesItsClient,
            Stopped,
            "client_left",
            Nothing,
        ),
    ]
}
