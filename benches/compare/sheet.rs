//! What was measured, what it is measured against, and whether that is met.

use std::collections::{BTreeMap, BTreeSet};

use crate::{contender::Kind, spread::Spread};

/// One line of the table. A figure is lower the better, but for the threads'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    Chat,
    TlsUpstreams,
    TlsClients,
    Http2,
    Event,
    FirstToken,
    BurstEvent,
    ThrottledCpu,
    ThrottledTries,
    ThrottledErrors,
    Prompt256K,
    Prompt4M,
    AddedP50,
    AddedP99,
    Idle,
    OpenStream,
    AfterBodies,
    Start,
    StartLarge,
    Threads,
}

/// What Forebay is to reach.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// So many times what bare Pingora takes in the same round.
    TimesBare(f64),
    /// So much more than bare Pingora.
    OverBare(f64),
    /// So many times another figure of its own.
    TimesOwn(Column, f64),
}

impl Column {
    pub(crate) const ALL: [Self; 20] = [
        Self::Chat,
        Self::TlsUpstreams,
        Self::TlsClients,
        Self::Http2,
        Self::Event,
        Self::FirstToken,
        Self::BurstEvent,
        Self::ThrottledCpu,
        Self::ThrottledTries,
        Self::ThrottledErrors,
        Self::Prompt256K,
        Self::Prompt4M,
        Self::AddedP50,
        Self::AddedP99,
        Self::Idle,
        Self::OpenStream,
        Self::AfterBodies,
        Self::Start,
        Self::StartLarge,
        Self::Threads,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Chat => "1 KiB chat, µs",
            Self::TlsUpstreams => "… TLS to upstreams, µs",
            Self::TlsClients => "… TLS from clients, HTTP/1.1, µs",
            Self::Http2 => "… TLS from clients, HTTP/2, µs",
            Self::Event => "paced SSE, µs an event",
            Self::FirstToken => "time to first token added, p50, ms",
            Self::BurstEvent => "100 events at once, µs an event more",
            Self::ThrottledCpu => "one of three throttled, µs an ok",
            Self::ThrottledTries => "… tries an answer",
            Self::ThrottledErrors => "… visible errors, %",
            Self::Prompt256K => "256 KiB prompt, ms a MiB",
            Self::Prompt4M => "4 MiB prompt, ms a MiB",
            Self::AddedP50 => "open loop, p50 added, ms",
            Self::AddedP99 => "open loop, p99 added, ms",
            Self::Idle => "memory idle, MiB",
            Self::OpenStream => "memory an open stream, KiB",
            Self::AfterBodies => "memory 10 s after 3 × 8 × 30 MiB, MiB",
            Self::Start => "start to first answer, s",
            Self::StartLarge => "… 1,000 deployments, 10,000 clients, s",
            Self::Threads => "two threads' throughput, times one's",
        }
    }

    pub(crate) fn target(self) -> Target {
        match self {
            Self::Chat | Self::TlsUpstreams | Self::TlsClients | Self::Http2 => {
                Target::TimesBare(1.10)
            }
            Self::Event => Target::TimesBare(0.85),
            Self::FirstToken => Target::OverBare(0.1),
            Self::BurstEvent => Target::AtMost(1.2),
            Self::ThrottledCpu => Target::TimesOwn(Self::Chat, 1.05),
            Self::ThrottledTries => Target::AtMost(1.01),
            Self::ThrottledErrors => Target::AtMost(0.0),
            Self::Prompt256K | Self::Prompt4M => Target::AtMost(0.6),
            Self::AddedP50 => Target::AtMost(0.15),
            Self::AddedP99 => Target::AtMost(0.25),
            Self::Idle => Target::AtMost(25.0),
            Self::OpenStream | Self::AfterBodies => Target::AtMost(40.0),
            Self::Start => Target::AtMost(0.1),
            Self::StartLarge => Target::AtMost(1.0),
            Self::Threads => Target::AtLeast(1.9),
        }
    }

    /// Counted by the clock: on a machine that has other work to do this says little.
    fn is_wall_time(self) -> bool {
        use Column::{AddedP50, AddedP99, FirstToken, Start, StartLarge, Threads};
        matches!(
            self,
            FirstToken | AddedP50 | AddedP99 | Start | StartLarge | Threads
        )
    }
}

/// All figures of a run, one a round, and what is to be said beside them.
#[derive(Default)]
pub(crate) struct Sheet {
    figures: BTreeMap<(Column, Kind), Vec<f64>>,
    pub(crate) notes: Vec<String>,
    /// Who could not do something.
    pub(crate) failed: BTreeSet<Kind>,
}

impl Sheet {
    pub(crate) fn fail(&mut self, kind: Kind, note: String) {
        self.failed.insert(kind);
        self.notes.push(note);
    }

    pub(crate) fn add(&mut self, kind: Kind, column: Column, figure: f64) {
        self.figures.entry((column, kind)).or_default().push(figure);
    }

    pub(crate) fn rounds(&self, column: Column, kind: Kind) -> &[f64] {
        self.figures.get(&(column, kind)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn spread(&self, column: Column, kind: Kind) -> Option<Spread> {
        Spread::of(self.rounds(column, kind).iter().copied())
    }

    /// Forebay to bare Pingora, taken inside each round: what else the machine does weighs on both alike.
    pub(crate) fn ratio(&self, column: Column) -> Option<Spread> {
        let (ours, bare) = (
            self.rounds(column, Kind::Forebay),
            self.rounds(column, Kind::Pingora),
        );
        Spread::of(ours.iter().zip(bare).map(|(ours, bare)| ours / bare))
    }

    /// What Forebay reached, in the target's terms, and what it was to reach.
    fn held_against(&self, column: Column) -> Option<(f64, f64)> {
        let own = |column| Some(self.spread(column, Kind::Forebay)?.median);
        Some(match column.target() {
            Target::AtMost(most) => (own(column)?, most),
            // Turned round: lower is better everywhere else.
            Target::AtLeast(least) => (-own(column)?, -least),
            Target::TimesBare(times) => (self.ratio(column)?.median, times),
            Target::OverBare(more) => (
                own(column)? - self.spread(column, Kind::Pingora)?.median,
                more,
            ),
            Target::TimesOwn(other, times) => (own(column)? / own(other)?, times),
        })
    }

    /// `None` where it was not measured.
    pub(crate) fn is_met(&self, column: Column) -> Option<bool> {
        // To the hundredths that the table shows.
        self.held_against(column)
            .map(|(reached, target)| reached < target + 0.005)
    }

    /// What is so far off that no noise explains it.
    pub(crate) fn grossly_missed(&self) -> Vec<Column> {
        const MARGIN: f64 = 8.0;
        let is_gross = |column: &Column| {
            self.held_against(*column)
                .is_some_and(|(reached, target)| reached > (target * MARGIN).max(target + 0.5))
        };
        let counted = Column::ALL
            .into_iter()
            .filter(|column| !column.is_wall_time());
        counted.filter(is_gross).collect()
    }
}
