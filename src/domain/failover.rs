//! After an outcome: deliver, try another, or give up. And when nothing is left: what the client is told.

use std::time::Instant;

use super::{
    deployment::Bounds,
    outcome::{Fault, Outcome},
    pool::Exhausted,
    refusal::Refusal,
};

/// No more deployments are asked by most requests.
const MOSTLY_TRIED: usize = 4;

/// How far a request has come.
#[derive(Clone, Debug)]
pub struct Progress {
    arrived: Instant,
    repeat: Repeat,
    faults: u32,
    /// An attempt may have done what must not be done twice.
    acted: bool,
    /// Places in the pool of the deployments asked; none is asked twice.
    tried: Vec<usize>,
    /// How many of these, the first ones, were never to be asked.
    barred: usize,
    /// How many of these were asked by Azure, in the place of the one that we asked.
    spilled: usize,
    /// How those failed that may have done so by the request's own doing: the outcome's label, and the status.
    failures: Vec<(&'static str, u16)>,
    /// One was asked, and said nothing.
    was_silent: bool,
}

/// What it would mean if two deployments did what a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Nothing but its price: an answer is an answer.
    Harmless,
    /// Something would exist or happen twice: it moves on only where the first cannot have acted.
    Acts,
}

/// What to do after an attempt has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Deliver,
    TryAnother,
    GiveUp,
}

impl Progress {
    pub fn new(arrived: Instant, repeat: Repeat) -> Self {
        Self {
            arrived,
            repeat,
            faults: 0,
            acted: false,
            tried: Vec::with_capacity(MOSTLY_TRIED),
            barred: 0,
            spilled: 0,
            failures: Vec::new(),
            was_silent: false,
        }
    }

    /// Before anything is asked: not these, since the request can't be served there.
    pub fn bar(&mut self, places: Vec<usize>) {
        self.barred = places.len();
        self.tried = places;
    }

    /// Whether we asked more than one deployment.
    pub fn has_moved_on(&self) -> bool {
        self.tried.len() > self.barred + self.spilled + 1
    }

    pub fn tried(&self) -> &[usize] {
        &self.tried
    }

    pub fn start(&mut self, index: usize) {
        self.tried.push(index);
    }

    /// Azure has asked this one already, for this very request.
    pub fn note_spilled(&mut self, index: usize) {
        if !self.tried.contains(&index) {
            self.tried.push(index);
            self.spilled += 1;
        }
    }

    /// It has turned out to do what must not be done twice.
    pub fn note_acts(&mut self) {
        self.repeat = Repeat::Acts;
    }

    /// Whether it does no harm if two deployments do what the request asks.
    pub fn may_repeat(&self) -> bool {
        self.repeat == Repeat::Harmless
    }

    /// When the request's time is up.
    pub fn deadline(&self, bounds: &Bounds) -> Instant {
        self.arrived + bounds.deadline
    }

    /// Until when an attempt that starts now may stay silent. Of an answer that is no stream the first byte is the last.
    pub fn first_byte_by(&self, bounds: &Bounds, streams: bool, now: Instant) -> Instant {
        let timeout = if streams {
            bounds.first_byte_timeout
        } else {
            bounds.unstreamed_timeout
        };
        (now + timeout).min(self.deadline(bounds))
    }

    /// Takes in a failure that may be the request's own doing. Whether another deployment failed in the same way: then it
    /// most likely is, and where nobody is left to ask, its client is told what they said.
    pub fn failed_alike(&mut self, outcome: &Outcome, status: u16) -> bool {
        let failure = (outcome.label(), status);
        let is_known = self.failures.contains(&failure);
        self.failures.push(failure);
        is_known
    }

    /// What follows from how an attempt ended. A 429 costs none of `attempts`. `budget_left`: whether the pool's
    /// retry budget allows one more move after a fault.
    pub fn after(
        &mut self,
        outcome: &Outcome,
        bounds: &Bounds,
        budget_left: bool,
        now: Instant,
    ) -> Step {
        match outcome {
            Outcome::Served | Outcome::CallerError | Outcome::Screened => return Step::Deliver,
            Outcome::ClientLeft => return Step::GiveUp,
            Outcome::Throttled { .. }
            | Outcome::UsageRejected
            | Outcome::LimitRejected
            | Outcome::StaleConnection
            | Outcome::NotProcessed => {}
            // Nothing was sent: it says nothing of what a further attempt may cost.
            Outcome::Faulted {
                fault: Fault::Credential | Fault::OwnLimit,
                ..
            } => {}
            Outcome::Faulted { .. }
            | Outcome::IdentityRejected
            | Outcome::IdentityUnfit
            | Outcome::OperationRejected
            | Outcome::NotDeployed
            | Outcome::NotFound
            | Outcome::Refused
            | Outcome::Redirected
            | Outcome::NotTheApi
            | Outcome::Unwanted
            | Outcome::NamedMissing => self.faults += 1,
        }
        self.was_silent |= outcome.is_silent();
        let acted = !self.may_repeat() && !outcome.is_untouched();
        self.acted |= acted;
        let unpaid = !budget_left && matches!(outcome, Outcome::Faulted { .. });
        if acted || unpaid || !self.has_attempts_left(bounds, now) {
            return Step::GiveUp;
        }
        Step::TryAnother
    }

    /// Whether one more attempt could follow one that ends in a fault now.
    pub fn could_go_on(&self, bounds: &Bounds, now: Instant) -> bool {
        self.may_repeat() && self.faults + 1 < bounds.attempts && now < self.deadline(bounds)
    }

    fn has_attempts_left(&self, bounds: &Bounds, now: Instant) -> bool {
        self.faults < bounds.attempts && now < self.deadline(bounds)
    }

    /// What the client is told when nothing is left to try.
    pub fn refusal(&self, exhausted: &Exhausted, bounds: &Bounds, now: Instant) -> Refusal {
        if self.acted {
            return Refusal::MayHaveActed;
        }
        if now >= self.deadline(bounds) {
            return Refusal::DeadlineExceeded;
        }
        if self.was_silent {
            return Refusal::Silence;
        }
        let wait = exhausted.back_at.saturating_duration_since(now);
        if exhausted.throttled && self.faults == 0 {
            Refusal::Throttled { wait }
        } else {
            Refusal::Unavailable { wait }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FAULT: Outcome = Outcome::fault(Fault::Reset);
    const THROTTLED: Outcome = Outcome::Throttled {
        wait: Some(Duration::from_secs(1)),
    };

    #[test]
    fn faults_are_bounded_by_attempts_and_throttles_cost_none() {
        let (bounds, now) = (
            Bounds {
                attempts: 2,
                ..Bounds::default()
            },
            Instant::now(),
        );
        let mut progress = Progress::new(now, Repeat::Harmless);
        for _ in 0..10 {
            assert_eq!(
                progress.after(&THROTTLED, &bounds, true, now),
                Step::TryAnother
            );
        }
        assert_eq!(progress.after(&FAULT, &bounds, true, now), Step::TryAnother);
        assert_eq!(progress.after(&FAULT, &bounds, true, now), Step::GiveUp);
    }

    #[test]
    fn no_attempt_starts_after_the_deadline() {
        let (bounds, now) = (
            Bounds {
                deadline: Duration::from_secs(5),
                ..Bounds::default()
            },
            Instant::now(),
        );
        let mut progress = Progress::new(now, Repeat::Harmless);
        assert_eq!(
            progress.first_byte_by(&bounds, true, now),
            now + Duration::from_secs(5)
        );
        let late = now + Duration::from_secs(5);
        assert_eq!(
            progress.after(&THROTTLED, &bounds, true, late),
            Step::GiveUp
        );
        let exhausted = Exhausted {
            throttled: true,
            back_at: late,
        };
        assert_eq!(
            progress.refusal(&exhausted, &bounds, late),
            Refusal::DeadlineExceeded
        );
    }

    #[test]
    fn the_last_word_is_429_only_if_throttling_alone_stood_in_the_way() {
        let (bounds, now) = (Bounds::default(), Instant::now());
        let (wait, mut progress) = (
            Duration::from_millis(2500),
            Progress::new(now, Repeat::Harmless),
        );
        let exhausted = Exhausted {
            throttled: true,
            back_at: now + wait,
        };
        assert_eq!(
            progress.refusal(&exhausted, &bounds, now),
            Refusal::Throttled { wait }
        );
        progress.after(&FAULT, &bounds, true, now);
        assert_eq!(
            progress.refusal(&exhausted, &bounds, now),
            Refusal::Unavailable { wait }
        );
        let failed = Exhausted {
            throttled: false,
            back_at: now + wait,
        };
        let refusal = Progress::new(now, Repeat::Harmless).refusal(&failed, &bounds, now);
        assert_eq!(refusal, Refusal::Unavailable { wait });
    }

    #[test]
    fn what_is_the_callers_matter_is_delivered() {
        let (bounds, now) = (Bounds::default(), Instant::now());
        let mut progress = Progress::new(now, Repeat::Harmless);
        assert_eq!(
            progress.after(&Outcome::CallerError, &bounds, true, now),
            Step::Deliver
        );
        assert_eq!(
            progress.after(&Outcome::ClientLeft, &bounds, true, now),
            Step::GiveUp
        );
    }

    #[test]
    fn without_a_budget_a_fault_is_the_end_and_a_throttle_is_not() {
        let (bounds, now) = (Bounds::default(), Instant::now());
        let mut progress = Progress::new(now, Repeat::Harmless);
        assert_eq!(
            progress.after(&THROTTLED, &bounds, false, now),
            Step::TryAnother
        );
        let rejected = Outcome::IdentityRejected;
        assert_eq!(
            progress.after(&rejected, &bounds, false, now),
            Step::TryAnother
        );
        assert_eq!(progress.after(&FAULT, &bounds, false, now), Step::GiveUp);
    }

    #[test]
    fn a_client_whose_request_may_have_acted_is_told_so_whatever_else_stands_in_the_way() {
        let (bounds, now) = (Bounds::default(), Instant::now());
        let exhausted = Exhausted {
            throttled: true,
            back_at: now,
        };
        let mut progress = Progress::new(now, Repeat::Acts);
        progress.after(&Outcome::fault(Fault::Unavailable), &bounds, true, now);
        let refusal = progress.refusal(&exhausted, &bounds, now);
        assert_ne!(refusal, Refusal::MayHaveActed);
        progress.after(&FAULT, &bounds, true, now);
        let late = now + bounds.deadline;
        for now in [now, late] {
            let refusal = progress.refusal(&exhausted, &bounds, now);
            assert_eq!(refusal, Refusal::MayHaveActed);
            assert_eq!(
                (refusal.should_retry(), refusal.wait()),
                (Some(false), None)
            );
        }
    }

    #[test]
    fn what_must_not_be_done_twice_moves_on_only_from_who_cannot_have_acted() {
        let (bounds, now) = (Bounds::default(), Instant::now());
        for (outcome, step) in [
            (THROTTLED, Step::TryAnother),
            (Outcome::fault(Fault::Connect), Step::TryAnother),
            (Outcome::fault(Fault::Unavailable), Step::TryAnother),
            (Outcome::IdentityRejected, Step::TryAnother),
            (Outcome::NotDeployed, Step::TryAnother),
            (Outcome::fault(Fault::Status), Step::GiveUp),
            (Outcome::fault(Fault::Timeout), Step::GiveUp),
            (Outcome::fault(Fault::Reset), Step::GiveUp),
            (Outcome::fault(Fault::Silence), Step::GiveUp),
            (Outcome::fault(Fault::Broken), Step::GiveUp),
        ] {
            let mut progress = Progress::new(now, Repeat::Acts);
            assert_eq!(
                progress.after(&outcome, &bounds, true, now),
                step,
                "{outcome:?}"
            );
        }
    }
}
