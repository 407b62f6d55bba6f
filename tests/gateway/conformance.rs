//! The outcome table, run: what a deployment does, what that means for the request, what for the deployment.
//! `conf/README.md` shows the same rows.

mod config_files;
mod error_event_forms;
pub(crate) mod fixture;
mod half_open;
pub(crate) mod row;
pub(crate) mod rows;

use std::fmt::Write as _;

use futures_util::future::join_all;
use serde_json::Value;

use self::{
    fixture::{Case, ClientSaw, OutcomeFixture, Played, cases, is_left},
    row::{ForDeployment, ForRequest, Row, Shape},
    rows::{PAUSE, rows},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_holds_in_every_shape() {
    check_rows(&rows()).await;
}

/// Plays each row in each of its shapes and tells all that came out otherwise.
async fn check_rows(rows: &[Row]) {
    let cases = cases(rows);
    let fixture = OutcomeFixture::open(&cases).await;
    let mut wrong = Vec::new();
    for few in cases.chunks(16) {
        let played = join_all(few.iter().map(|case| fixture.play(case))).await;
        let states = fixture.states().await;
        for (case, played) in few.iter().zip(&played) {
            let found = [
                check_request(&fixture, case, played.told.as_ref()),
                check_deployment(case, &states[&case.model], played),
            ];
            wrong.extend(found.into_iter().filter_map(|found| {
                Some(format!(
                    "{}, {:?}: {}",
                    case.row.deployment,
                    case.shape,
                    found.err()?
                ))
            }));
        }
    }
    let attempts = fixture.attempts(cases.len()).await;
    for case in &cases {
        let expected = match case.row.request {
            ForRequest::OnceMoreThenNext => 2,
            _ => 1,
        };
        let first = attempts
            .iter()
            .filter(|([instance, model, _], _)| (instance, model) == (&case.first(), &case.model));
        let first: Vec<_> = first
            .map(|([.., outcome], number)| (outcome.as_str(), *number))
            .collect();
        if first != [(case.row.outcome, expected)] {
            wrong.push(format!(
                "{}, {:?}: counted as {first:?}",
                case.row.deployment, case.shape
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

/// Which deployments were asked how often, and what the client got.
fn check_request(
    fixture: &OutcomeFixture,
    case: &Case<'_>,
    told: Option<&ClientSaw>,
) -> Result<(), String> {
    let reached = u64::from(case.row.does.is_reached());
    let (asked, status, server) = match case.row.request {
        ForRequest::Delivered(status) => ([1, 0], status, "first"),
        ForRequest::Next => ([reached, 1], 200, "second"),
        ForRequest::OnceMoreThenNext => ([2, 1], 200, "second"),
        ForRequest::Aborted => ([1, 0], 200, "first"),
        ForRequest::Stopped => ([1, 0], 0, ""),
    };
    let were = ["first", "second"].map(|instance| fixture.asked(instance, case));
    if were != asked {
        return Err(format!("asked {were:?} times, not {asked:?}; {told:?}"));
    }
    let Some(told) = told else { return Ok(()) };
    let expected = match server {
        "first" => format!("{}/{}", case.first(), case.model),
        _ => format!("second/{}", case.model),
    };
    if (told.status, &told.deployment) != (status, &expected) {
        return Err(format!("not {status} of {expected}: {told:?}"));
    }
    check_text(case, told)
}

fn check_text(case: &Case<'_>, told: &ClientSaw) -> Result<(), String> {
    let whole = case.is_whole(&told.text);
    let has_error = told.text.contains("\"error\"");
    let streams = matches!(case.shape, Shape::StreamedChat | Shape::StreamedResponses);
    let right = match case.row.request {
        ForRequest::Aborted => told.broken && !whole && has_error == streams,
        ForRequest::Delivered(_) if case.row.outcome == "caller_error" => has_error && !told.broken,
        _ => whole && !told.broken && !has_error_event(&told.text),
    };
    right.then_some(()).ok_or_else(|| format!("{told:?}"))
}

fn has_error_event(text: &str) -> bool {
    text.contains("{\"error\"") || text.contains("event: error")
}

/// What `/status` says of the first deployment.
fn check_deployment(case: &Case<'_>, state: &Value, played: &Played) -> Result<(), String> {
    let told = |from, to, cause| (Some(from..=to), cause);
    if let ForDeployment::SetAsideFor(cause) = case.row.after {
        let told = &state["set_aside_for"][0];
        let left = is_left(&told["retry_in_seconds"], PAUSE..=PAUSE * 1.1, played.asked);
        let right = state["state"] == "closed" && told["cause"] == cause && left;
        return right.then_some(()).ok_or_else(|| state.to_string());
    }
    let (wait, cause) = match case.row.after {
        ForDeployment::Success | ForDeployment::Nothing | ForDeployment::Fault => (None, ""),
        ForDeployment::Closed { seconds: 0.0, .. } => (None, ""),
        ForDeployment::Closed { seconds, off_by } => told(seconds - off_by, seconds, "throttle"),
        ForDeployment::FaultAndClosed { seconds } => told(seconds, seconds, "fault"),
        ForDeployment::SetAside(cause) => told(PAUSE, PAUSE * 1.1, cause),
        ForDeployment::SetAsideFor(_) => unreachable!("told above"),
    };
    let right = match wait {
        None => {
            state["state"] == "closed"
                && state["available"] == true
                && state["retry_in_seconds"].is_null()
        }
        Some(wait) => {
            let left = &state["retry_in_seconds"];
            is_left(left, wait, played.asked) && (left.is_null() || state["cause"] == cause)
        }
    };
    right.then_some(()).ok_or_else(|| state.to_string())
}

#[test]
fn the_page_of_the_configuration_shows_the_same_rows() {
    let (page, table) = (include_str!("../../conf/README.md"), table(&rows()));
    assert!(
        page.contains(&table),
        "conf/README.md should have this table:\n\n{table}"
    );
}

/// What follows each other and means the same shares a line.
fn table(rows: &[Row]) -> String {
    let mut table =
        "| the deployment | for this request | for the deployment |\n| --- | --- | --- |\n"
            .to_owned();
    for same in rows.chunk_by(|one, next| one.meaning() == next.meaning()) {
        let does: Vec<_> = same.iter().map(|row| row.deployment.as_str()).collect();
        let (request, deployment) = same[0].meaning();
        writeln!(table, "| {} | {request} | {deployment} |", does.join("; ")).unwrap();
    }
    table
}
