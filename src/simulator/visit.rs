//! One request's trace in the books, from arrival until its answer has ended.
//!
//! A [`Visit`] is held by whatever carries the request at the moment; dropped before [`Visit::finish`], its client
//! has left, and that is what is counted. Whichever way it ends, the deployment's limiter is settled.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;

use super::{
    books::{Ending, Memory, Page, Spent},
    deployment::Deployment,
};

#[derive(Debug)]
pub(crate) struct Visit {
    /// The page for requests that reach no deployment.
    other: Arc<Mutex<Page>>,
    page: Option<Arc<Mutex<Page>>>,
    memory: Option<Memory>,
    /// Who asked, where that is known.
    caller: Option<String>,
    held: Option<Held>,
    pub(crate) spent: Spent,
    ended: bool,
    done: bool,
}

/// What a limiter counted in advance.
#[derive(Debug)]
struct Held {
    deployment: Arc<Deployment>,
    estimate: u64,
}

impl Visit {
    pub(crate) fn new(other: Arc<Mutex<Page>>, memory: Option<Memory>) -> Self {
        Self {
            other,
            page: None,
            memory,
            caller: None,
            held: None,
            spent: Spent::default(),
            ended: false,
            done: false,
        }
    }

    /// The same, asked by somebody who says who it is.
    pub(crate) fn by(mut self, caller: Option<String>) -> Self {
        self.caller = caller;
        self
    }

    pub(crate) fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }

    /// From now on this request counts on that deployment's page.
    pub(crate) fn reach(&mut self, deployment: &Deployment) {
        if self.page.is_none() {
            self.enter(deployment.page.clone());
            if let Some(memory) = &self.memory {
                memory.lock().deployment = Some(deployment.name.clone());
            }
        }
    }

    fn enter(&mut self, page: Arc<Mutex<Page>>) {
        page.lock().arrive();
        self.page = Some(page);
    }

    /// Another deployment takes this request over: from now on it counts there.
    pub(crate) fn spill(&mut self, to: &Deployment) {
        if let Some(page) = self.page.take() {
            let mut page = page.lock();
            page.note(Ending::Fault("spillover"));
            page.leave(Spent::default(), None, false);
        }
        self.enter(to.page.clone());
    }

    /// A fault meets this request.
    pub(crate) fn strike(&mut self, fault: &'static str) {
        if let Some(memory) = &self.memory {
            memory.lock().fault = Some(fault);
        }
    }

    /// The limiter let this request in, at this estimate.
    pub(crate) fn hold(&mut self, deployment: Arc<Deployment>, estimate: u64) {
        self.held = Some(Held {
            deployment,
            estimate,
        });
    }

    /// What came of it. The first word stands: a stream that breaks later was still answered with 200.
    pub(crate) fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Some(memory) = &self.memory {
            memory.lock().end(ending);
        }
        self.page().lock().note(ending);
    }

    /// The answer has ended as it was meant to.
    pub(crate) fn finish(&mut self) {
        self.leave(false);
    }

    fn leave(&mut self, cancelled: bool) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        if let Some(held) = self.held.take() {
            let used = (self.spent.prompt_tokens - self.spent.cached_tokens)
                + self.spent.completion_tokens;
            held.deployment
                .limiter
                .lock()
                .settle(held.estimate, used, Instant::now());
        }
        let (spent, page) = (self.spent, self.page());
        page.lock().leave(spent, self.caller.as_deref(), cancelled);
        if let Some(memory) = self.memory.as_ref().filter(|_| cancelled) {
            memory.lock().cancelled = true;
        }
    }

    fn page(&mut self) -> Arc<Mutex<Page>> {
        if self.page.is_none() {
            self.enter(self.other.clone());
        }
        self.page.clone().unwrap_or_else(|| self.other.clone())
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.leave(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_that_is_dropped_was_cancelled() {
        let other = Arc::<Mutex<Page>>::default();
        drop(Visit::new(other.clone(), None));
        let page = other.lock();
        assert_eq!((page.requests, page.cancelled, page.concurrent), (1, 1, 0));
    }

    #[test]
    fn a_finished_visit_counts_once() {
        let other = Arc::<Mutex<Page>>::default();
        let mut visit = Visit::new(other.clone(), None);
        visit.end(Ending::Status(200));
        visit.end(Ending::Fault("reset"));
        visit.finish();
        drop(visit);
        let page = other.lock();
        assert_eq!(
            (
                page.requests,
                page.cancelled,
                page.status(200),
                page.by_status.len()
            ),
            (1, 0, 1, 1)
        );
    }
}
