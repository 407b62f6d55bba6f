//! What signals do: SIGTERM drains, SIGINT ends at once. No running request is lost to a drain.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use pingora::server::{ExecutionPhase, ShutdownSignal, ShutdownSignalWatch};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::broadcast::Receiver,
};

use crate::{config, proxy, store::Keeper, telemetry::Telemetry};

/// How often a draining gateway looks whether its last request has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is written out before the process ends.
pub(super) struct Last {
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) keeper: Option<Arc<Keeper>>,
}

impl Last {
    fn close(&self) {
        self.telemetry.close();
        if let Some(keeper) = &self.keeper {
            keeper.close();
        }
    }
}

/// Waits for the signal that ends the gateway. On SIGTERM health says 503 at once, and requests are still taken
/// for `drain.notice`, so that load balancers can turn away first.
pub(super) struct Signals {
    drain: Arc<proxy::drain::Drain>,
    last: Last,
    times: config::Drain,
}

impl Signals {
    pub(super) fn new(drain: Arc<proxy::drain::Drain>, last: Last, times: config::Drain) -> Self {
        Self { drain, last, times }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let listen =
            |kind| signal(kind).expect("signals can be listened for inside the server's runtime");
        let (mut terminate, mut interrupt) = (
            listen(SignalKind::terminate()),
            listen(SignalKind::interrupt()),
        );
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {
                self.drain.begin();
                tracing::info!(notice = ?self.times.notice, "draining: health says 503, requests are still taken");
                tokio::select! {
                    () = tokio::time::sleep(self.times.notice) => return ShutdownSignal::GracefulTerminate,
                    _ = interrupt.recv() => {}
                }
            }
        }
        self.last.close();
        // Pingora's own fast end can find an accept loop without its runtime, which then spins for ever.
        std::process::exit(0)
    }
}

/// Pingora sleeps its whole grace period whoever is left; this ends the process as soon as nobody is, or at the
/// drain's deadline.
pub(super) fn exit_when_drained(
    mut phases: Receiver<ExecutionPhase>,
    drain: &Arc<proxy::drain::Drain>,
    last: Last,
    times: config::Drain,
) -> io::Result<()> {
    let drain = Arc::clone(drain);
    let wait = move || {
        while let Ok(phase) = phases.blocking_recv() {
            if matches!(phase, ExecutionPhase::ShutdownGracePeriod) {
                wait_for_the_last(&drain, Instant::now() + times.deadline);
                last.close();
                std::process::exit(0);
            }
        }
    };
    thread::Builder::new()
        .name("drain".into())
        .spawn(wait)
        .map(drop)
}

/// Twice none in a row: the last answer's bytes leave just after its request has ended.
fn wait_for_the_last(drain: &proxy::drain::Drain, deadline: Instant) {
    let mut quiet = 0;
    while quiet < 2 && Instant::now() < deadline {
        quiet = if drain.inflight() == 0 { quiet + 1 } else { 0 };
        thread::sleep(LOOK_EVERY);
    }
    tracing::info!(left = drain.inflight(), "drained");
}
