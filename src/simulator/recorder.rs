//! What was asked and what came of it: counted per deployment, and in `record: full` remembered per request.
//!
//! A [`RequestStats`] counts one deployment; a [`RequestLog`] keeps the last requests. Both are read by the control endpoint
//! and by tests in the same process. Invariant: `requests` = the sum of `by_status`, of what has no outcome yet,
//! and of those `cancelled` before they had one. What spilled over is on two pages: as `spillover` where it was asked,
//! and with its status where it was served.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    ops::AddAssign,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::{Serialize, Serializer};

/// How many requests the log keeps.
const KEPT: usize = 5_000;

/// What came of a request: the status it was answered with, or the fault that left it without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    Status(u16),
    Fault(&'static str),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Fault(name) => f.write_str(name),
        }
    }
}

impl Serialize for Ending {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Tokens of a request or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// Cached ones included.
    pub prompt_tokens: u64,
    pub cached_tokens: u64,
    /// As far as they were sent: a broken stream counts what went out.
    pub completion_tokens: u64,
    /// Of the completion: what nobody sees.
    pub reasoning_tokens: u64,
    /// Of the prompt.
    pub audio_prompt_tokens: u64,
    /// Of the completion.
    pub audio_completion_tokens: u64,
}

impl AddAssign for Spent {
    fn add_assign(&mut self, more: Self) {
        self.prompt_tokens += more.prompt_tokens;
        self.cached_tokens += more.cached_tokens;
        self.completion_tokens += more.completion_tokens;
        self.reasoning_tokens += more.reasoning_tokens;
        self.audio_prompt_tokens += more.audio_prompt_tokens;
        self.audio_completion_tokens += more.audio_completion_tokens;
    }
}

/// What one deployment saw.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RequestStats {
    pub requests: u64,
    pub by_status: BTreeMap<Ending, u64>,
    #[serde(flatten)]
    pub spent: Spent,
    /// The same by who asked, where `x-ms-client-request-id` says so: what stands there before a slash.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_caller: BTreeMap<String, Spent>,
    /// Requests whose client left before the answer ended.
    pub cancelled: u64,
    /// Requests in flight now.
    pub concurrent: u64,
    /// The most there ever were at once.
    pub concurrent_peak: u64,
}

impl RequestStats {
    /// How many requests were answered with this status.
    pub fn status(&self, status: u16) -> u64 {
        self.by_status
            .get(&Ending::Status(status))
            .copied()
            .unwrap_or(0)
    }

    /// How many requests met this fault and got no status.
    pub fn fault(&self, name: &str) -> u64 {
        self.by_status
            .iter()
            .find(|(ending, _)| matches!(ending, Ending::Fault(n) if *n == name))
            .map_or(0, |(_, n)| *n)
    }

    pub(crate) fn arrive(&mut self) {
        self.requests += 1;
        self.concurrent += 1;
        self.concurrent_peak = self.concurrent_peak.max(self.concurrent);
    }

    pub(crate) fn note(&mut self, ending: Ending) {
        *self.by_status.entry(ending).or_default() += 1;
    }

    pub(crate) fn leave(&mut self, spent: Spent, caller: Option<&str>, cancelled: bool) {
        self.concurrent = self.concurrent.saturating_sub(1);
        self.cancelled += u64::from(cancelled);
        self.spent += spent;
        if let Some(caller) = caller {
            *self.by_caller.entry(caller.to_owned()).or_default() += spent;
        }
    }

    /// Starts over; what is in flight stays in flight.
    pub(crate) fn clear(&mut self) {
        let concurrent = self.concurrent;
        *self = Self {
            concurrent,
            concurrent_peak: concurrent,
            ..Self::default()
        };
    }
}

/// Everything that was counted, at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    pub instances: BTreeMap<String, InstanceStats>,
    pub tokens: TokenStats,
}

/// One instance's pages.
#[derive(Clone, Debug, Default, Serialize)]
pub struct InstanceStats {
    pub deployments: BTreeMap<String, RequestStats>,
    /// Requests that reached no deployment: lists, unknown paths and deployments, refused credentials.
    pub other: RequestStats,
    /// Connections accepted so far.
    pub connections: u64,
}

/// What the token endpoints did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TokenStats {
    /// Calls that arrived, whatever became of them.
    pub asked: u64,
    pub issued: u64,
    /// The same by client id, or `system`, and audience, a space between.
    pub issued_to: BTreeMap<String, u64>,
    /// Those of them that have opened an instance.
    pub used: u64,
    /// Calls that got no token.
    pub refused: u64,
}

impl Stats {
    /// One deployment's statistics; an empty one for a name that isn't simulated.
    pub fn deployment(&self, instance: &str, deployment: &str) -> RequestStats {
        self.instances
            .get(instance)
            .and_then(|stats| stats.deployments.get(deployment))
            .cloned()
            .unwrap_or_default()
    }
}

/// One request as it was seen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SeenRequest {
    /// When its head had been read: microseconds since the simulator started.
    pub arrived_us: u64,
    /// When its answer or its end was decided, from there.
    pub took_us: Option<u64>,
    pub instance: String,
    /// Once it is known: in v1 paths the body tells.
    pub deployment: Option<String>,
    pub method: String,
    /// Path and query.
    pub path: String,
    pub http_version: String,
    /// In the order and the number they came.
    pub headers: Vec<(String, String)>,
    pub body_length: usize,
    /// Hex; absent until the body was read.
    pub body_sha256: Option<String>,
    pub model: Option<String>,
    /// The status answered, or the fault's name.
    pub ending: Option<Ending>,
    /// The fault that met it, whether it was answered or not.
    pub fault: Option<&'static str>,
    pub cancelled: bool,
    #[serde(skip)]
    pub(crate) arrived: Option<Instant>,
}

impl SeenRequest {
    pub(crate) fn end(&mut self, ending: Ending) {
        self.ending = Some(ending);
        self.took_us = self.arrived.map(|at| microseconds(at.elapsed()));
    }
}

pub(crate) fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// One remembered request, filled in as it goes on.
pub(crate) type SharedRequest = Arc<Mutex<SeenRequest>>;

/// The last requests.
#[derive(Debug)]
pub(crate) struct RequestLog {
    started: Instant,
    kept: Mutex<VecDeque<SharedRequest>>,
}

impl RequestLog {
    /// `started`: from when on times are counted.
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            kept: Mutex::default(),
        }
    }

    /// How long it has run.
    pub(crate) fn clock(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn remember(&self, seen: SeenRequest) -> SharedRequest {
        let seen = Arc::new(Mutex::new(seen));
        let mut kept = self.kept.lock();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(seen.clone());
        seen
    }

    /// Oldest first; of one instance, or of all.
    pub(crate) fn requests(&self, instance: Option<&str>) -> Vec<SeenRequest> {
        let kept = self.kept.lock();
        let all = kept.iter().map(|seen| seen.lock().clone());
        all.filter(|seen| instance.is_none_or(|name| seen.instance == name))
            .collect()
    }

    pub(crate) fn clear(&self) {
        self.kept.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_last_requests_only() {
        let request_log = RequestLog::new(Instant::now());
        for arrived_us in 0..5_010 {
            request_log.remember(SeenRequest {
                arrived_us,
                ..SeenRequest::default()
            });
        }
        let kept = request_log.requests(None);
        assert_eq!((kept.len(), kept[0].arrived_us), (5_000, 10));
    }

    #[test]
    fn clearing_a_page_keeps_what_is_in_flight() {
        let mut stats = RequestStats::default();
        stats.arrive();
        stats.clear();
        assert_eq!((stats.requests, stats.concurrent), (0, 1));
        stats.leave(Spent::default(), None, true);
        assert_eq!((stats.concurrent, stats.cancelled), (0, 1));
    }

    #[test]
    fn what_is_spent_is_counted_by_caller_too() {
        let (mut stats, spent) = (
            RequestStats::default(),
            Spent {
                prompt_tokens: 3,
                reasoning_tokens: 2,
                ..Spent::default()
            },
        );
        for caller in [Some("a"), None, Some("a")] {
            stats.leave(spent, caller, false);
        }
        assert_eq!(
            (stats.spent.prompt_tokens, stats.spent.reasoning_tokens),
            (9, 6)
        );
        assert_eq!(stats.by_caller["a"].prompt_tokens, 6);
    }

    #[test]
    fn statuses_and_faults_are_keys_of_one_table() {
        let mut stats = RequestStats::default();
        stats.note(Ending::Status(200));
        stats.note(Ending::Fault("hang"));
        assert_eq!(
            serde_json::to_value(&stats).unwrap()["by_status"],
            serde_json::json!({"200": 1, "hang": 1})
        );
        assert_eq!((stats.status(200), stats.fault("hang")), (1, 1));
    }
}
