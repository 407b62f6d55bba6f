//! What a request costs: Forebay with everything on, a bare Pingora pass-through and nginx, by turns in one run.
//!
//! `cargo bench --bench compare` starts the simulator and all contenders itself, on free loopback ports; nginx is
//! left out where it isn't installed. With `-- --quick` a short run proves that everything works. `ROUNDS` and
//! `REQUESTS` (for each turn of the 1 KiB chat; other cases take their share of it) set a run's length.
//!
//! Figures are CPU time of a contender's whole process, never wall time, and the ratios are taken inside each
//! round: what else the machine does weighs on all contenders alike.
//!
//! Reading order: `contender` (who is measured), `chat` (what they are sent), `load` (how), `process` (what the
//! kernel says of a process), `report`, `machine`.

mod chat;
mod contender;
mod load;
mod machine;
mod pass_through;
mod process;
mod report;

use std::{
    env,
    error::Error,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::signal::unix::{SignalKind, signal};

use chat::Case;
use contender::{Contender, Field};
use machine::Cores;
use report::Turn;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long a run takes.
struct Extent {
    rounds: usize,
    requests: u64,
    starts: usize,
}

impl Extent {
    fn wanted(arguments: &[String]) -> Self {
        let quick = arguments.iter().any(|argument| argument == "--quick");
        let (rounds, requests, starts) = if quick { (1, 400, 2) } else { (5, 20_000, 10) };
        let number = |name| env::var(name).ok().and_then(|value| value.parse().ok());
        Self {
            rounds: number("ROUNDS")
                .map_or(rounds, |rounds: u64| rounds as usize)
                .max(1),
            requests: number("REQUESTS").unwrap_or(requests),
            starts,
        }
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some((pass_through::COMMAND, addresses)) = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        return pass_through::run(addresses);
    }
    let (extent, cores) = (Extent::wanted(&arguments), Cores::shared_out());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Dropped on a signal as on any other way out: no child outlives the bench.
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        tokio::select! {
            done = compare(&extent, &cores) => done,
            _ = terminate.recv() => Err("ended by SIGTERM".into()),
            _ = interrupt.recv() => Err("ended by SIGINT".into()),
        }
    })
}

async fn compare(extent: &Extent, cores: &Cores) -> Result<()> {
    report::opening(cores);
    let field = Field::open(cores)?;
    report::starts(&starts(&field, extent.starts).await?);
    let contenders = field.contenders().await?;
    report::memory("idle", &contenders)?;
    for case in Case::all(extent.requests) {
        for contender in &contenders {
            let warm_up = (case.requests / 10).max(case.connections as u64);
            load::drive(contender.address, &case.request, case.connections, warm_up).await?;
        }
        let mut rounds = Vec::new();
        for _ in 0..extent.rounds {
            let mut turns = Vec::new();
            for contender in &contenders {
                turns.push(turn(contender, &case).await?);
            }
            rounds.push(turns);
        }
        let names: Vec<&str> = contenders.iter().map(|contender| contender.name).collect();
        report::case(&case, &names, &rounds);
    }
    report::memory("after the load", &contenders)
}

/// One contender's turn: so many requests, and what they cost it.
async fn turn(contender: &Contender, case: &Case) -> Result<Turn> {
    let before = contender.process.cpu()?;
    let began = Instant::now();
    load::drive(
        contender.address,
        &case.request,
        case.connections,
        case.requests,
    )
    .await?;
    Ok(Turn {
        cpu: contender.process.cpu()?.saturating_sub(before),
        wall: began.elapsed(),
    })
}

/// From nothing to the first answered chat, a few times over.
async fn starts(field: &Field<'_>, count: usize) -> Result<Vec<Duration>> {
    let chat: Bytes = chat::plain(1 << 10);
    let mut times = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        let forebay = field.forebay()?;
        load::first_answer(forebay.address, &chat).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}
