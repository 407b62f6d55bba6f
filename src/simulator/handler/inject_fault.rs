//! Applies a fault to a request.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode, Version};

use super::{
    super::{
        deviation::{BreakKind, BreakPoint, Deviation},
        faults::FaultKind,
        recorder::Ending,
        refusal::{Called, Refusal},
    },
    responder::{EarlyEnd, Responder},
};

/// Carries out what a fault does, if there is one; who hangs never comes back from here. An answer that is given all the
/// same may depart from the straight way.
pub(super) async fn inject(
    responder: &mut Responder,
    fault: Option<FaultKind>,
    called: &Called<'_>,
    body: &[u8],
) -> Result<Deviation, EarlyEnd> {
    let Some(fault) = fault else {
        return Ok(Deviation::default());
    };
    let label = fault.label();
    responder.trace.note_fault(label);
    Err(match fault {
        FaultKind::Status {
            status,
            headers,
            body,
        }
        | FaultKind::EarlyStatus {
            status,
            headers,
            body,
        } => EarlyEnd::Refused(refusal_of(status, &headers, body)),
        FaultKind::Throttle { seconds } => {
            let wait = Duration::from_secs_f64(seconds);
            EarlyEnd::Refused(Refusal::too_many("token", wait, called))
        }
        FaultKind::ThrottleInWords { wording, seconds } => {
            EarlyEnd::Refused(Refusal::in_words(wording, seconds, called))
        }
        FaultKind::RejectStreamOptions {}
            if memchr::memmem::find(body, b"\"stream_options\"").is_some() =>
        {
            EarlyEnd::Refused(Refusal::unknown_argument("stream_options"))
        }
        FaultKind::NotDeployed {} => EarlyEnd::Refused(Refusal::no_deployment()),
        FaultKind::Reset {} | FaultKind::ResetOnConnect {} => {
            responder.fate.reset_at_end();
            EarlyEnd::Broken(label)
        }
        FaultKind::Close {} => EarlyEnd::Broken(label),
        FaultKind::Raw(raw) => {
            if responder.version < Version::HTTP_2 {
                responder.fate.answer_raw(raw);
            }
            EarlyEnd::Broken(label)
        }
        FaultKind::Hang {} => {
            responder.trace.end(Ending::Fault(label));
            std::future::pending().await
        }
        other => return Ok(deviation(responder, other)),
    })
}

/// What an answer that is given all the same departs by.
fn deviation(responder: &mut Responder, fault: FaultKind) -> Deviation {
    let breaks = |after_events, kind| Deviation {
        breaks: Some(BreakPoint { after_events, kind }),
        ..Deviation::default()
    };
    match fault {
        FaultKind::SlowBody { delay_ms } => Deviation {
            delay: Some(Duration::from_millis(delay_ms)),
            ..Deviation::default()
        },
        FaultKind::Silent { ms, after_events } => Deviation {
            silence: Some((after_events, Duration::from_millis(ms))),
            ..Deviation::default()
        },
        FaultKind::OddUsage { form } => Deviation {
            odd_usage: Some(form),
            ..Deviation::default()
        },
        FaultKind::ResetMidStream { after_events } => breaks(after_events, BreakKind::Reset),
        FaultKind::CloseMidStream { after_events } => breaks(after_events, BreakKind::Close),
        FaultKind::StreamError(error) => {
            responder.headers.extend(sendable(&error.head));
            breaks(error.after_events, BreakKind::Error(Box::new(error)))
        }
        _ => Deviation::default(),
    }
}

fn refusal_of(status: u16, headers: &BTreeMap<String, String>, body: Option<String>) -> Refusal {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut refusal = Refusal::of_status(status);
    refusal.body = body.unwrap_or(refusal.body);
    refusal.headers.extend(sendable(headers));
    refusal
}

fn sendable(
    headers: &BTreeMap<String, String>,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> + '_ {
    let headers = headers.iter();
    headers.filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)))
}
