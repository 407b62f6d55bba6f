//! What a fault does to a request on its way.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Response, StatusCode, Version};

use super::{
    super::{
        body::{Body, Break, BrokenOff, How, Twist},
        books::Ending,
        deployment::Deployment,
        faults::FaultKind,
        refusal::{Called, Refusal},
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

impl Suffered {
    fn refused(refusal: Refusal) -> Self {
        Self::Ended(End::Refused(refusal))
    }
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
        self.visit.strike(fault.label());
        match fault {
            FaultKind::EarlyStatus {
                status,
                headers,
                body,
            } => Ok(self.refuse(of_status(status, &headers, body))),
            other => {
                self.fate.reset_at_end();
                self.broken(other.label())
            }
        }
    }

    pub(super) async fn suffer(
        &mut self,
        fault: FaultKind,
        called: &Called<'_>,
        body: &[u8],
    ) -> Suffered {
        let label = fault.label();
        self.visit.strike(label);
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
            } => Suffered::refused(of_status(status, &headers, body)),
            FaultKind::Throttle { seconds } => {
                let wait = Duration::from_secs_f64(seconds);
                Suffered::refused(Refusal::too_many("token", wait, called))
            }
            FaultKind::ThrottleInWords { wording, seconds } => {
                Suffered::refused(Refusal::in_words(wording, seconds, called))
            }
            FaultKind::RejectStreamOptions {}
                if memchr::memmem::find(body, b"\"stream_options\"").is_some() =>
            {
                Suffered::refused(Refusal::unknown_argument("stream_options"))
            }
            FaultKind::NotDeployed {} => Suffered::refused(Refusal::no_deployment()),
            FaultKind::Reset {} | FaultKind::ResetOnConnect {} => {
                self.fate.reset_at_end();
                Suffered::Ended(End::Broken(label))
            }
            FaultKind::Close {} => Suffered::Ended(End::Broken(label)),
            FaultKind::Raw(raw) => {
                if self.version < Version::HTTP_2 {
                    self.fate.answer_raw(raw);
                }
                Suffered::Ended(End::Broken(label))
            }
            FaultKind::Hang {} => {
                self.visit.end(Ending::Fault(label));
                std::future::pending().await
            }
            other => Suffered::Twisted(self.twist(other)),
        }
    }

    /// What an answer that is given all the same departs by.
    fn twist(&mut self, fault: FaultKind) -> Twist {
        let breaks = |after_events, how| Twist {
            breaks: Some(Break { after_events, how }),
            ..Twist::default()
        };
        match fault {
            FaultKind::SlowBody { delay_ms } => Twist {
                delay: Some(Duration::from_millis(delay_ms)),
                ..Twist::default()
            },
            FaultKind::Silent { ms, after_events } => Twist {
                silence: Some((after_events, Duration::from_millis(ms))),
                ..Twist::default()
            },
            FaultKind::OddUsage { form } => Twist {
                odd_usage: Some(form),
                ..Twist::default()
            },
            FaultKind::ResetMidStream { after_events } => breaks(after_events, How::Reset),
            FaultKind::CloseMidStream { after_events } => breaks(after_events, How::Close),
            FaultKind::StreamError(error) => {
                self.headers.extend(sendable(&error.head));
                breaks(error.after_events, How::Error(Box::new(error)))
            }
            _ => Twist::default(),
        }
    }

    pub(super) fn broken(mut self, label: &'static str) -> Result<Response<Body>, BrokenOff> {
        self.visit.end(Ending::Fault(label));
        self.visit.finish();
        Err(BrokenOff)
    }
}

fn of_status(status: u16, headers: &BTreeMap<String, String>, body: Option<String>) -> Refusal {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut refusal = Refusal::of_status(status);
    if let Some(body) = body {
        refusal.body = body;
    }
    refusal.headers.extend(sendable(headers));
    refusal
}

fn sendable(
    headers: &BTreeMap<String, String>,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> + '_ {
    let headers = headers.iter();
    headers.filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)))
}
