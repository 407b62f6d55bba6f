//! May this deployment be tried now? Closed: yes. Open: not before its time. Then one request tries it,
//! and what comes of that one decides.

use std::time::{Duration, Instant};

use super::outcome::Outcome;

/// The longest a deployment is left alone, whatever it said: then one trial asks again (DESIGN.md 5).
pub const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// One deployment's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Closed,
    /// Left alone until then; after it the next request is the trial.
    Open {
        until: Instant,
        cause: Cause,
    },
    /// One request is finding out; `since` is when its pause had ended.
    Trial {
        since: Instant,
        cause: Cause,
    },
}

/// Why a deployment is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is at its limit.
    Throttle,
    /// It failed, and said when to come back.
    Fault,
}

/// Leaves a deployment alone for as long as it asked.
#[derive(Debug)]
pub struct Breaker {
    state: State,
}

/// What a request was let through as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    Ordinary,
    /// The one that finds out.
    Trial,
}

/// A change that an operator wants to know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    Opened { until: Instant },
    Closed,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed,
        }
    }
}

impl Breaker {
    pub fn state(&self) -> State {
        self.state
    }

    pub fn is_ready(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until, .. } => until <= now,
            State::Trial { .. } => false,
        }
    }

    /// Lets a request through, if one may go now.
    pub fn pass(&mut self, now: Instant) -> Option<Pass> {
        match self.state {
            State::Closed => Some(Pass::Ordinary),
            State::Open { until, cause } if until <= now => {
                self.state = State::Trial {
                    since: until,
                    cause,
                };
                Some(Pass::Trial)
            }
            State::Open { .. } | State::Trial { .. } => None,
        }
    }

    /// Takes in how an attempt ended that was let through as `pass`.
    pub fn note(&mut self, pass: Pass, outcome: &Outcome, now: Instant) -> Option<Transition> {
        let wait = match outcome {
            Outcome::Throttled { wait } => Some((*wait, Cause::Throttle)),
            Outcome::Faulted { wait, .. } => wait.map(|wait| (wait, Cause::Fault)),
            Outcome::ClientLeft => {
                self.give_back(pass);
                return None;
            }
            _ => None,
        };
        match (wait, self.state) {
            (Some((wait, cause)), state) => self.open(state, now + wait.min(LONGEST_PAUSE), cause),
            (None, State::Trial { .. }) if pass == Pass::Trial => {
                self.state = State::Closed;
                Some(Transition::Closed)
            }
            // An answer to a request from before the pause says nothing new.
            (None, _) => None,
        }
    }

    /// A trial that found nothing out leaves its place to the next request.
    pub fn give_back(&mut self, pass: Pass) {
        if let (Pass::Trial, State::Trial { since, cause }) = (pass, self.state) {
            self.state = State::Open {
                until: since,
                cause,
            };
        }
    }

    /// A later, shorter word never shortens a longer one.
    fn open(&mut self, state: State, until: Instant, cause: Cause) -> Option<Transition> {
        match state {
            State::Open { until: said, .. } if said >= until => None,
            _ => {
                self.state = State::Open { until, cause };
                Some(Transition::Opened { until })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::outcome::Fault, *};

    fn throttled(seconds: u64) -> Outcome {
        Outcome::Throttled {
            wait: Duration::from_secs(seconds),
        }
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_throttled_deployment_is_left_alone_until_its_time_and_then_tried_by_one() {
        let (mut breaker, t) = (Breaker::default(), Instant::now());
        assert_eq!(
            breaker.note(Pass::Ordinary, &throttled(7), t),
            Some(Transition::Opened { until: t + secs(7) })
        );
        assert_eq!(breaker.pass(t + secs(6)), None);
        assert_eq!(breaker.pass(t + secs(7)), Some(Pass::Trial));
        assert_eq!(breaker.pass(t + secs(7)), None);
        assert_eq!(
            breaker.note(Pass::Trial, &Outcome::Served, t + secs(8)),
            Some(Transition::Closed)
        );
        assert_eq!(breaker.pass(t + secs(8)), Some(Pass::Ordinary));
    }

    #[test]
    fn waits_extend_and_never_shorten() {
        let (mut breaker, t) = (Breaker::default(), Instant::now());
        breaker.note(Pass::Ordinary, &throttled(10), t);
        assert_eq!(
            breaker.note(Pass::Ordinary, &throttled(2), t + secs(1)),
            None
        );
        assert_eq!(
            breaker.state(),
            State::Open {
                until: t + secs(10),
                cause: Cause::Throttle,
            }
        );
        breaker.note(Pass::Ordinary, &throttled(20), t + secs(1));
        assert_eq!(
            breaker.state(),
            State::Open {
                until: t + secs(21),
                cause: Cause::Throttle,
            }
        );
    }

    #[test]
    fn an_answer_from_before_the_pause_does_not_end_it() {
        let (mut breaker, t) = (Breaker::default(), Instant::now());
        breaker.note(Pass::Ordinary, &throttled(10), t);
        assert_eq!(breaker.note(Pass::Ordinary, &Outcome::Served, t), None);
        assert!(!breaker.is_ready(t + secs(9)));
    }

    #[test]
    fn no_word_closes_longer_than_the_longest_pause() {
        let (mut breaker, t) = (Breaker::default(), Instant::now());
        breaker.note(Pass::Ordinary, &throttled(86_400), t);
        assert!(
            !breaker.is_ready(t + LONGEST_PAUSE - secs(1)) && breaker.is_ready(t + LONGEST_PAUSE)
        );
    }

    #[test]
    fn a_trial_that_found_nothing_out_is_given_back() {
        let (mut breaker, t) = (Breaker::default(), Instant::now());
        breaker.note(Pass::Ordinary, &throttled(1), t);
        let pass = breaker.pass(t + secs(1)).unwrap();
        breaker.note(pass, &Outcome::ClientLeft, t + secs(2));
        assert_eq!(breaker.pass(t + secs(2)), Some(Pass::Trial));
    }

    #[test]
    fn a_fault_closes_a_deployment_only_if_it_said_when_to_come_back() {
        let (mut breaker, t) = (Breaker::default(), Instant::now());
        assert_eq!(
            breaker.note(Pass::Ordinary, &Outcome::fault(Fault::Reset), t),
            None
        );
        assert!(breaker.is_ready(t));
        let told = Outcome::Faulted {
            fault: Fault::Status,
            wait: Some(secs(3)),
        };
        assert!(breaker.note(Pass::Ordinary, &told, t).is_some());
        assert!(!breaker.is_ready(t + secs(2)));
    }
}
