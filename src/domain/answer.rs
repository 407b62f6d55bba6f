//! An answer on its way: each piece of it is read once, for all who want to know something of it.

use std::time::SystemTime;

use bytes::Bytes;

use super::{
    body_outcome::{StreamWatch, UnsettledAnswer},
    event_stream::{Event, Framer, Part},
    outcome::{Fault, Outcome},
    usage::{Memo, Meter, trim},
};

/// One attempt's answer.
#[derive(Debug, Default)]
pub struct Answer {
    /// Of a stream whose events are read.
    framer: Option<Framer>,
    judge: Judge,
    /// What of its usage only the gateway asked for is taken out.
    is_trimmed: bool,
    has_output: bool,
}

/// Who says what it means.
#[derive(Debug, Default)]
enum Judge {
    /// Its head has said all, or it has failed already.
    #[default]
    Nobody,
    /// It is not settled yet.
    UnsettledAnswer(UnsettledAnswer),
    StreamWatch(StreamWatch),
}

/// What a piece says of the whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What it means, for the first time.
    Settled(Outcome),
    /// It was settled as served, and now says that it failed.
    Failed(Outcome),
}

impl Answer {
    /// What its head leaves open its beginning is to settle.
    pub fn opened(opening: UnsettledAnswer) -> Self {
        Self {
            framer: opening.is_stream().then(Framer::default),
            judge: Judge::UnsettledAnswer(opening),
            ..Self::default()
        }
    }

    /// What of this stream only the gateway asked for does not go out.
    pub fn trim_usage(&mut self) {
        self.is_trimmed = true;
        self.framer.get_or_insert_default();
    }

    /// Whether less may go out of a piece than has come.
    pub fn is_changed(&self) -> bool {
        self.is_trimmed
    }

    /// Takes in the next piece, and gives what goes out of it now; `end`: the last one. The meter reads along, where there
    /// is one.
    pub fn pass(
        &mut self,
        piece: Bytes,
        end: bool,
        now: SystemTime,
        mut meter: Option<(&mut Meter, &mut Memo)>,
    ) -> (Bytes, Option<Verdict>) {
        if meter
            .as_ref()
            .is_some_and(|(meter, _)| meter.reads_events())
        {
            self.framer.get_or_insert_default();
        }
        let Some(framer) = &mut self.framer else {
            if let Some((meter, memo)) = meter {
                meter.read(&piece, memo);
            }
            let verdict = self.verdict(&piece, end, now);
            return (piece, verdict);
        };
        let judge = &mut self.judge;
        let mut read = |part: &Part<'_>| {
            if let Some((meter, memo)) = &mut meter {
                meter.part(part, memo);
            }
            if let Part::Event(event) = part {
                judge.see(event, now);
            }
        };
        let changed = self.is_trimmed.then(|| {
            framer.change(&piece, end, |part, out| {
                read(&part);
                if let Part::Event(event) = &part {
                    trim::put(event, out);
                }
            })
        });
        if changed.is_none() {
            framer.read(&piece, end, |part| read(&part));
        }
        let verdict = self.verdict(&piece, end, now);
        (changed.unwrap_or(piece), verdict)
    }

    /// What this piece, whose events have been seen, makes of the answer.
    fn verdict(&mut self, piece: &[u8], end: bool, now: SystemTime) -> Option<Verdict> {
        match &mut self.judge {
            Judge::Nobody => None,
            Judge::StreamWatch(watch) => {
                let outcome = watch.outcome(end)?;
                self.judge = Judge::Nobody;
                Some(Verdict::Failed(outcome))
            }
            Judge::UnsettledAnswer(opening) => {
                let outcome = opening.read(piece, end, now)?;
                self.settle(outcome);
                Some(Verdict::Settled(outcome))
            }
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        if let Judge::UnsettledAnswer(opening) = std::mem::take(&mut self.judge)
            && outcome == Outcome::Served
        {
            self.has_output = opening.has_output();
            self.judge = opening
                .into_watch()
                .map(Judge::StreamWatch)
                .unwrap_or_default();
        }
    }

    /// What it means that the answer broke off here with `fault`, if it is not settled yet. Nothing more is said of it.
    pub fn broken_off(&mut self, fault: Fault, now: SystemTime) -> Option<Outcome> {
        match std::mem::take(&mut self.judge) {
            Judge::UnsettledAnswer(opening) => Some(opening.broken_off(fault, now)),
            Judge::StreamWatch(_) | Judge::Nobody => None,
        }
    }

    /// Whether the model has said something in it, of a stream that can be read.
    pub fn has_output(&self) -> bool {
        self.has_output
    }

    /// Whether it is a stream that is not settled yet.
    pub fn is_open_stream(&self) -> bool {
        matches!(&self.judge, Judge::UnsettledAnswer(opening) if opening.is_stream())
    }

    /// Whether its last event has gone by: nothing is missing if only the transfer's end is.
    pub fn is_whole(&self) -> bool {
        matches!(&self.judge, Judge::StreamWatch(watch) if watch.is_whole())
    }

    /// Whether what went out of it so far ends between two events.
    pub fn is_between_events(&self) -> bool {
        let framer = self.framer.as_ref();
        framer.is_none_or(|framer| framer.is_between_events(self.is_trimmed))
    }
}

impl Judge {
    fn see(&mut self, event: &Event<'_>, now: SystemTime) {
        if !event.says_something() {
            return;
        }
        match self {
            Self::Nobody => {}
            Self::UnsettledAnswer(opening) => opening.see(event, now),
            Self::StreamWatch(watch) => watch.see(event, now),
        }
    }
}
