//! One deployment's bad days: what it does next, for how long, drawn by chance.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use forebay::simulator::{ErrorType, Fault, FaultKind, StreamError};

use super::{ChaosRun, MODEL};
use crate::harness::status;

pub(crate) struct RandomFaults {
    run: Arc<ChaosRun>,
    instance: &'static str,
    chance: Rng,
}

impl RandomFaults {
    pub(crate) fn new(run: Arc<ChaosRun>, instance: &'static str, chance: Rng) -> Self {
        Self {
            run,
            instance,
            chance,
        }
    }

    /// Until all is over; then it is well again.
    pub(crate) async fn go_on(mut self) {
        while !self.run.is_over() {
            if self.chance.u32(..6) == 0 {
                self.die().await;
            } else {
                let fault = self.fault();
                self.set(fault);
                self.pass(200..3000).await;
            }
            self.set(None);
            // Well in between, so that others come to it and break when it does.
            self.pass(0..2000).await;
        }
    }

    async fn die(&mut self) {
        let simulator = &self.run.simulator;
        simulator.down(self.instance).await.unwrap();
        self.pass(100..2000).await;
        let simulator = &self.run.simulator;
        simulator.up(self.instance).await.unwrap();
    }

    /// Some strike each request, some only a part of them.
    fn fault(&mut self) -> Option<Fault> {
        let fault = Fault::from(self.kind());
        Some(match self.chance.u32(..3) {
            0 => fault.probability(0.5),
            _ => fault,
        })
    }

    fn kind(&mut self) -> FaultKind {
        let milliseconds = self.chance.u64(50..2000);
        let wait = milliseconds.to_string();
        let after_events = self.chance.usize(1..12);
        match self.chance.u32(..14) {
            0 => FaultKind::Throttle {
                seconds: milliseconds as f64 / 1000.0,
            },
            1 => status(429, &[("retry-after-ms", &wait)]),
            2 => status(503, &[("retry-after-ms", &wait)]),
            3 => status(500, &[]),
            4 => status(408, &[]),
            5 => FaultKind::Reset {},
            6 => FaultKind::Close {},
            7 => FaultKind::Hang {},
            8 => FaultKind::ResetMidStream { after_events },
            9 => FaultKind::CloseMidStream { after_events },
            10 => FaultKind::Silent {
                ms: milliseconds,
                after_events,
            },
            // Before any output, and wherever it happens to be.
            11 => FaultKind::StreamError(StreamError::new(ErrorType::ServerError, 1)),
            12 => FaultKind::StreamError(StreamError::new(ErrorType::TooManyRequests, 0)),
            _ => FaultKind::StreamError(StreamError::new(ErrorType::ServerError, after_events)),
        }
    }

    fn set(&self, fault: Option<Fault>) {
        let simulator = &self.run.simulator;
        simulator
            .set_fault(self.instance, Some(MODEL), fault)
            .unwrap();
    }

    async fn pass(&mut self, milliseconds: std::ops::Range<u64>) {
        let milliseconds = self.chance.u64(milliseconds);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}
