//! The threads that connections are served on. All that a connection leads to stays on the thread that it was given to:
//! its socket, its requests, its connections to deployments. What one thread watches and another serves wakes both for
//! each packet; Pingora's own runtime of several such threads deals out every task by chance.

use std::{
    future, io,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use tokio::runtime::{Builder, Handle};

pub(super) struct Workers {
    all: Vec<Handle>,
    given: AtomicUsize,
}

impl Workers {
    /// So many, of which the first is the present one. They end with the process.
    pub(super) fn start(name: &str, count: usize) -> Self {
        let others = (1..count).map_while(|_| {
            let another = start(name);
            if let Err(error) = &another {
                tracing::error!(event = "worker_failed", %error, "could not start a worker thread; the gateway runs with fewer threads");
            }
            another.ok()
        });
        Self {
            all: [Handle::current()].into_iter().chain(others).collect(),
            given: AtomicUsize::new(0),
        }
    }

    /// By turns: connections last, and a few of them would be dealt out badly by chance.
    pub(super) fn next(&self) -> &Handle {
        &self.all[self.given.fetch_add(1, Ordering::Relaxed) % self.all.len()]
    }
}

fn start(name: &str) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || runtime.block_on(future::pending::<()>()))?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[tokio::test]
    async fn connections_are_dealt_out_by_turns_and_what_they_lead_to_stays_where_they_are() {
        let workers = Workers::start("worker", 3);
        let mut seen = Vec::new();
        for _ in 0..6 {
            let served = workers.next().spawn(async {
                let led_to = tokio::spawn(async { thread::current().id() });
                (thread::current().id(), led_to.await)
            });
            let (here, there) = served.await.expect("it does not panic");
            assert_eq!(there.ok(), Some(here));
            seen.push(here);
        }
        assert_eq!(seen[..3], seen[3..]);
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 3);
    }
}
