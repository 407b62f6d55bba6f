//! What is true of the simulated deployments, whatever the gateway knows of it.

use std::time::Duration;

use crate::domain::outcome::{Fault, Outcome};

/// The longest that an attempt takes, and that an answer goes on after its head.
pub(super) const SLOWEST: Duration = Duration::from_secs(5);

/// A deployment's life: what it does from when on.
#[derive(Debug)]
pub(super) struct Life {
    phases: Vec<(Duration, Phase)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Well,
    /// At its limit.
    Full(Word),
    Failing(Fault),
    /// Failing, and says when to come back.
    Busy(Word),
    /// It does not take our credential.
    Rejecting,
    /// It is not deployed.
    Missing,
}

/// How a deployment's waits relate to the time until it is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Exact,
    /// Always less, as Azure's often are.
    Short,
    /// More than it would take.
    Long,
    /// A day.
    Absurd,
}

impl Life {
    pub(super) fn new(random: &mut fastrand::Rng, length: Duration) -> Self {
        let (mut phases, mut at) = (Vec::new(), Duration::ZERO);
        while at < length {
            let trouble = !phases.is_empty() && random.u32(..100) < 60;
            let phase = if trouble {
                Phase::trouble(random)
            } else {
                Phase::Well
            };
            phases.push((at, phase));
            // From a second to some minutes, the shorter the likelier; and sometimes half an hour.
            let seconds = match random.u32(..100) {
                ..5 => 1800.0,
                _ => 300.0_f64.powf(random.f64()),
            };
            at += Duration::from_secs_f64(seconds);
        }
        Self { phases }
    }

    /// One that is well but between those two.
    pub(super) fn failing_between(from: Duration, until: Duration) -> Self {
        let dead = Phase::Failing(Fault::Connect);
        let phases = [
            (Duration::ZERO, Phase::Well),
            (from, dead),
            (until, Phase::Well),
        ];
        Self {
            phases: phases.into(),
        }
    }

    pub(super) fn phase(&self, at: Duration) -> Phase {
        self.phases[self.place(at)].1
    }

    /// Whether it has been well for so long.
    pub(super) fn is_well_for(&self, long: Duration, at: Duration) -> bool {
        at >= long
            && (self.place(at - long)..=self.place(at))
                .all(|place| self.phases[place].1 == Phase::Well)
    }

    /// How an attempt that begins now ends, and after how long.
    pub(super) fn answer(&self, random: &mut fastrand::Rng, at: Duration) -> (Outcome, Duration) {
        let mut milliseconds = |range| Duration::from_millis(random.u64(range));
        let latency = match self.phase(at) {
            Phase::Well => milliseconds(50..3000),
            Phase::Failing(Fault::Silence) => SLOWEST,
            Phase::Failing(_) => milliseconds(1..2000),
            _ => milliseconds(5..50),
        };
        let outcome = match self.phase(at) {
            Phase::Well if random.u32(..200) == 0 => Outcome::CallerError,
            Phase::Well => Outcome::Served,
            Phase::Full(word) => Outcome::Throttled {
                wait: Some(self.wait(word, at)),
            },
            Phase::Failing(fault) => Outcome::fault(fault),
            Phase::Busy(word) => Outcome::Faulted {
                fault: Fault::Status,
                wait: Some(self.wait(word, at)),
            },
            Phase::Rejecting => Outcome::IdentityRejected,
            Phase::Missing => Outcome::NotDeployed,
        };
        (outcome, latency)
    }

    fn wait(&self, word: Word, at: Duration) -> Duration {
        let next = self.phases.get(self.place(at) + 1);
        let left = next.map_or(Duration::from_secs(1), |(from, _)| *from - at);
        match word {
            Word::Exact => left,
            Word::Short => left / 4,
            Word::Long => left * 3 / 2,
            Word::Absurd => Duration::from_secs(86_400),
        }
    }

    fn place(&self, at: Duration) -> usize {
        self.phases.partition_point(|(from, _)| *from <= at) - 1
    }
}

impl Phase {
    fn trouble(random: &mut fastrand::Rng) -> Self {
        let word = match random.u32(..10) {
            ..4 => Word::Exact,
            4..7 => Word::Short,
            7..9 => Word::Long,
            _ => Word::Absurd,
        };
        let faults = [Fault::Status, Fault::Connect, Fault::Reset, Fault::Silence];
        match random.u32(..20) {
            ..9 => Self::Full(word),
            9..16 => Self::Failing(faults[random.usize(..4)]),
            16..18 => Self::Busy(word),
            18 => Self::Rejecting,
            _ => Self::Missing,
        }
    }
}
