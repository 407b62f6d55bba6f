//! The books after the chaos: what clients, log, metrics and deployments say must be one story.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{Asked, ChaosRun, MODEL, STEADY, names, observations::Observation};
use crate::{
    harness::{client, eventually, eventually_async},
    metrics_page::{label, samples},
};

/// All there is to compare, and what doesn't fit.
pub(crate) struct Accounting<'a> {
    run: &'a ChaosRun,
    asked: &'a [Asked],
    seen: &'a [Observation],
    /// By the gateway's request id.
    log: HashMap<String, Value>,
    lines: usize,
    metrics: String,
    status: Value,
    wrong: Vec<String>,
}

impl<'a> Accounting<'a> {
    /// Waits until everything has been written.
    pub(crate) async fn settle(
        run: &'a ChaosRun,
        asked: &'a [Asked],
        seen: &'a [Observation],
    ) -> Self {
        let file = run.gateway.folder.join("access.jsonl");
        let read = || std::fs::read_to_string(&file).unwrap_or_default();
        eventually("every request is in the log", || {
            read().lines().count() >= asked.len()
        })
        .await;
        let http = client();
        let get = async |path: &str| {
            let url = format!("http://{}{path}", run.gateway.admin);
            http.get(url).send().await.unwrap().text().await.unwrap()
        };
        eventually_async("every request is counted", async || {
            total(&get("/metrics").await, "forebay_requests_total{") >= asked.len() as u64
        })
        .await;
        let lines: Vec<Value> = read()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let by_id = |line: &Value| {
            (
                line["request_id"].as_str().unwrap().to_owned(),
                line.clone(),
            )
        };
        Self {
            run,
            asked,
            seen,
            lines: lines.len(),
            log: lines.iter().map(by_id).collect(),
            metrics: get("/metrics").await,
            status: serde_json::from_str(&get("/status").await).unwrap(),
            wrong: Vec::new(),
        }
    }

    pub(crate) fn check(mut self, seed: u64) {
        self.check_clients();
        self.check_log();
        self.check_generations();
        self.check_counters();
        self.check_books();
        self.print();
        let first: Vec<_> = self.wrong.iter().take(20).collect();
        assert!(
            first.is_empty(),
            "{} wrong with FOREBAY_CHAOS_SEED={seed}: {first:#?}",
            self.wrong.len()
        );
    }

    /// How many times a request went on to another deployment: what was lost with its connection is asked again at the same.
    fn moves(&self) -> u64 {
        let lines = self.log.values();
        let moves = lines.map(|line| {
            let attempts = line["attempts"].as_array().unwrap();
            let pairs = attempts.windows(2);
            pairs
                .filter(|pair| pair[0]["instance"] != pair[1]["instance"])
                .count()
        });
        moves.sum::<usize>() as u64
    }

    fn claim(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(otherwise());
        }
    }

    fn check_clients(&mut self) {
        for asked in self.asked {
            if let Some(wrong) = asked.wrong() {
                let line = self.log.get(&asked.request_id);
                let line = line.map(ToString::to_string);
                self.wrong.push(format!("{wrong}: {asked:?}; {line:?}"));
            }
        }
    }

    /// One line a request, which says of its end what the client saw of it.
    fn check_log(&mut self) {
        let (lines, ids, asked) = (self.lines, self.log.len(), self.asked.len());
        self.claim((lines, ids) == (asked, asked), || {
            format!("{lines} lines of {ids} requests for {asked}")
        });
        for asked in self.asked {
            let Some(line) = self.log.get(&asked.request_id).cloned() else {
                self.wrong.push(format!("not in the log: {asked:?}"));
                continue;
            };
            let end = if asked.broken { "broken" } else { "complete" };
            self.claim(line["end"] == end && line["status"] == asked.status, || {
                format!("the log has another end: {line}; {asked:?}")
            });
        }
    }

    /// Answered once, by the one that the log names; another that did the work too failed after it, by the log as well.
    fn check_generations(&mut self) {
        let mut clean: HashMap<&str, Vec<&str>> = HashMap::new();
        for sight in self.seen.iter().filter(|sight| sight.is_clean) {
            clean.entry(&sight.id).or_default().push(&sight.instance);
        }
        for asked in self.asked.iter().filter(|asked| !asked.broken) {
            let Some(line) = self.log.get(&asked.request_id) else {
                continue;
            };
            let attempts = || line["attempts"].as_array().into_iter().flatten();
            let server = attempts().find(|attempt| attempt["outcome"] == "served");
            let server = server.map_or("", |attempt| attempt["instance"].as_str().unwrap());
            let mut others = clean.get(asked.id.as_str()).cloned().unwrap_or_default();
            let served = others.iter().position(|instance| *instance == server);
            if let Some(at) = served {
                others.remove(at);
            }
            let failed = |instance: &&str| {
                let is_it = |attempt: &Value| {
                    let outcome = attempt["outcome"].as_str().unwrap();
                    attempt["instance"] == **instance && outcome.starts_with("fault_")
                };
                attempts().any(is_it)
            };
            if served.is_none() && !self.is_twisted(&asked.id, server) || !others.iter().all(failed)
            {
                self.wrong
                    .push(format!("answered by {server:?} and by {others:?}: {line}"));
            }
        }
    }

    /// Whether that deployment answered it with a fault that an answer survives, as silence.
    fn is_twisted(&self, id: &str, instance: &str) -> bool {
        let mut sights = self.seen.iter();
        sights.any(|sight| sight.id == id && sight.instance == instance)
    }

    /// The metrics are the log's sums.
    fn check_counters(&mut self) {
        let requests = total(&self.metrics, "forebay_requests_total{");
        let asked = self.asked.len() as u64;
        self.claim(requests == asked, || {
            format!("{requests} requests counted of {asked}")
        });
        let counted = self.counted();
        let told = self.attempts();
        let mut sums = BTreeMap::new();
        for (instance, outcome, _) in &told {
            *sums.entry((instance.clone(), outcome.clone())).or_default() += 1;
        }
        self.claim(counted == sums, || {
            format!("attempts counted: {counted:?}; in the log: {sums:?}")
        });
        let moves = total(&self.metrics, "forebay_failovers_total{");
        let expected = self.moves();
        self.claim(moves == expected, || {
            format!("{moves} moves counted of {expected}")
        });
        let inflight = self.status["models"][0]["deployments"]
            .as_array()
            .unwrap()
            .iter();
        let inflight: u64 = inflight.map(|it| it["inflight"].as_u64().unwrap()).sum();
        self.claim(inflight == 0, || format!("{inflight} still in flight"));
    }

    /// What a deployment answered the gateway has heard, unless its connection was cut on the way.
    fn check_books(&mut self) {
        let (stats, told) = (self.run.simulator.stats(), self.attempts());
        for name in names() {
            let page = stats.deployment(name, MODEL);
            let seen = self
                .seen
                .iter()
                .filter(|sight| sight.instance == name)
                .count() as u64;
            let of = |what: &dyn Fn(&str, Option<u64>) -> bool| {
                let mine = told.iter().filter(|(instance, outcome, status)| {
                    instance == name && what(outcome, *status)
                });
                mine.count() as u64
            };
            let cut = of(&|outcome, status| outcome.starts_with("fault_") && status.is_none());
            // Of one cut before its body had come, nobody knows which deployment it was for.
            let unread = seen.checked_sub(page.requests);
            self.claim(unread.is_some_and(|unread| unread <= cut), || {
                format!("{name}: {seen} remembered of {}, cut {cut}", page.requests)
            });
            for code in [200, 408, 429, 500, 503] {
                let (heard, said) = (
                    of(&|_, status| status == Some(u64::from(code))),
                    page.status(code),
                );
                self.claim(heard <= said && said - heard <= cut, || {
                    format!("{name}: {said} answers with {code}, heard {heard}, cut {cut}")
                });
            }
            let failed = of(&|outcome, _| outcome != "served");
            self.claim(name != STEADY || failed == 0, || {
                format!("{failed} failures of the steady one")
            });
            self.claim(name == STEADY || failed > 0, || {
                format!("{name} never failed")
            });
        }
    }

    /// Every attempt in the log: instance, outcome, status.
    fn attempts(&self) -> Vec<(String, String, Option<u64>)> {
        let attempts = self
            .log
            .values()
            .flat_map(|line| line["attempts"].as_array().unwrap());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        attempts
            .map(|it| {
                (
                    text(&it["instance"]),
                    text(&it["outcome"]),
                    it["status"].as_u64(),
                )
            })
            .collect()
    }

    fn counted(&self) -> BTreeMap<(String, String), u64> {
        let samples = samples(&self.metrics, "forebay_attempts_total{");
        let samples = samples.filter(|(_, number)| *number > 0);
        samples
            .map(|(labels, number)| {
                (
                    (label(labels, "instance"), label(labels, "outcome")),
                    number,
                )
            })
            .collect()
    }

    /// So that one can see that there was chaos.
    fn print(&self) {
        let broken = self.asked.iter().filter(|asked| asked.broken).count();
        let moved = self
            .log
            .values()
            .filter(|line| line["attempts"].as_array().unwrap().len() > 1)
            .count();
        println!(
            "{} requests, {moved} moved on, {broken} broke after their answer had begun",
            self.asked.len()
        );
        for ((instance, outcome), number) in self.counted() {
            println!("  {instance:8} {outcome:18} {number}");
        }
    }
}

fn total(page: &str, name: &str) -> u64 {
    samples(page, name).map(|(_, number)| number).sum()
}
