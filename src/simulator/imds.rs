//! What a VM's metadata service refuses (wire facts: Tokens): requests that look forwarded, and too many of them.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use http::HeaderMap;
use parking_lot::Mutex;

/// So many token requests a second, and so many at once, from one VM.
const A_SECOND: usize = 20;
const AT_ONCE: usize = 5;

/// How many there were within the last second, and are now.
#[derive(Default)]
pub(super) struct Rate {
    last: Mutex<VecDeque<Instant>>,
    now: AtomicUsize,
}

/// A request that is let in, until it is dropped.
pub(super) struct Entered<'a>(&'a AtomicUsize);

impl Rate {
    /// Lets a request in; `None`: there are too many.
    pub(super) fn enter(&self, now: Instant) -> Option<Entered<'_>> {
        let entered = Entered(&self.now);
        let at_once = self.now.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last.lock();
        last.retain(|at| now.saturating_duration_since(*at) < Duration::from_secs(1));
        if at_once >= AT_ONCE || last.len() >= A_SECOND {
            return None;
        }
        last.push_back(now);
        Some(entered)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is wrong with a request's headers and query names: error and description.
pub(super) fn objection(
    headers: &HeaderMap,
    query: &[(String, String)],
) -> Option<(&'static str, &'static str)> {
    if headers.get("metadata").is_none_or(|value| value != "true") {
        return Some(("bad_request_102", "Required metadata header not specified"));
    }
    if headers.contains_key("x-forwarded-for") {
        return Some(("bad_request", "Requests that were forwarded are refused"));
    }
    let names = || query.iter().map(|(name, _)| name);
    if names()
        .enumerate()
        .any(|(at, name)| names().take(at).any(|it| it == name))
    {
        return Some(("bad_request", "A query parameter is there twice"));
    }
    if names().any(|name| name == "api-version") {
        None
    } else {
        Some((
            "bad_request_100",
            "The api-version query parameter is missing",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_twenty_requests_and_five_of_them_at_once() {
        let (rate, t) = (Rate::default(), Instant::now());
        let five: Vec<_> = (0..5).map(|_| rate.enter(t).unwrap()).collect();
        assert!(rate.enter(t).is_none());
        drop(five);
        for _ in 5..20 {
            assert!(rate.enter(t).is_some());
        }
        assert!(rate.enter(t).is_none());
        assert!(rate.enter(t + Duration::from_secs(1)).is_some());
    }

    #[test]
    fn what_looks_forwarded_or_says_things_twice_is_refused() {
        let asked = |names: &[&str], lines: &[(&'static str, &'static str)]| {
            let query: Vec<_> = names.iter().map(|it| ((*it).into(), "x".into())).collect();
            let lines = lines.iter().map(|(name, value)| {
                let value = http::HeaderValue::from_static(value);
                (http::HeaderName::from_static(name), value)
            });
            objection(&lines.collect(), &query)
        };
        let names = ["api-version", "resource"];
        let good = ("metadata", "true");
        assert_eq!(asked(&names, &[good]), None);
        assert!(asked(&names, &[]).is_some());
        assert!(asked(&names, &[("metadata", "True")]).is_some());
        assert!(asked(&names, &[good, ("x-forwarded-for", "10.0.0.1")]).is_some());
        assert!(asked(&["api-version", "resource", "resource"], &[good]).is_some());
        assert!(asked(&["resource"], &[good]).is_some());
    }
}
