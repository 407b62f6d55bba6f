//! One request's trace in the statistics, from arrival until its answer has ended.
//!
//! A [`RequestTrace`] is held by whatever carries the request at the moment; dropped before [`RequestTrace::finish`], its client
//! has left, and that is what is counted. Whichever way it ends, the deployment's limiter is settled.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;

use super::{
    deployment::Deployment,
    recorder::{Ending, RequestStats, SharedRequest, Spent},
};

#[derive(Debug)]
pub(crate) struct RequestTrace {
    /// The statistics of requests that reach no deployment.
    other: Arc<Mutex<RequestStats>>,
    stats: Option<Arc<Mutex<RequestStats>>>,
    seen: Option<SharedRequest>,
    /// Who asked, where that is known.
    caller: Option<String>,
    /// What a limiter counted in advance.
    held: Option<(Arc<Deployment>, u64)>,
    pub(crate) spent: Spent,
    ended: bool,
    done: bool,
}

impl RequestTrace {
    pub(crate) fn new(
        other: Arc<Mutex<RequestStats>>,
        seen: Option<SharedRequest>,
        caller: Option<String>,
    ) -> Self {
        Self {
            other,
            stats: None,
            seen,
            caller,
            held: None,
            spent: Spent::default(),
            ended: false,
            done: false,
        }
    }

    pub(crate) fn seen(&self) -> Option<&SharedRequest> {
        self.seen.as_ref()
    }

    /// From now on this request counts on that deployment's statistics.
    pub(crate) fn reach(&mut self, deployment: &Deployment) {
        if self.stats.is_none() {
            self.enter(deployment.stats.clone());
            if let Some(seen) = &self.seen {
                seen.lock().deployment = Some(deployment.name.clone());
            }
        }
    }

    fn enter(&mut self, stats: Arc<Mutex<RequestStats>>) {
        stats.lock().arrive();
        self.stats = Some(stats);
    }

    /// Another deployment takes this request over: from now on it counts there.
    pub(crate) fn spill(&mut self, to: &Deployment) {
        if let Some(stats) = self.stats.take() {
            let mut stats = stats.lock();
            stats.note(Ending::Fault("spillover"));
            stats.leave(Spent::default(), None, false);
        }
        self.enter(to.stats.clone());
    }

    /// A fault meets this request.
    pub(crate) fn note_fault(&mut self, fault: &'static str) {
        if let Some(seen) = &self.seen {
            seen.lock().fault = Some(fault);
        }
    }

    /// The limiter let this request in, at this estimate.
    pub(crate) fn hold(&mut self, deployment: Arc<Deployment>, estimate: u64) {
        self.held = Some((deployment, estimate));
    }

    /// What came of it. The first word stands: a stream that breaks later was still answered with 200.
    pub(crate) fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Some(seen) = &self.seen {
            seen.lock().end(ending);
        }
        self.stats().lock().note(ending);
    }

    /// The answer has ended as it was meant to.
    pub(crate) fn finish(&mut self) {
        self.leave(false);
    }

    fn leave(&mut self, cancelled: bool) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        if let Some((deployment, estimate)) = self.held.take() {
            let used = (self.spent.prompt_tokens - self.spent.cached_tokens)
                + self.spent.completion_tokens;
            let mut limiter = deployment.limiter.lock();
            limiter.settle(estimate, used, Instant::now());
        }
        let (spent, stats) = (self.spent, self.stats());
        stats.lock().leave(spent, self.caller.as_deref(), cancelled);
        if let Some(seen) = self.seen.as_ref().filter(|_| cancelled) {
            seen.lock().cancelled = true;
        }
    }

    fn stats(&mut self) -> Arc<Mutex<RequestStats>> {
        if self.stats.is_none() {
            self.enter(self.other.clone());
        }
        self.stats.clone().unwrap_or_else(|| self.other.clone())
    }
}

impl Drop for RequestTrace {
    fn drop(&mut self) {
        self.leave(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_that_is_dropped_was_cancelled() {
        let other = Arc::<Mutex<RequestStats>>::default();
        drop(RequestTrace::new(other.clone(), None, None));
        let stats = other.lock();
        assert_eq!(
            (stats.requests, stats.cancelled, stats.concurrent),
            (1, 1, 0)
        );
    }

    #[test]
    fn a_finished_visit_counts_once() {
        let other = Arc::<Mutex<RequestStats>>::default();
        let mut trace = RequestTrace::new(other.clone(), None, None);
        trace.end(Ending::Status(200));
        trace.end(Ending::Fault("reset"));
        trace.finish();
        drop(trace);
        let stats = other.lock();
        assert_eq!(
            (
                stats.requests,
                stats.cancelled,
                stats.status(200),
                stats.by_status.len()
            ),
            (1, 0, 1, 1)
        );
    }
}
