//! One request's whole story, from arrival to its record.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::HeaderValue;
use pingora::{Error, ErrorType, Result};

use super::{
    admission::Limits,
    attempt::{News, Over, Position},
    drain::Guest,
    model_backend::ModelBackend,
    prompt_tokens::PromptTokens,
    request_id::request_id,
    walk::Walk,
};
use crate::{
    domain::{
        client::Client, failover::Step, outcome::Outcome, refusal::Refusal, route::Operation,
        trace::Trace,
    },
    telemetry::{
        metrics::InFlight,
        record::{AnswerEnd, AttemptRecord},
    },
};

/// The state that Pingora carries from hook to hook.
pub struct Exchange {
    pub(super) arrival: Arrival,
    pub(super) asked: Asked,
    pub(super) stage: Stage,
    /// Our own no, if it came to that.
    pub(super) refusal: Option<Refusal>,
    pub(super) delivery: Delivery,
    pub(super) overhead: Overhead,
    /// What counts it as being served.
    pub(super) guest: Option<(Guest, InFlight)>,
}

/// What is known of a request as soon as its head has come.
pub(super) struct Arrival {
    pub(super) at: Instant,
    pub(super) wall: SystemTime,
    /// What operators find the request by.
    pub(super) request_id: Arc<str>,
    /// Where it stands in its trace; `None`: traces are sent nowhere.
    pub(super) trace: Option<Box<Trace>>,
    /// As Front Door saw it.
    pub(super) client_address: Option<IpAddr>,
    /// Of the web page that asks, and may.
    pub(super) origin: Option<Box<HeaderValue>>,
}

/// What the intake finds out, as far as it comes: the record says it of refused requests too.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) client: Option<Arc<Client>>,
    pub(super) limits: Limits,
    pub(super) operation: Option<Operation>,
    /// The model asked for, once it is known to be one of ours.
    pub(super) served: Option<Arc<ModelBackend>>,
    /// Of its body, as far as it is kept.
    pub(super) body_bytes: u64,
}

/// How far it has come. What exists only after admission lives only there.
pub(super) enum Stage {
    Arrived,
    /// Answered by the gateway itself.
    Answered,
    Admitted(Box<Admitted>),
}

/// A request on its way to a deployment.
pub(super) struct Admitted {
    pub(super) walk: Walk,
    pub(super) position: Position,
    /// How many tokens its prompt is, by estimate.
    pub(super) prompt: PromptTokens,
    /// Attempts that are over, in the order in which they were made.
    pub(super) lines: Vec<AttemptRecord>,
    /// The retry budget did not allow a further move.
    pub(super) out_of_budget: bool,
}

/// An exchange whose request goes to deployments.
pub(super) struct Proxied<'a> {
    pub(super) arrival: &'a Arrival,
    pub(super) limits: &'a Limits,
    pub(super) admitted: &'a mut Admitted,
    pub(super) delivery: &'a mut Delivery,
    pub(super) overhead: &'a mut Overhead,
    pub(super) refusal: &'a mut Option<Refusal>,
}

/// What the client gets, and when.
pub(super) struct Delivery {
    pub(super) bytes: u64,
    pub(super) first_byte: Option<Duration>,
    /// When a stream's first output came.
    pub(super) first_token: Option<Duration>,
    pub(super) end: AnswerEnd,
    /// The deployment itself said in its stream that it failed.
    pub(super) is_failure_told: bool,
}

impl Exchange {
    pub(super) fn new() -> Self {
        let at = Instant::now();
        Self {
            arrival: Arrival {
                at,
                wall: SystemTime::now(),
                request_id: request_id(),
                trace: None,
                client_address: None,
                origin: None,
            },
            asked: Asked::default(),
            stage: Stage::Arrived,
            refusal: None,
            delivery: Delivery {
                bytes: 0,
                first_byte: None,
                first_token: None,
                end: AnswerEnd::Complete,
                is_failure_told: false,
            },
            overhead: Overhead {
                spent: Duration::ZERO,
                since: Some(at),
            },
            guest: None,
        }
    }

    /// What the hooks work on once it goes to deployments.
    pub(super) fn proxied(&mut self) -> Option<Proxied<'_>> {
        let Stage::Admitted(admitted) = &mut self.stage else {
            return None;
        };
        Some(Proxied {
            arrival: &self.arrival,
            limits: &self.asked.limits,
            admitted,
            delivery: &mut self.delivery,
            overhead: &mut self.overhead,
            refusal: &mut self.refusal,
        })
    }

    /// The same, for hooks that Pingora calls of no other request.
    pub(super) fn forwarded(&mut self) -> Result<Proxied<'_>> {
        let not_admitted = || Error::explain(ErrorType::InternalError, "not admitted");
        self.proxied().ok_or_else(not_admitted)
    }
}

impl Proxied<'_> {
    /// Takes in that an attempt is over, and nothing of it goes out.
    pub(super) fn follow(&mut self, over: Over) -> Step {
        let Over { step, again, news } = over;
        self.admitted.note(news);
        // What had come of an answer that was held.
        self.delivery.bytes = 0;
        match again {
            Some(again) => self.admitted.position = Position::Again(again),
            None => self.overhead.start(),
        }
        if step == Step::GiveUp {
            *self.refusal = Some(self.admitted.walk.last_word(Instant::now()));
        }
        step
    }
}

impl Admitted {
    pub(super) fn new(walk: Walk, prompt: PromptTokens) -> Self {
        Self {
            walk,
            position: Position::Choosing,
            prompt,
            lines: Vec::new(),
            out_of_budget: false,
        }
    }

    /// What is under way ends, and no other attempt takes its place.
    pub(super) fn close(&mut self, outcome: &Outcome) {
        let news = self.position.close(outcome, &mut self.walk);
        self.note(news);
    }

    /// Writes down how an attempt ended, and tells operators what that changed.
    pub(super) fn note(&mut self, news: News) {
        let served = &self.walk.call.served;
        for (index, transition, at) in news.changes.iter() {
            served.announce(&served.pool.members()[index], transition, at);
        }
        self.lines.extend(news.line);
        self.out_of_budget |= news.out_of_budget;
    }
}

/// The gateway's own share of a request's time: all of it but what a client or a deployment was waited for.
pub(super) struct Overhead {
    /// Up to when it was last stopped.
    spent: Duration,
    /// Since when the time is the gateway's own; `None` while somebody is waited for.
    since: Option<Instant>,
}

impl Overhead {
    /// From here on a client or a deployment is waited for.
    pub(super) fn stop(&mut self) {
        if let Some(since) = self.since.take() {
            self.spent += since.elapsed();
        }
    }

    /// From here on the time is the gateway's own again.
    pub(super) fn start(&mut self) {
        self.since = Some(Instant::now());
    }

    pub(super) fn so_far(&self) -> Duration {
        self.spent + self.since.map(|since| since.elapsed()).unwrap_or_default()
    }
}
