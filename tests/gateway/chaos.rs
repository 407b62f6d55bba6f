//! Chaos: three of four deployments die, throttle, break and come back at random, under two hundred clients.
//!
//! The fourth never fails, so no client may see a failure before its answer began. What began may break, but then it
//! says so. Log, metrics and the simulator's books tell the same story. It runs for `FOREBAY_CHAOS_SECONDS`, and
//! `FOREBAY_CHAOS_SEED` repeats what was drawn.

mod accounting;
mod client;
mod observations;
mod random_faults;

use std::{
    env,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use forebay::simulator::{self, Config, Simulator};

use self::{
    accounting::Accounting,
    client::{Asked, Caller},
    observations::Observations,
    random_faults::RandomFaults,
};
use crate::harness::{Gateway, INSTANCE_KEY, KEY};

const CLIENTS: u64 = 200;
const UNSTEADY: [&str; 3] = ["first", "second", "third"];
const STEADY: &str = "steady";
const MODEL: &str = "gpt-4o";

/// What all of them stand on.
pub(crate) struct ChaosRun {
    pub(crate) simulator: Simulator,
    pub(crate) gateway: Gateway,
    pub(crate) over: AtomicBool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_sees_a_failure_before_its_answer_began_while_three_of_four_deployments_fail() {
    let seconds = told("FOREBAY_CHAOS_SECONDS", 120);
    let seed = told("FOREBAY_CHAOS_SEED", fastrand::u64(..));
    println!("FOREBAY_CHAOS_SEED={seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let run = Arc::new(ChaosRun::open(chance.u64(..)).await);
    let witness = tokio::spawn(Observations::watch(Arc::clone(&run)));
    let unrest = UNSTEADY.map(|name| {
        let unrest = RandomFaults::new(Arc::clone(&run), name, chance.fork());
        tokio::spawn(unrest.go_on())
    });
    let callers = (0..CLIENTS).map(|number| {
        let caller = Caller::new(Arc::clone(&run), number, chance.fork());
        tokio::spawn(caller.go_on())
    });
    let callers: Vec<_> = callers.collect();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    run.over.store(true, Ordering::Relaxed);
    for unrest in unrest {
        unrest.await.unwrap();
    }
    let mut asked = Vec::new();
    for caller in callers {
        asked.extend(caller.await.unwrap());
    }
    let seen = witness.await.unwrap();
    Accounting::settle(&run, &asked, &seen).await.check(seed);
}

/// Every deployment's instance.
fn names() -> impl Iterator<Item = &'static str> {
    UNSTEADY.into_iter().chain([STEADY])
}

fn told<T: FromStr>(variable: &str, usual: T) -> T {
    let told = env::var(variable).ok();
    told.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

impl ChaosRun {
    async fn open(seed: u64) -> Self {
        let simulator = simulator::start(Config::parse(&simulation(seed)).unwrap());
        let simulator = simulator.await.unwrap();
        let gateway = Gateway::start(&config(&simulator)).await;
        Self {
            simulator,
            gateway,
            over: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Answers take a while, so that there are always some that can break.
fn simulation(seed: u64) -> String {
    let deployment = format!(
        "{MODEL}: {{ model: {MODEL}, output_tokens: {{ median: 12, p99: 30 }}, latency: {{ \
         first_token: {{ median: 150ms, p99: 600ms }}, between_tokens: {{ median: 40ms, p99: 120ms }} }} }}"
    );
    let instances = names().map(|name| {
        format!("  {name}: {{ keys: [{INSTANCE_KEY}], deployments: {{ {deployment} }} }}\n")
    });
    format!(
        "seed: {seed}\ninstances:\n{}",
        instances.collect::<String>()
    )
}

/// Deployments come back soon, so that there is much to break. Attempts and the retry budget are those of any gateway.
fn config(simulator: &Simulator) -> String {
    let instances = names().map(|name| {
        let address = simulator.address(name).unwrap();
        format!("  {name}: {{ endpoint: \"http://{address}\", identity: key }}\n")
    });
    let deployments = names().map(|name| format!("{{ instance: {name} }}, "));
    let hash = forebay::config::hash_key(KEY).unwrap().hash;
    format!(
        "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\ninstances:\n{}\
         models: {{ {MODEL}: {{ deployments: [{}] }} }}\n\
         clients: {{ tests: {{ keys: [\"{hash}\"], models: [\"*\"] }} }}\n\
         failover: {{ connect_timeout: 20s, first_byte_timeout: 10s }}\n\
         breaker: {{ faults: 3, window: 10s, pause: 500ms, longest_pause: 3s, ramp: 1s }}\n",
        instances.collect::<String>(),
        deployments.collect::<String>()
    )
}
