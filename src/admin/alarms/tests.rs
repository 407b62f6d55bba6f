use std::time::Duration;

use super::*;
use crate::domain::{
    breaker::Settings,
    deployment::{Capacity, Deployment, Endpoint, Instance, Kind, Model, Priority, Weight},
    name::{IdentityName, InstanceName},
    outcome::{Fault, Outcome},
    pool::Failure,
    validity::Validity,
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A pool of these instances' deployments, each asked with an identity of its own name.
fn pool(instances: &[&str]) -> Arc<Pool> {
    let deployment = |name: &&str| Deployment {
        instance: Arc::new(Instance {
            name: InstanceName::from(*name),
            endpoint: Endpoint::parse("http://127.0.0.1:1").unwrap(),
            kind: Kind::AzureOpenai,
            identity: IdentityName::from(*name),
            scope: String::new(),
            geography: None,
            ca: None,
            connect_to: None,
            stream_usage: true,
        }),
        name: "chat".into(),
        capacity: Capacity::Standard,
        priority: Priority::FIRST,
        weight: Weight::ONE,
    };
    let model = Model {
        name: "gpt".into(),
        version: None,
        deployments: instances.iter().map(deployment).collect(),
        timeouts: Default::default(),
        required: false,
    };
    Arc::new(Pool::new(model, Settings::default()))
}

/// One attempt at that member ends so.
fn ends(pool: &Arc<Pool>, index: usize, outcome: Outcome, now: Instant) {
    let others: Vec<_> = (0..pool.members().len()).filter(|i| *i != index).collect();
    let mut attempt = pool.choose(&others, now, 0).unwrap();
    assert_eq!(attempt.index(), index);
    let status = match outcome {
        Outcome::Faulted {
            fault: Fault::Unavailable,
            ..
        } => Some(503),
        Outcome::Throttled { .. } => Some(429),
        Outcome::IdentityRejected => Some(401),
        Outcome::NotDeployed => Some(404),
        _ => None,
    };
    attempt.member().note_failure(Failure {
        outcome,
        status,
        at: now,
    });
    attempt.judge(&outcome, now, 0);
}

fn identity(name: &str, ready: bool, last_error: Option<&str>) -> IdentityState {
    IdentityState {
        identity: name.into(),
        kind: "managed_identity",
        source: None,
        asked_at: None,
        instances: vec![name.into()],
        scope: None,
        ready,
        expires_on: Some(SystemTime::UNIX_EPOCH + secs(600)),
        failures: 0,
        last_error: last_error.map(str::to_owned),
    }
}

fn told(scene: &Scene<'_>) -> Vec<(&'static str, &'static str, String)> {
    let (alarms, left_off) = raised(scene);
    assert_eq!(left_off, 0);
    let severity = |alarm: &Alarm| match alarm.severity {
        Severity::Alarm => "alarm",
        Severity::Warning => "warning",
    };
    let each = alarms.into_iter();
    each.map(|it| (severity(&it), it.what, it.text)).collect()
}

/// A pool of these deployments, `(instance, deployment, provisioned)`.
fn pool_of(model: &str, deployments: &[(&str, &str, bool)]) -> Arc<Pool> {
    let names: Vec<_> = deployments.iter().map(|it| it.0).collect();
    let pool_of_names = pool(&names);
    let members = pool_of_names.members().iter().zip(deployments);
    let deployments = members.map(|(member, (_, name, is_provisioned))| Deployment {
        name: (*name).into(),
        capacity: if *is_provisioned {
            Capacity::Provisioned
        } else {
            Capacity::Standard
        },
        ..member.deployment().clone()
    });
    let model = Model {
        name: model.into(),
        version: None,
        deployments: deployments.collect(),
        timeouts: Default::default(),
        required: false,
    };
    Arc::new(Pool::new(model, Settings::default()))
}

fn fails(pool: &Arc<Pool>, index: usize, now: Instant) {
    while pool.members()[index].is_ready(now) {
        ends(pool, index, Outcome::fault(Fault::Connect), now);
    }
}

#[test]
fn what_an_instance_does_in_several_pools_is_one_alarm_that_names_who_serves() {
    let t = Instant::now();
    let pools = [
        pool_of("gpt", &[("east", "gpt-e", false), ("west", "gpt-w", false)]),
        pool_of(
            "embed",
            &[("east", "embed-e", false), ("north", "embed-n", false)],
        ),
        pool_of("image", &[("east", "image-e", false)]),
    ];
    pools.iter().for_each(|pool| fails(pool, 0, t));
    let (alarms, _) = raised(&scene(&pools, t));
    let words: Vec<_> = alarms.iter().map(|it| it.what).collect();
    assert_eq!(words, ["model_unavailable", "failing"]);
    assert_eq!(alarms[1].instance.as_deref(), Some("east"));
    assert_eq!(
        alarms[1].text,
        "No connection from east (3 deployments: gpt-e, embed-e, image-e): circuit open, next retry in 10 s; \
         clients are served by west, north; no other deployment serves image: its clients get errors."
    );
    assert!(alarms[1].mend.contains("DNS"), "{alarms:?}");
    assert!(alarms.iter().all(|it| it.mend.len() > 20), "{alarms:?}");
}

#[test]
fn provisioned_capacity_that_is_out_is_told_with_who_is_paid_by_the_token() {
    let t = Instant::now();
    let served = |times| DeploymentReading {
        rate: Default::default(),
        attempts: vec![("served", times)],
        first_token: Default::default(),
    };
    let told_of = |pool: &Arc<Pool>, by_ptu, by_std| {
        let (pools, readings) = ([Arc::clone(pool)], [vec![served(by_ptu), served(by_std)]]);
        let scene = Scene {
            readings: &readings,
            ..scene(&pools, t)
        };
        let told = told(&scene);
        told.into_iter().find(|it| it.1 == "provisioned_out")
    };
    let pool = || pool_of("gpt", &[("ptu", "gpt-ptu", true), ("std", "gpt", false)]);
    let full = pool();
    assert_eq!(told_of(&full, 9, 0), None);
    ends(
        &full,
        0,
        Outcome::Throttled {
            wait: Some(secs(2)),
        },
        t,
    );
    assert_eq!(told_of(&full, 9, 9), None, "a short 429 is everyday work");
    let (severity, _, text) = told_of(&full, 0, 9).unwrap();
    assert_eq!(severity, "warning");
    assert_eq!(
        text,
        "All provisioned capacity of gpt is unavailable (ptu/gpt-ptu: 429, throttled), so every request is billed per token: \
         clients are served by std/gpt."
    );
    let broken = pool();
    fails(&broken, 0, t);
    assert_eq!(told_of(&broken, 9, 0).unwrap().0, "alarm");
    fails(&broken, 1, t);
    assert_eq!(told_of(&broken, 9, 0), None, "nobody is left to be paid");
}

fn scene(pools: &[Arc<Pool>], now: Instant) -> Scene<'_> {
    Scene {
        pools,
        readings: &[],
        identities: &[],
        issuers: &[],
        listeners: &[],
        logs: &[],
        store_failures: 0,
        stores_set_aside: 0,
        is_draining: false,
        now,
        today: SystemTime::UNIX_EPOCH,
    }
}

#[test]
fn where_all_is_well_or_only_throttled_nothing_is_said() {
    let (pools, t) = ([pool(&["east", "west"])], Instant::now());
    assert_eq!(told(&scene(&pools, t)), []);
    ends(
        &pools[0],
        0,
        Outcome::Throttled {
            wait: Some(secs(30)),
        },
        t,
    );
    assert_eq!(told(&scene(&pools, t)), []);
}

#[test]
fn a_model_that_nobody_serves_comes_first_with_when_it_is_back() {
    let (pools, t) = ([pool(&["east", "west"])], Instant::now());
    ends(
        &pools[0],
        0,
        Outcome::Throttled {
            wait: Some(secs(30)),
        },
        t,
    );
    ends(&pools[0], 1, Outcome::NotDeployed, t);
    let told = told(&scene(&pools, t));
    let words: Vec<_> = told.iter().map(|it| (it.0, it.1)).collect();
    let expected = [("alarm", "model_unavailable"), ("alarm", "not_deployed")];
    assert_eq!(words, expected);
    assert_eq!(
        told[0].2,
        "No deployment of gpt is available: clients get 503 with Retry-After; next retry in 10 s. \
         east/chat: 429, throttled; west/chat: 404, set aside."
    );
    assert_eq!(
        told[1].2,
        "404 from west/chat (of gpt): the instance has no deployment of this name, so it is set aside, next retry in 10 s; \
         no other deployment is available: clients get 503 with Retry-After."
    );
}

#[test]
fn a_failing_deployment_is_a_warning_until_it_is_back() {
    let (pools, t) = ([pool(&["east", "west"])], Instant::now());
    for _ in 0..20 {
        if pools[0].members()[0].is_ready(t) {
            ends(&pools[0], 0, Outcome::fault(Fault::Unavailable), t);
        }
    }
    let after = |seconds| told(&scene(&pools, t + secs(seconds)));
    let now = after(0);
    assert_eq!((now.len(), now[0].0, now[0].1), (1, "warning", "failing"));
    assert_eq!(
        now[0].2,
        "503 from east/chat (of gpt): circuit open, next retry in 10 s; clients are served by west/chat."
    );
    assert!(after(3600)[0].2.contains("the next request probes it"));
    ends(&pools[0], 0, Outcome::Served, t + secs(3600));
    assert_eq!(after(3600), []);
}

#[test]
fn what_an_identity_lacks_is_told_once_and_of_the_identity() {
    let (pools, t) = ([pool(&["east", "west"])], Instant::now());
    ends(&pools[0], 0, Outcome::IdentityRejected, t);
    let refused = told(&scene(&pools, t));
    assert_eq!((refused.len(), refused[0].1), (1, "credential_refused"));
    assert!(
        refused[0]
            .2
            .starts_with("401 from east/chat (of gpt): it rejects the credential of east and"),
        "{refused:?}"
    );

    let identities = [
        identity("east", false, Some("no route")),
        identity("west", true, Some("busy")),
    ];
    let scene = Scene {
        identities: &identities,
        ..scene(&pools, t)
    };
    let both = told(&scene);
    let words: Vec<_> = both.iter().map(|it| (it.0, it.1)).collect();
    let expected = [
        ("alarm", "identity_without_token"),
        ("warning", "identity_not_renewed"),
    ];
    assert_eq!(words, expected);
    assert!(
        both[0].2.ends_with("so east gets no requests: no route"),
        "{both:?}"
    );
    assert!(both[1].2.contains("expires in 10 min: busy"), "{both:?}");
}

#[test]
fn certificates_issuers_the_log_and_the_end_have_their_words() {
    let (day, t) = (secs(86_400), Instant::now());
    let from = SystemTime::UNIX_EPOCH;
    let listener = |until: Option<Duration>, error: Option<&str>| ListenerState {
        address: "127.0.0.1:443".parse().unwrap(),
        connections: 0,
        certificate: until.map(|until| Validity {
            from,
            until: from + until,
        }),
        certificate_error: error.map(str::to_owned),
    };
    let issuer = |keys, error: Option<&str>| IssuerState {
        issuer: "partner".into(),
        url: String::new(),
        keys,
        fetched_at: None,
        fetches: 1,
        failures: 1,
        last_error: error.map(str::to_owned),
    };
    let listeners = [
        listener(None, None),
        listener(Some(90 * day), None),
        listener(Some(85 * day), None),
        listener(Some(79 * day), Some("no key")),
    ];
    let issuers = [issuer(2, None), issuer(2, Some("down")), issuer(0, None)];
    let log = |log: &str, failing, dropped_lately| LogRates {
        log: log.into(),
        failing,
        lines_dropped: 9,
        dropped_lately,
    };
    let logs = [
        log("access", false, 7),
        log("usage", true, 0),
        log("prompts", false, 0),
    ];
    let scene = Scene {
        listeners: &listeners,
        issuers: &issuers,
        logs: &logs,
        is_draining: true,
        today: from + 80 * day,
        ..scene(&[], t)
    };
    let told = told(&scene);
    let words: Vec<_> = told.iter().map(|it| (it.0, it.1)).collect();
    let expected = [
        ("alarm", "issuer_without_keys"),
        ("alarm", "certificate_unsound"),
        ("alarm", "certificate_ended"),
        ("alarm", "log_lines_dropped"),
        ("alarm", "log_failing"),
        ("warning", "issuer_not_fetched"),
        ("warning", "certificate_ends_soon"),
        ("warning", "certificate_ends_soon"),
        ("warning", "draining"),
    ];
    assert_eq!(words, expected, "{told:?}");
    assert!(told[3].2.contains("access log lost 7 lines"), "{told:?}");
    assert!(told[4].2.contains("usage log can't be written"), "{told:?}");
    assert!(told[7].2.ends_with("expires in 5 days."), "{told:?}");
}

#[test]
fn of_very_many_some_are_left_off_and_counted() {
    let names: Vec<_> = (0..80).map(|i| format!("i{i}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (pools, t) = ([pool(&names)], Instant::now());
    for index in 0..70 {
        ends(&pools[0], index, Outcome::NotDeployed, t);
    }
    let (alarms, left_off) = raised(&scene(&pools, t));
    assert_eq!((alarms.len(), left_off), (MOST, 20));
}

#[test]
fn a_store_that_fails_is_an_alarm_and_one_that_was_set_aside_a_warning() {
    let store = |store_failures, stores_set_aside| {
        let scene = Scene {
            store_failures,
            stores_set_aside,
            ..scene(&[], Instant::now())
        };
        let told = told(&scene);
        told.first().map(|it| (it.0, it.1))
    };
    assert_eq!(store(0, 0), None);
    assert_eq!(store(3, 1), Some(("alarm", "counter_store_failing")));
    assert_eq!(store(0, 1), Some(("warning", "counter_store_set_aside")));
}

#[test]
fn what_is_named_is_what_opened_the_circuit_and_not_what_came_behind_it() {
    let (pools, t) = ([pool(&["a", "b"])], Instant::now());
    for _ in 0..20 {
        if pools[0].members()[0].is_ready(t) {
            ends(&pools[0], 0, Outcome::fault(Fault::Unavailable), t);
        }
    }
    // One that was under way.
    pools[0].members()[0].note_failure(Failure {
        outcome: Outcome::IdentityRejected,
        status: Some(401),
        at: t,
    });
    let told = told(&scene(&pools, t));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].2.starts_with("503 from a/chat"), "{told:?}");
}

#[test]
fn who_serves_one_kind_of_work_is_told_without_those_that_refuse_it_too() {
    let (pools, t) = ([pool(&["a", "b", "c"])], Instant::now());
    for index in [0, 1] {
        ends(&pools[0], index, Outcome::OperationRejected, t);
    }
    let of_bars = |pools: &[Arc<Pool>]| {
        let told: Vec<_> = told(&scene(pools, t))
            .into_iter()
            .filter(|it| it.1 == "operation_refused")
            .collect();
        told
    };
    let told = of_bars(&pools);
    assert_eq!(told.len(), 2, "{told:?}");
    for (_, _, text) in &told {
        assert!(text.contains("served by c/chat."), "{text}");
    }
    ends(&pools[0], 2, Outcome::OperationRejected, t);
    for (_, _, text) in of_bars(&pools) {
        assert!(text.contains("no other deployment is available"), "{text}");
    }
}
