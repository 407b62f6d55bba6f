//! What the command line asks for, and how long a run takes.

use std::{env, time::Duration};

use crate::{Result, cases::Case, contender::Kind};

/// How much is done of everything.
pub(crate) struct Extent {
    pub(crate) rounds: usize,
    /// Of the 1 KiB chat in each turn; other cases take their share of it.
    pub(crate) requests: u64,
    pub(crate) open_loop: Duration,
    pub(crate) streams: usize,
    pub(crate) starts: u32,
}

impl Extent {
    fn quick() -> Self {
        Self {
            rounds: 1,
            requests: 2_000,
            open_loop: Duration::from_millis(500),
            streams: 100,
            starts: 1,
        }
    }

    fn full() -> Self {
        Self {
            rounds: 5,
            requests: 20_000,
            open_loop: Duration::from_secs(5),
            streams: 2_000,
            starts: 9,
        }
    }

    /// A tenth of it, unmeasured, so that connections are there.
    pub(crate) fn warm_up(&self) -> Self {
        Self {
            rounds: 1,
            requests: self.requests / 10,
            open_loop: self.open_loop / 10,
            ..*self
        }
    }
}

/// A run as it is asked for.
pub(crate) struct Wanted {
    pub(crate) quick: bool,
    pub(crate) cases: Vec<Case>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) json: Option<String>,
    pub(crate) extent: Extent,
}

impl Wanted {
    /// `[--quick] [CASE…] [--only NAME…] [--json FILE]`; what cargo adds is passed over.
    pub(crate) fn read(arguments: &[String]) -> Result<Self> {
        let (mut cases, mut only, mut json, mut quick) = (Vec::new(), Vec::new(), None, false);
        let (mut left, mut names) = (arguments.iter(), false);
        while let Some(argument) = left.next() {
            match argument.as_str() {
                "--quick" => quick = true,
                "--bench" => {}
                "--json" => json = Some(left.next().ok_or("--json FILE")?.clone()),
                "--only" => names = true,
                name if names => {
                    only.push(named(name, &Kind::ALL.map(|kind| (kind.name(), kind)))?)
                }
                name => cases.push(named(name, &Case::ALL)?),
            }
        }
        let mut extent = if quick {
            Extent::quick()
        } else {
            Extent::full()
        };
        let number = |name| {
            env::var(name)
                .ok()
                .and_then(|value| value.parse::<u64>().ok())
        };
        if let Some(rounds) = number("ROUNDS") {
            extent.rounds = usize::try_from(rounds)?.max(1);
        }
        extent.requests = number("REQUESTS").unwrap_or(extent.requests);
        if cases.is_empty() {
            let all = Case::ALL.into_iter().map(|(_, case)| case);
            // These take longest, and a short run says nothing with them.
            cases = all
                .filter(|case| !(quick && matches!(case, Case::Streams | Case::Bodies)))
                .collect();
        }
        if only.is_empty() {
            let is_wanted = |kind: &Kind| kind.is_installed() && (!quick || *kind <= Kind::Haproxy);
            only = Kind::ALL.into_iter().filter(is_wanted).collect();
        }
        Ok(Self {
            quick,
            cases,
            kinds: only,
            json,
            extent,
        })
    }
}

fn named<T: Copy>(name: &str, all: &[(&'static str, T)]) -> Result<T> {
    let found = all.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|(known, _)| *known).collect();
        format!("{name:?} is none of: {}", known.join(", ")).into()
    })
}
