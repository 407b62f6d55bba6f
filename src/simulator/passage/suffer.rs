//! What a fault does to a request on its way.

use std::{sync::Arc, time::Duration};

use http::{Response, StatusCode};

use super::{
    super::{
        body::{Body, Break, BrokenOff, How, Twist},
        books::Ending,
        deployment::Deployment,
        faults::FaultKind,
        refusal::Refusal,
        route::{Address, Route},
    },
    Passage,
};

/// What a fault left of a request.
pub(super) enum Suffered {
    Ended(End),
    /// It is answered, but not in the straight way.
    Twisted(Twist),
}

pub(super) enum End {
    Refused(Refusal),
    Broken(&'static str),
}

impl Passage {
    pub(super) fn break_early(
        mut self,
        fault: FaultKind,
        named: Option<Arc<Deployment>>,
    ) -> Result<Response<Body>, BrokenOff> {
        if let Some(deployment) = named {
            self.reach(&deployment);
        }
        match fault {
            FaultKind::EarlyStatus {
                status,
                headers,
                body,
            } => Ok(self.refuse(of_status(status, &headers, body))),
            other => {
                self.fate.reset_at_end();
                self.ended(End::Broken(other.label()))
            }
        }
    }

    pub(super) async fn suffer(&mut self, fault: FaultKind, address: Option<&Address>) -> Suffered {
        let label = fault.label();
        let breaks = |after_events, how| {
            Suffered::Twisted(Twist {
                delay: None,
                breaks: Some(Break { after_events, how }),
            })
        };
        match fault {
            FaultKind::Status {
                status,
                headers,
                body,
            }
            | FaultKind::EarlyStatus {
                status,
                headers,
                body,
            } => Suffered::Ended(End::Refused(of_status(status, &headers, body))),
            FaultKind::Throttle { seconds } => {
                let (operation, version) = match address {
                    Some(Address {
                        route: Route::Call { operation, .. },
                        api_version,
                        ..
                    }) => (operation.azure_name(), api_version.as_str()),
                    _ => ("Models_List", "v1"),
                };
                let wait = Duration::from_secs_f64(seconds);
                Suffered::Ended(End::Refused(Refusal::too_many(
                    "token", wait, operation, version,
                )))
            }
            FaultKind::Reset {} | FaultKind::ResetOnConnect {} => {
                self.fate.reset_at_end();
                Suffered::Ended(End::Broken(label))
            }
            FaultKind::Close {} => Suffered::Ended(End::Broken(label)),
            FaultKind::Hang {} => {
                self.visit.end(Ending::Fault(label));
                std::future::pending().await
            }
            FaultKind::SlowBody { delay_ms } => Suffered::Twisted(Twist {
                delay: Some(Duration::from_millis(delay_ms)),
                breaks: None,
            }),
            FaultKind::ResetMidStream { after_events } => breaks(after_events, How::Reset),
            FaultKind::CloseMidStream { after_events } => breaks(after_events, How::Close),
            FaultKind::StreamError {
                after_events,
                event,
            } => breaks(after_events, How::Error(event)),
        }
    }

    pub(super) fn ended(mut self, end: End) -> Result<Response<Body>, BrokenOff> {
        match end {
            End::Refused(refusal) => Ok(self.refuse(refusal)),
            End::Broken(label) => {
                self.visit.end(Ending::Fault(label));
                self.visit.finish();
                Err(BrokenOff)
            }
        }
    }
}

fn of_status(
    status: u16,
    headers: &std::collections::BTreeMap<String, String>,
    body: Option<String>,
) -> Refusal {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut refusal = Refusal::of_status(status);
    if let Some(body) = body {
        refusal.body = body;
    }
    let sendable =
        |(name, value): (&String, &String)| Some((name.parse().ok()?, value.parse().ok()?));
    refusal.headers.extend(headers.iter().filter_map(sendable));
    refusal
}
