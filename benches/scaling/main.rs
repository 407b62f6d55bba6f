//! Whether a request costs the same as configs, bodies, open streams and threads grow: CPU time of Forebay's process, with
//! everything on, and of bare Pingora's where it can do the same.
//!
//! `cargo bench --bench scaling` prints a table and draws `target/tmp/scaling.svg`; `-- --quick` proves that it works.
//! `ROUNDS` and `REQUESTS` (for each turn of the 1 KiB chat) set its length. The simulator, the contenders, the load and
//! the way of measuring are those of `benches/compare`; `plot` draws.

#![allow(
    dead_code,
    reason = "what the comparison alone needs of the rooms shared with it"
)]

#[path = "../compare/contender.rs"]
mod contender;
#[path = "../compare/ground.rs"]
mod ground;
#[path = "../compare/load.rs"]
mod load;
#[path = "../compare/machine.rs"]
mod machine;
#[path = "../compare/pass_through.rs"]
mod pass_through;
mod plot;
#[path = "../compare/process.rs"]
mod process;
#[path = "../compare/spread.rs"]
mod spread;
#[path = "../compare/traffic.rs"]
mod traffic;
#[path = "../compare/wire.rs"]
mod wire;

use std::{env, error::Error, fs, time::SystemTime};

use contender::{Contender, Kind, Setup};
use ground::Ground;
use load::{Streams, Weight};
use machine::Cores;
use plot::{Line, Panel};
use spread::Spread;
use traffic::{Ask, QUIET};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SVG: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/scaling.svg");
const KIB: usize = 1 << 10;
/// What the least and the greatest cost may be apart and count as the same.
const FLAT: f64 = 1.15;

/// What grows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sweep {
    Deployments,
    Clients,
    Streams,
    Body,
    Threads,
}

/// How much is done of everything.
struct Extent {
    rounds: usize,
    requests: u64,
    quick: bool,
}

impl Sweep {
    const ALL: [Self; 5] = [
        Self::Deployments,
        Self::Clients,
        Self::Streams,
        Self::Body,
        Self::Threads,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Deployments => "deployments of the model",
            Self::Clients => "clients in the config",
            Self::Streams => "streams open beside it",
            Self::Body => "KiB of prompt",
            Self::Threads => "threads",
        }
    }

    fn points(self, quick: bool) -> &'static [usize] {
        match self {
            Self::Deployments => &[3, 100, 1_000],
            Self::Clients => &[10, 10_000],
            Self::Streams if quick => &[10, 100],
            Self::Streams => &[100, 1_000, 3_000, 10_000],
            Self::Body if quick => &[1, 256],
            Self::Body => &[1, 16, 256, 4 * KIB, 30 * KIB],
            Self::Threads => &[1, 2],
        }
    }

    /// Bare Pingora knows no clients.
    fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Clients => &[Kind::Forebay],
            _ => &[Kind::Forebay, Kind::Pingora],
        }
    }

    fn setup(self, at: usize) -> Setup {
        let plain = Setup::PLAIN;
        match self {
            Self::Deployments => Setup {
                deployments: at,
                ..plain
            },
            Self::Clients => Setup {
                clients: at,
                ..plain
            },
            Self::Threads => Setup {
                threads: at,
                ..plain
            },
            Self::Streams | Self::Body => plain,
        }
    }

    fn ask(self, at: usize) -> Ask {
        Ask::chat(if self == Self::Body { at * KIB } else { KIB })
    }

    fn weight(self, at: usize, requests: u64) -> Weight {
        // Large bodies take as long with fewer.
        let share = if self == Self::Body {
            1 + at as u64 / 16
        } else {
            1
        };
        Weight {
            connections: if at > KIB && self == Self::Body {
                4
            } else {
                32
            },
            requests: (requests / share).max(32),
        }
    }
}

/// A contender at one point of a sweep; by turns with the others.
struct Runner {
    at: usize,
    contender: Contender,
    _streams: Option<Streams>,
    costs: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some((pass_through::COMMAND, told)) = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        return pass_through::run(told);
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let number = |name, usual| {
        env::var(name)
            .ok()
            .and_then(|value| value.parse().ok())
            .unwrap_or(usual)
    };
    let extent = Extent {
        rounds: if quick {
            1
        } else {
            number("ROUNDS", 5) as usize
        },
        requests: number("REQUESTS", if quick { 500 } else { 20_000 }),
        quick,
    };
    let (cores, files) = (Cores::shared_out(), machine::allow_connections()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(scale(&extent, &cores, files))
}

async fn scale(extent: &Extent, cores: &Cores, files: u64) -> Result<()> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now());
    let opening = format!("{now}, {}; {}", machine::words(cores), cores.describe());
    println!("{opening}\n");
    let (ground, mut panels) = (Ground::open(cores)?, Vec::new());
    for sweep in Sweep::ALL {
        let mut runners = Vec::new();
        for kind in sweep.kinds() {
            for at in sweep.points(extent.quick) {
                // A connection on either side; Forebay has another hold on that to the deployment.
                if sweep == Sweep::Streams && (*at as u64) * 3 + 500 > files {
                    println!("{at} streams are left out: {files} files may be open");
                    continue;
                }
                runners.push(Runner::start(sweep, *kind, *at, &ground).await?);
            }
        }
        measure(sweep, extent, &mut runners).await?;
        panels.push(tell(sweep, &runners));
    }
    fs::write(SVG, plot::draw(&opening, &panels))?;
    println!("\nplotted: {SVG}");
    Ok(())
}

impl Runner {
    async fn start(sweep: Sweep, kind: Kind, at: usize, ground: &Ground<'_>) -> Result<Self> {
        let contender = Contender::ready(kind, ground, &sweep.setup(at)).await?;
        let streams = if sweep == Sweep::Streams {
            let request = Ask::stream(QUIET).written(&contender.manner);
            Some(load::hold(&contender.door, &request, at).await?)
        } else {
            None
        };
        Ok(Self {
            at,
            contender,
            _streams: streams,
            costs: Vec::new(),
        })
    }
}

async fn measure(sweep: Sweep, extent: &Extent, runners: &mut [Runner]) -> Result<()> {
    for round in 0..=extent.rounds {
        for runner in &mut *runners {
            // The first round is there to open connections: one to each deployment at least.
            let requests = if round == 0 {
                extent.requests.min(3_000)
            } else {
                extent.requests
            };
            let weight = sweep.weight(runner.at, requests);
            let cost = runner.contender.cost(sweep.ask(runner.at), weight).await?;
            if round > 0 {
                runner.costs.push(cost);
            }
        }
    }
    Ok(())
}

/// A line of the table for each contender, and the same to be drawn.
fn tell(sweep: Sweep, runners: &[Runner]) -> Panel {
    let mut lines = Vec::new();
    for kind in sweep.kinds() {
        let of_kind = runners
            .iter()
            .filter(|runner| runner.contender.kind == *kind);
        let medians = of_kind.filter_map(|runner| {
            Some((runner.at, Spread::of(runner.costs.iter().copied())?.median))
        });
        let points: Vec<(f64, f64)> = medians.map(|(at, cost)| (at as f64, cost)).collect();
        let costs: Vec<String> = points
            .iter()
            .map(|(at, cost)| format!("{at:.0}: {cost:.1}"))
            .collect();
        println!(
            "{}, {}: µs a request at {}; {}",
            kind.name(),
            sweep.title(),
            costs.join(", "),
            verdict(sweep, &points)
        );
        lines.push(Line {
            name: kind.name(),
            points,
        });
    }
    Panel {
        title: sweep.title(),
        lines,
    }
}

fn verdict(sweep: Sweep, points: &[(f64, f64)]) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return "not measured".into();
    };
    if sweep == Sweep::Body {
        let each = (last.1 - first.1) / (last.0 - first.0) * KIB as f64 / 1e3;
        return format!("{each:.2} ms for each MiB more");
    }
    let grown = last.1 / first.1;
    if grown <= FLAT {
        format!("flat ({grown:.2})")
    } else {
        format!("grows {grown:.2} times")
    }
}
