//! One request's whole story, from arrival to its record.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderName, HeaderValue};

use super::{
    drain::Guest,
    metering::Reading,
    named::Named,
    prompt::Prompt,
    request_id::request_id,
    served::{Served, Target},
    session::Relay,
};
use crate::{
    domain::{
        additions::{Form, RefusedForms},
        ask::Ask,
        breaker::Transition,
        client::Client,
        deployment::Instance,
        failover::Progress,
        name::ModelName,
        outcome::{Blame, Fault, Outcome},
        pool::{Attempt, Charged, Failure, Suspicions},
        quota::{Allowance, Field, Reservation, Wanted},
        refusal::Refusal,
        route::{Dialect, Operation},
        spillover::Spillover,
        trace::{SpanId, Trace},
        usage::{Guess, Usage},
    },
    telemetry::{
        metrics::InFlight,
        record::{AttemptRecord, End},
    },
};

/// The state that Pingora carries from hook to hook.
pub struct Exchange {
    pub(super) arrived: Instant,
    pub(super) arrived_at: SystemTime,
    /// What operators find the request by.
    pub(super) request_id: Arc<str>,
    /// Where it stands in its trace; `None`: traces are sent nowhere.
    pub(super) trace: Option<Box<Trace>>,
    /// As Front Door saw it.
    pub(super) client_address: Option<IpAddr>,
    /// Of the web page that asks, and may.
    pub(super) origin: Option<Box<HeaderValue>>,
    pub(super) client: Option<Arc<Client>>,
    /// Its part in the limits; `None`: it has none.
    pub(super) allowance: Option<Allowance>,
    /// What is taken of them for this request.
    pub(super) reservation: Option<Reservation>,
    pub(super) operation: Option<Operation>,
    /// The model asked for, once it is known to be one of ours.
    pub(super) model: Option<ModelName>,
    pub(super) model_version: Option<Arc<str>>,
    pub(super) stage: Stage,
    pub(super) attempts: Vec<AttemptRecord>,
    pub(super) refusal: Option<Refusal>,
    /// The retry budget did not allow a further move.
    pub(super) out_of_budget: bool,
    /// The gateway's own share of the time, up to when its clock was last stopped.
    overhead: Duration,
    /// Since when the time is the gateway's own; `None` while a client or a deployment is waited for.
    clock: Option<Instant>,
    /// What the answer cost.
    pub(super) usage: Option<Usage>,
    /// Why that is an estimate, where it is one.
    pub(super) guess: Option<Guess>,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) first_byte: Option<Duration>,
    /// When a stream's first output came.
    pub(super) first_token: Option<Duration>,
    pub(super) end: End,
    /// The deployment itself said in its stream that it failed.
    pub(super) is_failure_told: bool,
    /// What counts it as being served.
    pub(super) guest: Option<(Guest, InFlight)>,
}

/// How far it has come. What exists only after admission lives only there.
pub(super) enum Stage {
    Arrived,
    /// Answered by the gateway itself.
    Answered,
    Admitted(Box<Admitted>),
}

/// A request that may be sent to a deployment.
pub(super) struct Admitted {
    pub(super) served: Arc<Served>,
    pub(super) call: (Dialect, Operation),
    /// What goes on of the client's query.
    pub(super) query: String,
    /// Those of the client's headers that every attempt sends.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Further deployments that its headers name.
    pub(super) named: Vec<Named>,
    pub(super) ask: Ask,
    /// What it wants, where its client has limits to that.
    pub(super) wanted: Option<Wanted>,
    /// How many tokens its prompt is, by estimate.
    pub(super) prompt: Prompt,
    pub(super) progress: Progress,
    /// Its failures so far that may be its own doing.
    pub(super) suspicions: Suspicions,
    /// Holds the body.
    pub(super) relay: Arc<Relay>,
    /// The attempt under way, or the one whose answer is being delivered.
    pub(super) current: Option<Current>,
}

impl Admitted {
    /// The call as this instance is asked for it.
    pub(super) fn call_at(&self, instance: &Instance) -> (Dialect, Operation) {
        let (dialect, operation) = self.call;
        (dialect.at(instance), operation)
    }
}

/// One attempt under way.
pub(super) struct Current {
    pub(super) attempt: Attempt,
    pub(super) started: Instant,
    /// What the deployment is told is its caller's span, where the request is part of a trace.
    pub(super) span: SpanId,
    /// The status it answered with.
    pub(super) status: Option<u16>,
    /// It is one 4xx more of a deployment that answers nothing else.
    pub(super) is_suspect: bool,
    /// How many times its request was lost with its connection, and was sent again.
    pub(super) resent: u8,
    /// It goes over a connection that nobody has used before.
    pub(super) alone: bool,
    /// Of which generation its connection is.
    pub(super) generation: u64,
    /// Our credential as it was sent.
    pub(super) sent: Option<HeaderValue>,
    /// The deployment refused one credential already and got a fresh one.
    pub(super) renewed: bool,
    /// It is to be asked once more before it is judged.
    pub(super) again: Option<Again>,
    /// Since when it is sent the request; `None`: it has not been.
    pub(super) sent_at: Option<Instant>,
    /// Something of an answer has come.
    pub(super) was_heard: bool,
    /// Whether its stream is asked for usage.
    pub(super) usage: Wish,
    /// How the most output is said, where the gateway says it.
    pub(super) form: Form,
    /// In which member.
    pub(super) limit: Option<Field>,
    /// The forms that it has refused.
    pub(super) refused_forms: RefusedForms,
    /// What is read of its answer.
    pub(super) reading: Reading,
    /// The deployment of the same instance that Azure said it was served by.
    pub(super) spilled_to: Option<Arc<str>>,
    /// What its answer says of Azure's own spillover.
    pub(super) spillover: Option<Spillover>,
    /// Its outcome is written down.
    pub(super) is_judged: bool,
    pub(super) _inflight: InFlight,
}

/// Why the same deployment is asked once more.
pub(super) enum Again {
    /// The request was lost with its connection, which says nothing of the deployment.
    NewConnection,
    /// It refused this credential.
    FreshToken(HeaderValue),
    /// It refused what the gateway had added.
    Otherwise,
}

/// Whether a stream is asked for its usage by the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wish {
    /// There is nothing to ask: it is no chat's stream, or its client did.
    #[default]
    None,
    Asked,
    /// It may not be: its deployment, or its API, does not take it.
    NotAsked,
    /// It was, and that was refused.
    Refused,
}

impl Admitted {
    /// Whether the first byte of its answer comes when all of it is generated. Embeddings take no time worth mention.
    pub(super) fn comes_whole(&self) -> bool {
        let is_quick = matches!(self.call.1, Operation::Embeddings | Operation::Realtime);
        !is_quick && !self.ask.stream
    }

    /// Whether another attempt could send the same body.
    pub(super) fn replayable(&self) -> bool {
        self.relay.replayable()
    }
}

impl Current {
    pub(super) fn new(attempt: Attempt, started: Instant, inflight: InFlight) -> Self {
        Self {
            attempt,
            started,
            span: SpanId::of(fastrand::u64(..)),
            status: None,
            is_suspect: false,
            resent: 0,
            alone: false,
            generation: 0,
            sent: None,
            renewed: false,
            again: None,
            sent_at: None,
            was_heard: false,
            usage: Wish::None,
            form: Form::Usual,
            limit: None,
            refused_forms: RefusedForms::default(),
            reading: Reading::Nothing,
            spilled_to: None,
            spillover: None,
            is_judged: false,
            _inflight: inflight,
        }
    }
}

impl Exchange {
    pub(super) fn new() -> Self {
        let arrived = Instant::now();
        Self {
            arrived,
            arrived_at: SystemTime::now(),
            request_id: request_id(),
            trace: None,
            client_address: None,
            origin: None,
            client: None,
            allowance: None,
            reservation: None,
            operation: None,
            model: None,
            model_version: None,
            stage: Stage::Arrived,
            attempts: Vec::new(),
            refusal: None,
            out_of_budget: false,
            overhead: Duration::ZERO,
            clock: Some(arrived),
            usage: None,
            guess: None,
            request_bytes: 0,
            response_bytes: 0,
            first_byte: None,
            first_token: None,
            end: End::Complete,
            is_failure_told: false,
            guest: None,
        }
    }

    pub(super) fn admitted(&mut self) -> Option<&mut Admitted> {
        match &mut self.stage {
            Stage::Admitted(admitted) => Some(admitted),
            Stage::Arrived | Stage::Answered => None,
        }
    }

    /// What the current attempt is sent to.
    pub(super) fn target(&self) -> Option<&Target> {
        let Stage::Admitted(admitted) = &self.stage else {
            return None;
        };
        let current = admitted.current.as_ref()?;
        admitted.served.targets.get(current.attempt.index())
    }

    /// From here on a client or a deployment is waited for.
    pub(super) fn stop_clock(&mut self) {
        if let Some(since) = self.clock.take() {
            self.overhead += since.elapsed();
        }
    }

    /// From here on the time is the gateway's own again.
    pub(super) fn start_clock(&mut self) {
        self.clock = Some(Instant::now());
    }

    /// The gateway's own share of the time.
    pub(super) fn overhead(&self) -> Duration {
        self.overhead + self.clock.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// Writes down how the current attempt ended, and tells its pool. The attempt stays where it is.
    pub(super) fn judge(&mut self, outcome: &Outcome, now: Instant) {
        self.write_down(outcome, now);
        self.tell_pool(outcome, now);
    }

    /// Writes down how the current try ended. Its pool is told of the last one at the same deployment only.
    pub(super) fn write_down(&mut self, outcome: &Outcome, now: Instant) {
        let Stage::Admitted(admitted) = &mut self.stage else {
            return;
        };
        let Some(current) = &mut admitted.current else {
            return;
        };
        note_failure(current, outcome, now);
        let deployment = current.attempt.deployment();
        let is_traced = self.trace.is_some();
        self.attempts.push(AttemptRecord {
            instance: deployment.instance.name.clone(),
            deployment: deployment.name.clone(),
            capacity: deployment.capacity,
            priority: deployment.priority,
            outcome: outcome.label(),
            may_be_billed: outcome.may_be_billed(),
            spilled_to: current.spilled_to.take(),
            status: current.status,
            began: current.started.saturating_duration_since(self.arrived),
            took: now.saturating_duration_since(current.started),
            span: is_traced.then_some(current.span),
        });
    }

    /// Tells the pool how the current attempt ended. What may be the request's own doing is held back until the request's
    /// end shows it.
    pub(super) fn tell_pool(&mut self, outcome: &Outcome, now: Instant) {
        let Stage::Admitted(admitted) = &mut self.stage else {
            return;
        };
        let Some(current) = &mut admitted.current else {
            return;
        };
        current.is_judged = true;
        let own = current.spillover.map_or(*outcome, |it| it.own(outcome));
        let (suspicions, attempt) = (&mut admitted.suspicions, &mut current.attempt);
        let transition = suspicions.judge(attempt, &own, now, fastrand::u64(..));
        announce(&admitted.served, current, transition, now);
        tell_of_spilled(admitted, outcome, now);
        let charged = admitted.suspicions.resolve(outcome, now, fastrand::u64(..));
        announce_all(&admitted.served, &charged, now);
    }

    /// Takes in that the request has ended; `whole`: with all of an answer.
    pub(super) fn close_suspicions(&mut self, whole: bool) {
        let Stage::Admitted(admitted) = &mut self.stage else {
            return;
        };
        let client = self.client.as_ref().map(|client| &client.name);
        if !admitted.suspicions.is_empty() {
            let now = Instant::now();
            let charged = admitted.suspicions.end(client, now, fastrand::u64(..));
            announce_all(&admitted.served, &charged, now);
        }
        let is_served = self
            .attempts
            .last()
            .is_some_and(|it| it.outcome == Outcome::Served.label());
        if let (true, Some(current)) = (whole && is_served, &admitted.current) {
            let index = current.attempt.index();
            admitted
                .served
                .pool
                .note_whole(client, index, Instant::now());
        }
    }

    /// Writes down how an attempt ended whose answer went out: judged now, or otherwise than it was judged.
    pub(super) fn close(&mut self, outcome: &Outcome) {
        let now = Instant::now();
        let current = self
            .admitted()
            .and_then(|admitted| admitted.current.as_ref());
        if current.is_some_and(|current| !current.is_judged) {
            self.judge(outcome, now);
            return;
        }
        if let Some(last) = self.attempts.last_mut() {
            last.outcome = outcome.label();
        }
        let Stage::Admitted(admitted) = &mut self.stage else {
            return;
        };
        if let Some(current) = &admitted.current {
            note_failure(current, outcome, now);
            let (attempt, draw) = (&current.attempt, fastrand::u64(..));
            let is_anothers = matches!(current.spillover, Some(Spillover::Answered { .. }));
            let transition = match may_be_its_own(outcome) {
                _ if is_anothers => None,
                true => {
                    let client = self.client.as_ref().map(|client| &client.name);
                    attempt.doubt(outcome, client, now, draw)
                }
                false => attempt.amend(outcome, now, draw),
            };
            announce(&admitted.served, current, transition, now);
            tell_of_spilled(admitted, outcome, now);
        }
    }
}

/// What an answer by Azure's own spillover says of the deployment that it spilled to.
fn tell_of_spilled(admitted: &mut Admitted, outcome: &Outcome, now: Instant) {
    let Some(current) = &admitted.current else {
        return;
    };
    let Some(other) = current.spillover.and_then(|it| it.other(outcome)) else {
        return;
    };
    if other.blame() == Blame::Unclear {
        if let Some(held) = current.attempt.hold_spilled(&other, now) {
            admitted.suspicions.add(held);
        }
    } else if let Some((member, transition)) =
        current
            .attempt
            .judge_spilled(&other, now, fastrand::u64(..))
    {
        // By its neighbour's word, which has a status for each.
        let status = match other {
            Outcome::Throttled { .. } => Some(429),
            Outcome::Faulted { .. } => Some(503),
            _ => None,
        };
        if other.is_failure() {
            member.note_failure(Failure {
                outcome: other,
                status,
                at: now,
            });
        }
        let deployment = member.deployment();
        admitted.served.announce(deployment, transition, now);
    }
}

/// Whether an answer that began well may have ended so by what its client sent: no other deployment can be asked now.
fn may_be_its_own(outcome: &Outcome) -> bool {
    outcome.blame() == Blame::Unclear || *outcome == Outcome::fault(Fault::Broken)
}

fn announce_all(served: &Served, charged: &[Charged], now: Instant) {
    for one in charged {
        if let Some(transition) = one.transition() {
            served.announce(one.member().deployment(), transition, now);
        }
    }
}

/// Keeps what failed for those who ask why a deployment is left alone.
fn note_failure(current: &Current, outcome: &Outcome, now: Instant) {
    if outcome.is_failure() {
        current.attempt.member().note_failure(Failure {
            outcome: *outcome,
            status: current.status,
            at: now,
        });
    }
}

fn announce(served: &Served, current: &Current, transition: Option<Transition>, now: Instant) {
    if let Some(transition) = transition {
        served.announce(current.attempt.deployment(), transition, now);
    }
}
