//! What an attempt's end comes back with, stage by stage; nothing is sent.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use pingora::{
    Error, ErrorType,
    http::{RequestHeader, ResponseHeader},
};

use super::{connecting::Connecting, sent::Sent, *};
use crate::{
    domain::{
        ask::Ask,
        breaker,
        client::Client,
        deployment::{
            Bounds, Capacity, Deployment, Endpoint, Instance, Kind, Model, Priority, Weight,
        },
        failover::{Progress, Repeat, Step},
        identity::{Identity, Proof},
        outcome::{Fault, Outcome},
        pool::Pool,
        query::Query,
        route::{Dialect, Operation},
        secret::Secret,
    },
    identity::Identities,
    proxy::{
        call::Call,
        connector::Connector,
        model_backend::{Connections, ModelBackend, Takes, Target},
        session::Relay,
        walk::Walk,
    },
    telemetry::metrics::Metrics,
};

fn instance(name: &str) -> Arc<Instance> {
    Arc::new(Instance {
        name: name.into(),
        endpoint: Endpoint::parse("https://127.0.0.1:1").unwrap(),
        kind: Kind::AzureOpenai,
        identity: "us".into(),
        scope: String::new(),
        geography: None,
        ca: None,
        stream_usage: true,
        connect_to: None,
    })
}

/// A request to a model that these instances serve, each only once the one before it has failed.
async fn walk(instances: &[&str]) -> Walk {
    let instances: Vec<_> = instances.iter().map(|name| instance(name)).collect();
    let key = Proof::ApiKey(Secret::new("swordfish".into()));
    let (name, proof) = ("us".into(), key);
    let identities = Identities::new(&[Arc::new(Identity { name, proof })], &instances).unwrap();
    let deployments = instances
        .iter()
        .zip(1..)
        .map(|(instance, priority)| Deployment {
            instance: Arc::clone(instance),
            name: "gpt-4o".into(),
            capacity: Capacity::Standard,
            priority: Priority::new(priority).unwrap(),
            weight: Weight::new(1).unwrap(),
        });
    let model = Model {
        name: "gpt-4o".into(),
        version: None,
        deployments: deployments.collect(),
        timeouts: Default::default(),
        required: false,
    };
    let metrics = Metrics::new();
    let target = |deployment: &Deployment| {
        let instance = &deployment.instance;
        let credential = identities.credential(instance).unwrap();
        Target {
            connector: Arc::new(Connector::new(Arc::clone(instance), credential, None)),
            metrics: metrics.deployment(&"gpt-4o".into(), &instance.name, &deployment.name),
            group: 0,
            connections: Connections::default(),
            takes: Takes::default(),
        }
    };
    let pool = Pool::new(model, breaker::Settings::default());
    let served = ModelBackend::new(pool, Bounds::default(), None, target);
    for target in &served.targets {
        target.connector.discover().await;
    }
    let (now, soon) = (Instant::now(), Instant::now() + Duration::from_secs(60));
    let call = Call {
        arrived: now,
        is_traced: false,
        client: Arc::new(Client::named("app")),
        served: Arc::new(served),
        dialect: Dialect::V1,
        operation: Operation::ChatCompletions,
        query: Query::default(),
        headers: Vec::new(),
        named: Vec::new(),
        ask: Ask::unread(),
        wanted: None,
        relay: Arc::new(Relay::new(Bytes::from_static(b"{}"), None, soon, None)),
    };
    Walk::new(call, Progress::new(now, Repeat::Harmless))
}

async fn connecting(walk: &mut Walk) -> Connecting {
    let now = Instant::now();
    let turn = Turn::new(walk.choose(now).unwrap(), &walk.call, now);
    match turn.connect(walk).await {
        Begun::Connecting(connecting, _) => connecting,
        Begun::Over(_) => panic!("a key and an address are there"),
    }
}

async fn sent(walk: &mut Walk) -> Sent {
    let connecting = connecting(walk).await;
    let mut head = RequestHeader::build("POST", b"/v1/chat/completions", None).unwrap();
    let request = connecting.request(&walk.call, None, &mut head).unwrap();
    assert_eq!(head.headers["api-key"], "swordfish");
    connecting.send(request, walk)
}

async fn held(walk: &mut Walk, status: u16) -> HeldAnswer {
    let head = ResponseHeader::build(status, None).unwrap();
    sent(walk).await.answered(&head, walk)
}

fn over(taken: Settled) -> Over {
    match taken {
        Settled::TakenBack(over) => over,
        Settled::Deliver(..) => panic!("it is over"),
    }
}

/// The outcome in its line, and the status.
fn line(news: &News) -> (&'static str, Option<u16>) {
    let line = news.line.as_ref().unwrap();
    (line.outcome, line.status)
}

#[tokio::test]
async fn a_throttled_attempt_ends_in_another_and_says_that_its_deployment_is_left_alone() {
    let mut walk = walk(&["east", "west"]).await;
    let throttled = Outcome::Throttled {
        wait: Some(Duration::from_secs(7)),
    };
    let held = held(&mut walk, 429).await;
    let Over { step, news, .. } = over(held.settle(throttled, &mut walk));
    assert_eq!(
        (step, line(&news)),
        (Step::TryAnother, ("throttled", Some(429)))
    );
    let changed: Vec<usize> = news.changes.iter().map(|(index, ..)| index).collect();
    assert_eq!(changed, [0]);
    assert_eq!(walk.choose(Instant::now()).unwrap().index(), 1);
}

#[tokio::test]
async fn what_may_be_the_requests_own_doing_changes_nothing_until_another_serves_it() {
    let mut walk = walk(&["east", "west"]).await;
    let fault = Outcome::fault(Fault::Status);
    let east = held(&mut walk, 500).await;
    let Over { step, news, .. } = over(east.settle(fault, &mut walk));
    assert_eq!((step, news.changes.iter().count()), (Step::TryAnother, 0));
    assert!(!walk.suspicions.is_empty());
    let west = held(&mut walk, 200).await;
    let Settled::Deliver(delivering, _) = west.settle(Outcome::Served, &mut walk) else {
        panic!("it is delivered");
    };
    assert!(walk.suspicions.is_empty());
    let position = Position::Delivering(delivering);
    let (line, _) = position.finish(true, &walk);
    assert_eq!(line.unwrap().outcome, "served");
}

#[tokio::test]
async fn an_answer_that_breaks_off_amends_its_line_and_adds_none() {
    let mut walk = walk(&["east"]).await;
    let held = held(&mut walk, 200).await;
    let Settled::Deliver(delivering, news) = held.settle(Outcome::Served, &mut walk) else {
        panic!("it is delivered");
    };
    assert!(news.line.is_none(), "it is not at its end");
    let broken = Outcome::fault(Fault::Broken);
    let mut position = Position::Delivering(delivering);
    let news = position.close(&broken, &mut walk);
    assert!(news.line.is_none());
    let (line, _) = position.finish(false, &walk);
    assert_eq!(line.unwrap().outcome, broken.label());
}

#[tokio::test]
async fn a_request_that_was_lost_with_its_connection_is_sent_again_to_the_same_deployment() {
    let mut walk = walk(&["east", "west"]).await;
    let lost = sent(&mut walk).await.cut_off();
    let error = Error::new(ErrorType::WriteError).into_up();
    let loss = lost.loss(&error, true, &walk).unwrap();
    assert!(
        lost.loss(&error, false, &walk).is_none(),
        "a new connection"
    );
    let Over { again, news, .. } = lost.resend(loss, &walk);
    assert_eq!(line(&news), ("stale_connection", None));
    let Begun::Connecting(connecting, _) = again.unwrap().connect(&mut walk).await else {
        panic!("an address is there");
    };
    assert_eq!(walk.progress.tried(), [0]);
    let over = connecting
        .cut_off()
        .end(&Outcome::fault(Fault::Connect), &mut walk);
    assert_eq!(over.step, Step::TryAnother);
}

#[tokio::test]
async fn a_client_that_leaves_leaves_a_deployment_at_work_behind() {
    let mut walk = walk(&["east"]).await;
    let mut position = Position::Sent(sent(&mut walk).await);
    let news = position.close(&Outcome::ClientLeft, &mut walk);
    assert_eq!(line(&news), ("client_left", None));
    let (line, passed) = position.finish(false, &walk);
    assert!(line.is_none() && passed.is_at_work);
}
