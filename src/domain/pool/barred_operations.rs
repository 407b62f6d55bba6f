//! Kinds of work that a deployment is not asked for, while it does others: its instance's role lacks the data action for
//! them, or its path for them isn't there.

use std::time::Instant;

use crate::domain::{
    breaker::{Cause, Faults, Settings, Transition},
    outcome::Outcome,
    route::Operation,
};

/// Of one deployment; mostly empty.
#[derive(Debug, Default)]
pub(super) struct Bars {
    bars: Vec<Bar>,
    /// What it did serve, a bit for each operation.
    served: u16,
}

/// One kind of work, and how it went since it was first refused.
#[derive(Debug)]
struct Bar {
    operation: Operation,
    cause: Cause,
    /// Before the first time that it was set aside for it there is none.
    until: Option<Instant>,
    /// How often in a row it was refused again when it was over.
    failed: u32,
    faults: Faults,
}

impl Bars {
    /// Takes in that the deployment refused this kind of work. What it did before it may do again: one request may want of
    /// it what others don't, so it takes as many as faults do.
    pub(super) fn refused(
        &mut self,
        operation: Operation,
        outcome: &Outcome,
        settings: &Settings,
        now: Instant,
        draw: u64,
    ) -> Option<Transition> {
        let cause = match outcome {
            Outcome::OperationRejected => Cause::Credential,
            _ => Cause::Configuration,
        };
        let has_served = self.served & bit(operation) != 0;
        let bar = self.bar(operation, cause);
        let is_over = bar.until.is_some_and(|until| until <= now);
        if bar.until.is_some() && !is_over
            || has_served && !is_over && !bar.faults.add(settings, now)
        {
            return None;
        }
        bar.failed = if is_over {
            bar.failed.saturating_add(1)
        } else {
            0
        };
        let until = now + settings.pause(bar.failed, draw);
        (bar.cause, bar.until, bar.faults) = (cause, Some(until), Faults::default());
        Some(Transition::Barred {
            operation,
            until,
            cause,
        })
    }

    /// Takes in that it did this kind of work.
    pub(super) fn served(&mut self, operation: Operation) -> Option<Transition> {
        self.served |= bit(operation);
        let place = self
            .bars
            .iter()
            .position(|bar| bar.operation == operation)?;
        if self.bars[place].until.is_some() {
            self.bars.swap_remove(place);
            return Some(Transition::Allowed { operation });
        }
        self.bars[place].faults.pass_by();
        None
    }

    pub(super) fn has(&self, operation: Operation, now: Instant) -> bool {
        self.until_for(operation, now).is_some()
    }

    /// Until when this kind of work is barred; `None`: it is not.
    pub(super) fn until_for(&self, operation: Operation, now: Instant) -> Option<Instant> {
        let mut bars = self.bars.iter();
        let bar = bars.find(|bar| bar.operation == operation)?;
        bar.until.filter(|until| *until > now)
    }

    /// Those that hold, or were the last that is known of their kind of work: what an operator has to mend.
    pub(super) fn all(&self) -> impl Iterator<Item = (Operation, Cause, Instant)> {
        let bars = self.bars.iter();
        bars.filter_map(|bar| Some((bar.operation, bar.cause, bar.until?)))
    }

    /// When the last of them is over.
    pub(super) fn until(&self) -> Option<Instant> {
        self.bars.iter().filter_map(|bar| bar.until).max()
    }

    fn bar(&mut self, operation: Operation, cause: Cause) -> &mut Bar {
        let place = self
            .bars
            .iter()
            .position(|bar| bar.operation == operation)
            .unwrap_or_else(|| {
                self.bars.push(Bar {
                    operation,
                    cause,
                    until: None,
                    failed: 0,
                    faults: Faults::default(),
                });
                self.bars.len() - 1
            });
        &mut self.bars[place]
    }
}

fn bit(operation: Operation) -> u16 {
    1 << operation as u16
}
