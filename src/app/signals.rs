//! What signals do. SIGTERM, SIGINT and SIGQUIT drain, so that no running request is lost; SIGINT ends a gateway at once
//! that drains already. The others that would end a process are heard, and do nothing.

use std::{
    io,
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use pingora::server::{ExecutionPhase, ShutdownSignal, ShutdownSignalWatch};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    sync::{broadcast::Receiver, watch},
};

use crate::{config, domain::span::Span, proxy, store::CounterWriter, telemetry::Telemetry};

/// How often a draining gateway looks whether its last request has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// For requests that are cut off to be written down.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What is written out before the process ends.
pub(super) struct Last {
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) counter_writer: Option<Arc<CounterWriter>>,
    pub(super) drain: Arc<proxy::drain::Drain>,
}

impl Last {
    fn close(&self) {
        self.telemetry.close();
        if let Some(counter_writer) = &self.counter_writer {
            counter_writer.close();
        }
    }
}

/// What a terminal that closes, or `kill -HUP`, means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HangUp {
    /// A service has no terminal; it is asked to read its config again.
    Reload,
    /// Whoever watched has gone.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Terminate,
    Interrupt,
    Quit,
    HangUp,
    User1,
    User2,
}

impl Heard {
    const ALL: [Self; 6] = [
        Self::Terminate,
        Self::Interrupt,
        Self::Quit,
        Self::HangUp,
        Self::User1,
        Self::User2,
    ];

    fn known_as(self) -> (SignalKind, &'static str) {
        match self {
            Self::Terminate => (SignalKind::terminate(), "SIGTERM"),
            Self::Interrupt => (SignalKind::interrupt(), "SIGINT"),
            Self::Quit => (SignalKind::quit(), "SIGQUIT"),
            Self::HangUp => (SignalKind::hangup(), "SIGHUP"),
            Self::User1 => (SignalKind::user_defined1(), "SIGUSR1"),
            Self::User2 => (SignalKind::user_defined2(), "SIGUSR2"),
        }
    }
}

/// What follows from a signal.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    Drain,
    /// It drains already.
    Wait,
    EndAtOnce,
    /// It does nothing, and says why.
    Nothing(&'static str),
}

fn act(heard: Heard, hang_up: HangUp, is_draining: bool) -> Act {
    match heard {
        Heard::HangUp if hang_up == HangUp::Reload => {
            Act::Nothing("the config is not reloaded; restart the gateway to apply changes")
        }
        Heard::User1 => Act::Nothing("rotated log files are reopened without a signal"),
        Heard::User2 => Act::Nothing("the gateway does not use it"),
        Heard::Interrupt if is_draining => Act::EndAtOnce,
        _ if is_draining => Act::Wait,
        _ => Act::Drain,
    }
}

/// Hears signals from here on, for as long as the process runs.
pub(super) struct Ears {
    ends: watch::Receiver<Option<&'static str>>,
    last: Arc<OnceLock<Last>>,
}

impl Ears {
    pub(super) fn open(hang_up: HangUp) -> io::Result<Self> {
        let (wanted, ends) = watch::channel(None);
        let last = Arc::new(OnceLock::new());
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let heard = {
            let _runtime = runtime.enter();
            let listen = |heard: Heard| Ok((heard, signal(heard.known_as().0)?));
            Heard::ALL
                .map(listen)
                .into_iter()
                .collect::<io::Result<Vec<_>>>()?
        };
        let hearing = hear(heard, hang_up, wanted, Arc::clone(&last));
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || runtime.block_on(hearing))?;
        Ok(Self { ends, last })
    }

    /// What the server waits with for its end.
    pub(super) fn signals(self, last: Last, times: config::Drain) -> Signals {
        let drain = Arc::clone(&last.drain);
        // Empty until here: there is one server.
        let _ = self.last.set(last);
        Signals {
            ends: self.ends,
            drain,
            times,
        }
    }
}

async fn hear(
    mut signals: Vec<(Heard, tokio::signal::unix::Signal)>,
    hang_up: HangUp,
    wanted: watch::Sender<Option<&'static str>>,
    last: Arc<OnceLock<Last>>,
) {
    loop {
        let next = signals
            .iter_mut()
            .map(|(heard, signal)| Box::pin(async { signal.recv().await.map(|()| *heard) }));
        let (Some(heard), ..) = futures_util::future::select_all(next).await else {
            return;
        };
        let is_draining = wanted.borrow().is_some();
        let (_, signal) = heard.known_as();
        match act(heard, hang_up, is_draining) {
            Act::Drain => drop(wanted.send(Some(signal))),
            Act::Wait => {
                tracing::info!(
                    event = "drain_continues",
                    signal,
                    "already draining; send SIGINT to stop at once"
                )
            }
            Act::Nothing(why) => {
                tracing::warn!(event = "signal_ignored", signal, "signal ignored: {why}")
            }
            Act::EndAtOnce => end_at_once(signal, last.get()),
        }
    }
}

fn end_at_once(signal: &str, last: Option<&Last>) {
    let cut = last.map_or(0, |last| last.drain.inflight());
    tracing::warn!(
        event = "ended_at_once",
        signal,
        requests = cut,
        "second signal: stopped at once, requests in flight were cut off"
    );
    if let Some(last) = last {
        last.drain.cut();
        let by = Instant::now() + LAST_LINES;
        while last.drain.inflight() > 0 && Instant::now() < by {
            thread::sleep(LOOK_EVERY);
        }
        last.close();
    }
    // Pingora's own fast end can find an accept loop without its runtime, which then spins for ever.
    std::process::exit(0)
}

/// Waits for the signal that ends the gateway. Health says 503 at once, and requests are still taken for
/// `drain.notice`, so that load balancers can turn away first.
pub(super) struct Signals {
    ends: watch::Receiver<Option<&'static str>>,
    drain: Arc<proxy::drain::Drain>,
    times: config::Drain,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let mut ends = self.ends.clone();
        let heard = ends.wait_for(Option::is_some).await.map(|heard| *heard);
        let Ok(signal) = heard else {
            // Nobody hears any more: what there is to end has ended.
            return std::future::pending().await;
        };
        self.drain.begin();
        let (notice, deadline) = (self.times.notice, self.times.deadline);
        let signal = signal.unwrap_or_default();
        tracing::info!(
            event = "drain_started",
            signal,
            notice_seconds = Span(notice).seconds(),
            deadline_seconds = Span(deadline).seconds(),
            "drain started: /health returns 503, new requests are still accepted during drain.notice; send SIGINT to stop at once"
        );
        tokio::time::sleep(notice).await;
        ShutdownSignal::GracefulTerminate
    }
}

/// Pingora sleeps its whole grace period whoever is left; this ends the process as soon as nobody is, or at the
/// drain's deadline.
pub(super) fn exit_when_drained(
    mut phases: Receiver<ExecutionPhase>,
    last: Last,
    times: config::Drain,
) -> io::Result<()> {
    let wait = move || {
        while let Ok(phase) = phases.blocking_recv() {
            if matches!(phase, ExecutionPhase::ShutdownGracePeriod) {
                wait_for_the_last(&last.drain, Instant::now() + times.deadline);
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
    tracing::info!(
        event = "drain_ended",
        left = drain.inflight(),
        "drain finished"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_gateway_drains_it_and_an_interrupt_of_that_ends_it_at_once() {
        use HangUp::{End, Reload};
        for heard in [Heard::Terminate, Heard::Interrupt, Heard::Quit] {
            assert_eq!(act(heard, Reload, false), Act::Drain);
        }
        assert_eq!(act(Heard::Interrupt, Reload, true), Act::EndAtOnce);
        for heard in [Heard::Terminate, Heard::Quit] {
            assert_eq!(act(heard, Reload, true), Act::Wait);
        }
        for heard in [Heard::HangUp, Heard::User1, Heard::User2] {
            for is_draining in [false, true] {
                assert!(matches!(act(heard, Reload, is_draining), Act::Nothing(_)));
            }
        }
        assert_eq!(act(Heard::HangUp, End, false), Act::Drain);
    }
}
