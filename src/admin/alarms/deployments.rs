//! Alarms of models and their deployments: the status that came, what becomes of clients, and what to do. What an instance does
//! in several pools is told once, of the instance.

use std::time::{Duration, Instant};

use super::{Alarm, Scene, alarm, warning};
use crate::admin::gateway::IdentityState;
use crate::{
    domain::{
        breaker::{BreakerState, Cause},
        deployment::Capacity,
        pool::{Few, Member, Pool, Refusing},
        route::Operation,
        span::Span,
    },
    telemetry::traffic_rates::DeploymentReading,
};

/// What is set aside, or fails, at one instance for one cause.
struct Group<'a> {
    cause: Cause,
    members: Vec<(&'a Pool, &'a Member)>,
}

impl Scene<'_> {
    pub(super) fn of_pool(&self, pool: &Pool) -> Option<Alarm> {
        if pool.is_ready(self.now) {
            return None;
        }
        let (model, states) = (pool.model(), self.told(pool.members()));
        let effect = pool.effect(self.now);
        let effect = effect
            .strip_prefix("no other deployment is available: ")
            .unwrap_or(&effect);
        let back = pool
            .members()
            .iter()
            .filter_map(|it| it.state(self.now).pause(self.now));
        let next = match back.min() {
            Some(pause) => format!("next retry in {}", Span(pause)),
            None => "one is being probed".to_owned(),
        };
        let text = format!("No deployment of {model} is available: {effect}; {next}. {states}.");
        let mend = "If deployments are throttled, raise their quota or add a deployment to the pool; the others have an alarm of their own.";
        Some(alarm("model_unavailable", text, mend))
    }

    /// Each with what is in its way.
    fn told<'a>(&self, members: impl IntoIterator<Item = &'a Member>) -> String {
        let tell = |member: &Member| {
            let state = member.state(self.now);
            let why = match state.cause() {
                _ if member.is_ready(self.now) => "ready".to_owned(),
                None => "half-open".to_owned(),
                Some(Cause::Throttle) => "429, throttled".to_owned(),
                Some(cause) => format!("{}, {}", failure(member, cause), word(cause)),
            };
            format!("{}: {why}", member.name())
        };
        let told: Vec<_> = members.into_iter().map(tell).collect();
        told.join("; ")
    }

    /// What is paid for anyway serves nothing, and what is paid by the token everything. A short 429 of a full one is
    /// everyday work: that counts once nothing has come from there for a minute.
    pub(super) fn of_provisioned(
        &self,
        pool: &Pool,
        readings: &[DeploymentReading],
    ) -> Option<Alarm> {
        let is_provisioned =
            |member: &Member| member.deployment().capacity == Capacity::Provisioned;
        let members = || pool.members().iter();
        let provisioned: Vec<_> = members().filter(|it| is_provisioned(it)).collect();
        let is_out = |it: &&Member| !it.is_ready(self.now);
        let is_ready = |it: &Member| !is_provisioned(it) && it.is_ready(self.now);
        if provisioned.is_empty() || !provisioned.iter().all(is_out) || !members().any(is_ready) {
            return None;
        }
        let served = |wanted: bool| -> u64 {
            let pairs = members()
                .zip(readings)
                .filter(|(member, _)| is_provisioned(member) == wanted);
            let attempts = pairs.flat_map(|(_, reading)| &reading.attempts);
            let served = attempts.filter(|(outcome, _)| *outcome == "served");
            served.map(|(_, times)| times).sum()
        };
        let is_full = |it: &&Member| it.state(self.now).cause() == Some(Cause::Throttle);
        let only_full = provisioned.iter().all(is_full);
        if only_full && (served(true) > 0 || served(false) == 0) {
            return None;
        }
        let (model, effect) = (pool.model(), pool.effect(self.now));
        let states = self.told(provisioned);
        let text = format!(
            "All provisioned capacity of {model} is unavailable ({states}), so every request is billed per token: {effect}."
        );
        Some(match only_full {
            true => {
                let mend = "It has been full for a minute: buy more PTUs, or set limits for the clients that use the most.";
                warning("provisioned_out", text, mend)
            }
            false => {
                let mend = "See the alarm of each of these deployments: until they are fixed, the capacity that you pay for is unused.";
                alarm("provisioned_out", text, mend)
            }
        })
    }

    /// Being throttled is everyday work. What an identity lacks is told once, of the identity.
    pub(super) fn of_members(&self) -> Vec<Alarm> {
        let causes = self.members().filter_map(|(pool, member)| {
            let cause = member.state(self.now).cause();
            let cause = cause.filter(|cause| *cause != Cause::Throttle);
            let cause = cause.filter(|cause| !self.is_told(member, *cause))?;
            Some(((cause, instance(member)), (pool, member)))
        });
        let groups = grouped(causes).into_iter();
        let groups = groups.map(|((cause, _), members)| Group { cause, members });
        groups.map(|group| self.of_group(&group)).collect()
    }

    fn is_told(&self, member: &Member, cause: Cause) -> bool {
        let identity = &member.deployment().instance.identity;
        let lacks = |it: &IdentityState| it.identity == *identity && !it.ready;
        cause == Cause::Credential && self.identities.iter().any(lacks)
    }

    fn of_group(&self, group: &Group<'_>) -> Alarm {
        let (who, why) = (who(&group.members), group.why());
        let (next, effect) = (self.next(group), self.effect(group));
        let member = group.members[0].1;
        let identity = &member.deployment().instance.identity;
        let (name, what, mend) = match group.cause {
            Cause::Throttle | Cause::Fault => (
                "failing",
                "circuit open".to_owned(),
                mend_fault(&why).to_owned(),
            ),
            Cause::Credential => (
                "credential_refused",
                format!("it rejects the credential of {identity} and is set aside"),
                format!(
                    "Give the identity {identity} the role Cognitive Services OpenAI User on the instance; check its scope and tenant, the instance's network rules and its custom subdomain."
                ),
            ),
            Cause::Redirect => (
                "redirected",
                "it redirects requests and is set aside".to_owned(),
                "The instance's `endpoint` is wrong: compare scheme, host and path with what Azure shows for the resource.".to_owned(),
            ),
            Cause::NotTheApi => (
                "not_the_api",
                "the answer is not from the API, so the deployment is set aside".to_owned(),
                "The instance's `endpoint` leads to a web page or a proxy: compare it with what Azure shows for the resource, and look for a proxy in between that asks for a login.".to_owned(),
            ),
            Cause::Configuration => (
                "not_deployed",
                "the instance has no deployment of this name, so it is set aside".to_owned(),
                "Correct the deployment's name in the config, or create the deployment in Azure.".to_owned(),
            ),
        };
        let text = format!("{why} from {who}: {what}, {next}; {effect}.");
        let made = match group.cause {
            Cause::Throttle | Cause::Fault => {
                let text = text.replacen("no ", "No ", usize::from(text.starts_with("no ")));
                warning(name, text, mend)
            }
            _ => alarm(name, text, mend),
        };
        of_instance(made, member)
    }

    /// What deployments are not asked for while they do other work.
    pub(super) fn of_bars(&self) -> Vec<Alarm> {
        let members = self.members();
        let bars = members.flat_map(|(pool, member)| {
            let bars = member.bars().into_iter();
            bars.map(move |(operation, cause, until)| (pool, member, operation, cause, until))
        });
        let tell = |(pool, member, operation, cause, until): (
            &Pool,
            &Member,
            Operation,
            _,
            Instant,
        )| {
            let identity = &member.deployment().instance.identity;
            let effect = pool.effect_beside(member, Some(operation), self.now);
            let (name, operation, model) = (member.name(), operation.path(), pool.model());
            let why = member
                .failure_of_one(cause)
                .map_or_else(|| "4xx".to_owned(), |failure| failure.to_string());
            let pause = until.checked_duration_since(self.now);
            let next = next_try(pause.filter(|pause| !pause.is_zero()));
            let made = match cause {
                Cause::Credential => alarm(
                    "operation_refused",
                    format!(
                        "{why} from {name} (of {model}): the identity {identity} is not allowed to do {operation}, so the deployment gets no such requests, {next}; {effect}."
                    ),
                    format!(
                        "Give the identity {identity} a role on the instance that allows {operation}."
                    ),
                ),
                _ => alarm(
                    "operation_not_there",
                    format!(
                        "{why} from {name} (of {model}): it rejects {operation} requests that other deployments serve, so it gets no such requests, {next}; {effect}."
                    ),
                    "Compare the instance's `endpoint` and the deployed model with those of the other deployments; an old API version may lack the operation.",
                ),
            };
            of_instance(made, member)
        };
        bars.map(tell).collect()
    }

    /// An instance that answers nothing but 4xx: alone it may have met nothing but wrong requests, beside others that serve
    /// not.
    pub(super) fn of_refusing(&self) -> Vec<Alarm> {
        let refusing = self.members().filter_map(|(pool, member)| {
            let refusing = member.refusing().filter(Refusing::is_suspect)?;
            Some((instance(member), (pool, member, refusing)))
        });
        let by_instance = grouped(refusing).into_iter();
        by_instance
            .map(|(_, all)| self.tell_refusing(&all))
            .collect()
    }

    fn tell_refusing(&self, all: &[(&Pool, &Member, Refusing)]) -> Alarm {
        let (pool, member, refusing) = &all[0];
        let members: Vec<_> = all
            .iter()
            .map(|(pool, member, _)| (*pool, *member))
            .collect();
        let who = who(&members);
        let since = all
            .iter()
            .map(|it| it.2.since)
            .min()
            .unwrap_or(refusing.since);
        let times: u32 = all.iter().map(|it| it.2.times).sum();
        let status = refusing.status;
        let ago = self.now.saturating_duration_since(since);
        let at = humantime::format_rfc3339_seconds(self.today - ago)
            .to_string()
            .replace('T', " ")
            .replace('Z', " UTC");
        let others_serve = all.iter().any(|(pool, _, refusing)| {
            let mut fellows = pool.members().iter();
            fellows.any(|it| it.served_at().is_some_and(|at| at > refusing.since))
        });
        let text = format!("{who} answers {status} to every request since {at} ({times} times)");
        let made = match others_serve {
            true => alarm(
                "refuses_everything",
                format!(
                    "{text}, while other deployments serve the same model: {}.",
                    pool.effect_beside(member, None, self.now)
                ),
                "Compare the instance's `endpoint` (scheme, host, path), the deployment's name and its API version with those of the deployments that serve.",
            ),
            false => warning(
                "refuses_everything",
                format!("{text}: clients get these errors."),
                "Either the clients' requests are wrong (the access log names the client), or the instance's `endpoint`, the deployment's name or its API version.",
            ),
        };
        of_instance(made, member)
    }

    fn members(&self) -> impl Iterator<Item = (&Pool, &Member)> {
        let pools = self.pools.iter();
        pools.flat_map(|pool| pool.members().iter().map(move |member| (&**pool, member)))
    }

    /// When it is asked again, the soonest of them.
    fn next(&self, group: &Group<'_>) -> String {
        let states = || group.members.iter().map(|(_, it)| it.state(self.now));
        let pauses = states().filter_map(|state| state.pause(self.now));
        match pauses.min() {
            _ if states().any(|it| matches!(it, BreakerState::Trial { .. })) => {
                "half-open: a request probes it now".to_owned()
            }
            pause => next_try(pause),
        }
    }

    /// What becomes of the clients of all its models.
    fn effect(&self, group: &Group<'_>) -> String {
        if let [(pool, _)] = group.members[..] {
            return pool.effect(self.now);
        }
        let (mut by, mut without) = (Vec::new(), Vec::new());
        for (pool, _) in &group.members {
            let serving: Vec<_> = serving_instances(pool, self.now);
            if serving.is_empty() && !pool.is_ready(self.now) {
                add(&mut without, pool.model().to_string());
            }
            serving.into_iter().for_each(|it| add(&mut by, it));
        }
        let served = format!("clients are served by {}", Few(&by));
        let refused = format!(
            "no other deployment serves {}: its clients get errors",
            Few(&without)
        );
        match (by.is_empty(), without.is_empty()) {
            (_, true) => served,
            (true, false) => refused,
            (false, false) => format!("{served}; {refused}"),
        }
    }
}

impl Group<'_> {
    /// The latest failure of all of them.
    fn why(&self) -> String {
        let members = self.members.iter().map(|(_, member)| *member);
        let at = |it: &&Member| it.failure(self.cause).map(|failure| failure.at);
        let latest = members.max_by_key(at);
        latest.map_or(String::new(), |member| failure(member, self.cause))
    }
}

/// `INSTANCE/DEPLOYMENT (of MODEL)`, or the instance and how many of its deployments.
fn who(members: &[(&Pool, &Member)]) -> String {
    if let [(pool, member)] = members {
        return format!("{} (of {})", member.name(), pool.model());
    }
    let names = members
        .iter()
        .map(|(_, it)| it.deployment().name.to_string());
    let names: Vec<_> = names.collect();
    let (instance, number) = (instance(members[0].1), names.len());
    format!("{instance} ({number} deployments: {})", Few(&names))
}

/// When it is asked again.
fn next_try(pause: Option<Duration>) -> String {
    match pause {
        Some(pause) => format!("next retry in {}", Span(pause)),
        None => "the next request probes it".to_owned(),
    }
}

fn of_instance(alarm: Alarm, member: &Member) -> Alarm {
    Alarm {
        instance: Some(instance(member).to_owned()),
        ..alarm
    }
}

fn instance(member: &Member) -> &str {
    member.deployment().instance.name.as_str()
}

/// Those of one key together, in the order in which the keys came.
fn grouped<K: PartialEq, T>(all: impl Iterator<Item = (K, T)>) -> Vec<(K, Vec<T>)> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for (key, one) in all {
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(one),
            None => groups.push((key, vec![one])),
        }
    }
    groups
}

fn serving_instances(pool: &Pool, now: Instant) -> Vec<String> {
    let names = pool.serving(now);
    names.map(|it| instance(it).to_owned()).collect()
}

fn add(names: &mut Vec<String>, name: String) {
    if !names.contains(&name) {
        names.push(name);
    }
}

/// What it was left alone for; where nothing came, what such a cause goes with.
fn failure(member: &Member, cause: Cause) -> String {
    match member.failure(cause) {
        Some(failure) => failure.to_string(),
        None if cause == Cause::Credential => "no token".to_owned(),
        None => "faults".to_owned(),
    }
}

/// How a deployment is left alone, in the words of circuit breakers.
fn word(cause: Cause) -> &'static str {
    match cause {
        Cause::Throttle => "throttled",
        Cause::Fault => "circuit open",
        Cause::Credential | Cause::Configuration | Cause::Redirect | Cause::NotTheApi => {
            "set aside"
        }
    }
}

fn mend_fault(why: &str) -> &'static str {
    match why {
        "no connection" => {
            "Check the endpoint, DNS, the private endpoint and firewalls; the log event `instance_unreachable` has the reason."
        }
        "no answer in time" => {
            "The request timed out: compare the model's usual latency with `first_byte_timeout`, and check the instance's latency and utilization in Azure."
        }
        "an answer that broke off" | "connection closed before an answer" => {
            "Check idle timeouts between here and the instance (firewall, NAT, proxy), then the instance itself."
        }
        _ => {
            "If it lasts, check the instance's metrics in Azure and Azure's status page; the access log has each attempt."
        }
    }
}
