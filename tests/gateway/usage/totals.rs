//! Many mixed requests of four clients: plain, streamed, failing over, aborted, broken, refused. By client and deployment the
//! metrics, the log, the usage records and the simulator's own books say the same, to the token; of what did not come to its end, as near as an
//! estimate can be. `FOREBAY_USAGE_REQUESTS` says how many.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use forebay::simulator::{self, Config, Simulator};
use futures_util::StreamExt;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use super::{
    TYPES, Tokens, counted,
    partial::{fits, words},
};
use crate::{
    harness::{Gateway, Harness, INSTANCE_KEY, client, eventually},
    streams::over_each_protocol,
};

const CLIENTS: [&str; 4] = ["web", "batch", "search", "mobile"];
const CALLERS: usize = 24;

/// By instance: its deployments, which are models of their own name but for the first three, a pool's.
const DEPLOYMENTS: [(&str, &str, &str); 6] = [
    (
        "first",
        "chat-first",
        "model: gpt-4o, usage: { reasoning: 3, tier: default }, fault: { kind: status, status: 500, probability: 0.1 }",
    ),
    (
        "second",
        "chat-second",
        "model: o3, fault: { kind: status, status: 429, headers: { retry-after-ms: \"5\" }, probability: 0.1 }",
    ),
    ("third", "chat-third", "model: gpt-4o"),
    ("second", "embed", "model: text-embedding-3-small"),
    (
        "third",
        "slow",
        "model: gpt-4o, output_tokens: { median: 2000 }, latency: { between_tokens: { median: 20ms } }",
    ),
    (
        "third",
        "breaking",
        "model: gpt-4o, output_tokens: { median: 20 }, fault: { kind: close_mid_stream, after_events: 12 }",
    ),
];

/// What is asked, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Chat,
    StreamedChat,
    ChatThatAsks,
    Response,
    StreamedResponse,
    Completion,
    Embeddings,
    /// Its client leaves in the middle.
    Aborted,
    /// Its deployment breaks off.
    Broken,
    /// No such model.
    Refused,
    /// The deployment's own no.
    Filtered,
}

/// How often each comes, in a hundred.
const SHARES: [(Kind, u64); 11] = [
    (Kind::Chat, 44),
    (Kind::StreamedChat, 13),
    (Kind::ChatThatAsks, 6),
    (Kind::Response, 5),
    (Kind::StreamedResponse, 3),
    (Kind::Completion, 4),
    (Kind::Embeddings, 12),
    (Kind::Aborted, 3),
    (Kind::Broken, 3),
    (Kind::Refused, 4),
    (Kind::Filtered, 3),
];

impl Kind {
    fn draw(chance: &mut fastrand::Rng) -> Self {
        let mut left = chance.u64(..100);
        for (kind, share) in SHARES {
            if left < share {
                return kind;
            }
            left -= share;
        }
        Self::Chat
    }

    fn is_partial(self) -> bool {
        matches!(self, Self::Aborted | Self::Broken)
    }

    fn path(self) -> &'static str {
        match self {
            Self::Response | Self::StreamedResponse => "/openai/v1/responses",
            Self::Completion => "/openai/v1/completions",
            Self::Embeddings => "/openai/v1/embeddings",
            _ => "/openai/v1/chat/completions",
        }
    }

    fn body(self, text: &str) -> Value {
        let messages = json!([{"role": "user", "content": text}]);
        let chat = |model: &str| json!({"model": model, "messages": messages, "stream": true});
        match self {
            Self::Chat => json!({"model": "chat", "messages": messages}),
            Self::StreamedChat => chat("chat"),
            Self::ChatThatAsks => {
                let mut chat = chat("chat");
                chat["stream_options"] = json!({"include_usage": true});
                chat
            }
            Self::Response => json!({"model": "chat", "input": text}),
            Self::StreamedResponse => json!({"model": "chat", "input": text, "stream": true}),
            Self::Completion => json!({"model": "chat", "prompt": text}),
            Self::Embeddings => json!({"model": "embed", "input": [text, "and another"]}),
            Self::Aborted => chat("slow"),
            Self::Broken => chat("breaking"),
            Self::Refused => chat("unknown"),
            Self::Filtered => {
                json!({"model": "chat", "messages": [{"role": "user", "content": "trigger_content_filter"}]})
            }
        }
    }
}

/// One request as its client saw it.
#[derive(Debug)]
struct Asked {
    client: usize,
    kind: Kind,
    request_id: String,
    /// Of an answer that did not come to its end.
    words: u64,
}

struct UsageRun {
    harness: Harness,
    next: AtomicUsize,
    requests: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_log_and_the_deployments_own_books_agree_to_the_token() {
    let requests = std::env::var("FOREBAY_USAGE_REQUESTS").ok();
    let requests = requests.map_or(20_000, |number| number.parse().unwrap());
    let run = Arc::new(UsageRun {
        harness: open().await,
        next: AtomicUsize::new(0),
        requests,
    });
    let callers = (0..CALLERS).map(|number| tokio::spawn(call(Arc::clone(&run), number)));
    let callers: Vec<_> = callers.collect();
    let mut asked = Vec::new();
    for caller in callers {
        asked.extend(caller.await.unwrap());
    }
    assert_eq!(asked.len(), requests);
    let harness = &run.harness;
    let log = harness.log(requests).await;
    // What names no model of ours has no record.
    let recorded_ones = asked.iter().filter(|one| one.kind != Kind::Refused).count();
    let records = harness.usage_records(recorded_ones).await;
    let page = harness.metrics_of(requests as u64).await;
    eventually("every deployment is done", || {
        let stats = harness.simulator.stats();
        let mut pages = stats
            .instances
            .values()
            .flat_map(|it| it.deployments.values());
        pages.all(|page| page.concurrent == 0)
    })
    .await;
    let told = check(&asked, &log, &page, &harness.simulator);
    assert_eq!(recorded(&records), told, "the usage records and the log");
}

/// Gives what the log says.
fn check(asked: &[Asked], log: &[Value], page: &str, simulator: &Simulator) -> Sums {
    let lines: HashMap<&str, &Value> = log
        .iter()
        .map(|line| (line["request_id"].as_str().unwrap(), line))
        .collect();
    assert_eq!((log.len(), lines.len()), (asked.len(), asked.len()));
    let (mut whole, mut partial, mut all) = (Sums::new(), Sums::new(), Sums::new());
    let mut in_part: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for one in asked {
        let line = lines[one.request_id.as_str()];
        let tokens = Tokens::of_line(line);
        if let Kind::Refused | Kind::Filtered = one.kind {
            assert!(line["usage"].is_null(), "{one:?}: {line}");
            continue;
        }
        let is_estimated = line["usage"]["estimated"].as_bool();
        assert_eq!(is_estimated, Some(one.kind.is_partial()), "{one:?}: {line}");
        let attempts = line["attempts"].as_array().unwrap();
        let at = attempts.last().unwrap()["deployment"].as_str().unwrap();
        let at = (CLIENTS[one.client].to_owned(), at.to_owned());
        let sums = if one.kind.is_partial() {
            let (answers, words) = in_part.entry(at.clone()).or_default();
            (*answers, *words) = (*answers + 1, *words + one.words);
            &mut partial
        } else {
            &mut whole
        };
        *sums.entry(at.clone()).or_default() += tokens;
        *all.entry(at).or_default() += tokens;
    }
    assert_eq!(
        spent(all.clone()),
        spent(counted(page)),
        "the metrics and the log"
    );
    assert_eq!(whole, by_caller(simulator, ""), "the log and the books");
    let told = by_caller(simulator, ".partial");
    assert_eq!(
        partial.keys().collect::<Vec<_>>(),
        told.keys().collect::<Vec<_>>()
    );
    for (at, estimate) in &partial {
        let ((answers, got), sent) = (in_part[at], &told[at]);
        println!("{at:?}: {answers} answers in part, {estimate:?} estimated for {got} to {sent:?}");
        assert!(
            fits(estimate.output(), got, sent.output(), answers),
            "{at:?}"
        );
        assert!(
            fits(estimate.input(), sent.input(), sent.input(), 4 * answers),
            "{at:?}"
        );
    }
    assert!(
        whole.len() >= 16 && partial.len() == 8,
        "{whole:?} {partial:?}"
    );
    for cause in ["fault_status", "throttled"] {
        let moved = format!("cause=\"{cause}\"");
        assert!(
            page.lines()
                .any(|line| line.starts_with("forebay_failovers_total{") && line.contains(&moved))
        );
    }
    spent(all)
}

/// By client and deployment.
type Sums = BTreeMap<(String, String), Tokens>;

/// What the usage records say.
fn recorded(records: &[Value]) -> Sums {
    let mut sums = Sums::new();
    for record in records {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let at = (text("client"), text("deployment"));
        let tokens = TYPES.map(|kind| record[format!("{kind}_tokens")].as_u64().unwrap_or(0));
        *sums.entry(at).or_default() += Tokens(tokens);
    }
    spent(sums)
}

/// What each caller spent, by the deployments; `of`: which of its requests.
fn by_caller(simulator: &Simulator, of: &str) -> Sums {
    let stats = simulator.stats();
    let mut sums = Sums::new();
    for (name, page) in stats.instances.values().flat_map(|it| &it.deployments) {
        for client in CLIENTS {
            if let Some(spent) = page.by_caller.get(&format!("{client}{of}")) {
                sums.insert((client.to_owned(), name.clone()), Tokens::from_stats(spent));
            }
        }
    }
    spent(sums)
}

/// Where anything was.
fn spent(mut sums: Sums) -> Sums {
    sums.retain(|_, tokens| *tokens != Tokens::default());
    sums
}

/// One caller after the other, each in its own protocol.
async fn call(run: Arc<UsageRun>, number: usize) -> Vec<Asked> {
    let http = &over_each_protocol()[number % 2];
    let mut asked = Vec::new();
    loop {
        let turn = run.next.fetch_add(1, Ordering::Relaxed);
        if turn >= run.requests {
            return asked;
        }
        let mut chance = fastrand::Rng::with_seed(turn as u64);
        asked.push(ask(&run.harness, http, turn, &mut chance).await);
    }
}

async fn ask(harness: &Harness, http: &Client, turn: usize, chance: &mut fastrand::Rng) -> Asked {
    let (client, kind) = (chance.usize(..CLIENTS.len()), Kind::draw(chance));
    let text = format!(
        "{turn}: {}",
        "why do dams spill? ".repeat(chance.usize(1..12))
    );
    let name = CLIENTS[client];
    let of = if kind.is_partial() { ".partial" } else { "" };
    let request = http
        .post(harness.url(kind.path()))
        .header("api-key", key_of(name))
        .header("x-ms-client-request-id", format!("{name}{of}/{turn}"))
        .json(&kind.body(&text));
    let answer = request.send().await.unwrap();
    let request_id = answer.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let status = match kind {
        Kind::Refused => 404,
        Kind::Filtered => 400,
        _ => 200,
    };
    assert_eq!(answer.status(), status, "{kind:?} {turn}");
    Asked {
        client,
        kind,
        request_id,
        words: read(answer, kind, chance).await,
    }
}

/// How many words came of an answer that did not come to its end.
async fn read(answer: Response, kind: Kind, chance: &mut fastrand::Rng) -> u64 {
    let enough = match kind {
        Kind::Aborted => chance.u64(1..20),
        Kind::Broken => u64::MAX,
        _ => {
            let text = answer.text().await.unwrap();
            let shows = text.contains("\"usage\"");
            assert!(kind != Kind::StreamedChat || !shows, "{text}");
            return 0;
        }
    };
    let (mut pieces, mut text) = (answer.bytes_stream(), String::new());
    while words(&text) < enough {
        match pieces.next().await {
            Some(Ok(piece)) => text += std::str::from_utf8(&piece).unwrap(),
            end => {
                assert!(matches!(end, Some(Err(_))), "{kind:?}: {text}");
                break;
            }
        }
    }
    words(&text)
}

fn key_of(client: &str) -> String {
    format!("the-key-of-{client}")
}

async fn open() -> Harness {
    let mut simulation = "seed: 7\nrecord: counts\ninstances:\n".to_owned();
    for instance in ["first", "second", "third"] {
        write!(
            simulation,
            "  {instance}:\n    keys: [{INSTANCE_KEY}]\n    deployments:\n"
        )
        .unwrap();
        for (_, name, entry) in DEPLOYMENTS.iter().filter(|it| it.0 == instance) {
            writeln!(simulation, "      {name}: {{ {entry} }}").unwrap();
        }
    }
    let simulator = simulator::start(Config::parse(&simulation).unwrap());
    let simulator = simulator.await.unwrap();
    let gateway = Gateway::start(&config(&simulator)).await;
    Harness {
        simulator,
        gateway,
        http: client(),
    }
}

fn config(simulator: &Simulator) -> String {
    let mut yaml = format!("identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\ninstances:\n");
    for instance in ["first", "second", "third"] {
        let address = simulator.address(instance).unwrap();
        writeln!(
            yaml,
            "  {instance}: {{ endpoint: \"http://{address}\", identity: key }}"
        )
        .unwrap();
    }
    yaml.push_str("models:\n  chat:\n    deployments:\n");
    for (instance, name, _) in &DEPLOYMENTS[..3] {
        writeln!(
            yaml,
            "      - {{ instance: {instance}, deployment: {name} }}"
        )
        .unwrap();
    }
    for (instance, name, _) in &DEPLOYMENTS[3..] {
        writeln!(
            yaml,
            "  {name}: {{ deployments: [{{ instance: {instance} }}] }}"
        )
        .unwrap();
    }
    yaml.push_str("clients:\n");
    for name in CLIENTS {
        let hash = forebay::config::hash_key(&key_of(name)).unwrap().hash;
        writeln!(yaml, "  {name}: {{ keys: [\"{hash}\"], models: [\"*\"] }}").unwrap();
    }
    yaml + "breaker: { faults: 1000 }\n"
}
