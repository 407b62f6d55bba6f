//! A request on its way, of whose answer no final head has come.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use pingora::http::ResponseHeader;

use super::{
    additions::Additions,
    answer::AttemptAnswer,
    held::HeldAnswer,
    turn::{Head, Turn},
    unanswered::{Unanswered, Waited},
};
use crate::{
    domain::spillover::Spillover,
    proxy::{metering::AnswerMeter, walk::Walk},
    telemetry::metrics::DeploymentMetrics,
};

// What a deployment says of itself in passing (wire facts: Response headers).
const UTILIZATION: HeaderName = HeaderName::from_static("azure-openai-deployment-utilization");
const REMAINING_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-tokens");
const REMAINING_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const SERVED_BY: HeaderName = HeaderName::from_static("x-ms-deployment-name");
/// What a deployment says of names goes into the log no longer than this, in bytes.
const LONGEST_NAME: usize = 128;

pub(crate) struct Sent {
    pub(super) turn: Turn,
    /// Our credential as it was sent.
    pub(super) credential: HeaderValue,
    pub(super) generation: u64,
    pub(super) added: Additions,
    pub(super) waited: Waited,
}

impl Sent {
    /// Something of an answer has come, be it no more than that it will.
    pub(crate) fn note_heard(&mut self) {
        self.waited.was_heard = true;
    }

    /// Its answer's head has come. What it means is not known yet.
    pub(crate) fn answered(mut self, head: &ResponseHeader, walk: &mut Walk) -> HeldAnswer {
        let status = head.status.as_u16();
        let is_suspect = self.turn.chosen.answered(status);
        let (spillover, spilled_to) = self.read_spillover(head, walk);
        HeldAnswer(AttemptAnswer {
            turn: self.turn,
            credential: self.credential,
            added: self.added,
            head: Head {
                status,
                is_suspect,
                spillover,
                spilled_to,
            },
            reading: AnswerMeter::for_head(walk.call.operation, head),
        })
    }

    /// Takes in what the head says of Azure's own spillover, and of the limits of whoever answered.
    fn read_spillover(
        &self,
        head: &ResponseHeader,
        walk: &mut Walk,
    ) -> (Option<Spillover>, Option<Arc<str>>) {
        let targets = &walk.call.served.targets;
        let metrics = &self.turn.target(&walk.call).metrics;
        let spillover = Spillover::read(&head.headers);
        if !matches!(spillover, Some(Spillover::Answered { .. })) {
            read_gauges(metrics, head);
            return (spillover, None);
        }
        metrics.count_spillover();
        let spilled_to = served_by(head);
        if let Some(name) = spilled_to {
            self.turn.chosen.note_spill(name);
        }
        // What is left is the other one's.
        if let Some(index) = self.turn.chosen.spills_to() {
            // Before anything is decided: where nobody else is left, the answer is the client's.
            walk.progress.note_spilled(index);
            read_gauges(&targets[index].metrics, head);
        }
        (spillover, spilled_to.map(Into::into))
    }

    /// Its connection has ended.
    pub(crate) fn cut_off(self) -> Unanswered {
        Unanswered {
            turn: self.turn,
            credential: self.credential,
            generation: self.generation,
            sent: Some(self.waited),
        }
    }
}

/// How busy it is, and what is left of its limits.
fn read_gauges(metrics: &DeploymentMetrics, head: &ResponseHeader) {
    if let Some(percent) = text(head, UTILIZATION)
        && let Ok(percent) = percent.trim_end_matches('%').parse::<f64>()
        && percent.is_finite()
    {
        metrics.say_utilization(percent / 100.0);
    }
    let number = |name| text(head, name).and_then(|number| number.parse().ok());
    if let Some(tokens) = number(REMAINING_TOKENS) {
        metrics.say_remaining_tokens(tokens);
    }
    if let Some(requests) = number(REMAINING_REQUESTS) {
        metrics.say_remaining_requests(requests);
    }
}

/// Who served in the deployment's place.
fn served_by(head: &ResponseHeader) -> Option<&str> {
    let name = head.headers.get(SERVED_BY)?.to_str().ok()?;
    (name.len() <= LONGEST_NAME).then_some(name)
}

fn text(head: &ResponseHeader, name: HeaderName) -> Option<&str> {
    Some(head.headers.get(name)?.to_str().ok()?.trim())
}
