//! What is measured, one case after another: all contenders by turns in each round of each case.

use std::{
    mem,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    Result,
    contender::{Contender, Kind, Setup},
    ground::{Ground, Upstreams},
    load::{self, Weight},
    open_loop::{self, Schedule, Until, at},
    sheet::{Column, Sheet},
    traffic::{Ask, BURST, CHAT, Manner, Model, OPEN, PACED, SHORT},
    wanted::Extent,
    wire::Door,
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What a run is made of; `main` takes them in this order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Idle,
    Chat,
    Paced,
    FirstToken,
    Burst,
    Prompt256K,
    Prompt4M,
    OpenLoop,
    TlsUpstreams,
    TlsClients,
    Http2,
    Throttled,
    Streams,
    Bodies,
    Start,
    StartLarge,
    Threads,
}

impl Case {
    pub(crate) const ALL: [(&'static str, Self); 17] = [
        ("idle", Self::Idle),
        ("chat", Self::Chat),
        ("paced", Self::Paced),
        ("first-token", Self::FirstToken),
        ("burst", Self::Burst),
        ("prompt-256k", Self::Prompt256K),
        ("prompt-4m", Self::Prompt4M),
        ("open-loop", Self::OpenLoop),
        ("tls-upstreams", Self::TlsUpstreams),
        ("tls-clients", Self::TlsClients),
        ("http2", Self::Http2),
        ("throttled", Self::Throttled),
        ("streams", Self::Streams),
        ("bodies", Self::Bodies),
        ("start", Self::Start),
        ("start-large", Self::StartLarge),
        ("threads", Self::Threads),
    ];

    fn setup(self) -> Setup {
        let plain = Setup::PLAIN;
        match self {
            Self::TlsUpstreams => Setup {
                upstreams: Upstreams::Tls,
                ..plain
            },
            Self::Throttled => Setup {
                upstreams: Upstreams::Throttled,
                ..plain
            },
            Self::TlsClients => Setup {
                tls: Some("http/1.1"),
                ..plain
            },
            Self::Http2 => Setup {
                tls: Some("h2"),
                ..plain
            },
            Self::StartLarge => Setup {
                deployments: 1_000,
                clients: 10_000,
                ..plain
            },
            _ => plain,
        }
    }

    /// Each contender is started for it and ended after it: what ran before must not show.
    fn is_alone(self) -> bool {
        matches!(self, Self::Idle | Self::Streams | Self::Bodies)
    }

    /// What takes long and hardly varies is measured once.
    fn rounds(self, extent: &Extent) -> usize {
        if self.is_alone() { 1 } else { extent.rounds }
    }

    pub(crate) async fn run(
        self,
        ground: &Ground<'_>,
        kinds: &[Kind],
        extent: &Extent,
        sheet: &mut Sheet,
    ) -> Result<()> {
        match self {
            Self::Start | Self::StartLarge => starts(self, ground, kinds, extent, sheet).await,
            Self::Threads => threads(ground, extent, sheet).await,
            _ if self.is_alone() => {
                for kind in kinds {
                    self.rounds_of(ground, &[*kind], extent, sheet).await?;
                }
                Ok(())
            }
            _ => self.rounds_of(ground, kinds, extent, sheet).await,
        }
    }

    async fn rounds_of(
        self,
        ground: &Ground<'_>,
        kinds: &[Kind],
        extent: &Extent,
        sheet: &mut Sheet,
    ) -> Result<()> {
        let (setup, mut contenders) = (self.setup(), Vec::new());
        for kind in kinds.iter().filter(|kind| kind.can(&setup)) {
            match Contender::ready(*kind, ground, &setup).await {
                Ok(contender) => contenders.push(contender),
                Err(error) => self.fails(*kind, &*error, sheet),
            }
        }
        let bench = Bench {
            ground,
            extent,
            case: self,
        };
        if !self.is_alone() {
            let warm_up = extent.warm_up();
            let bench = Bench {
                extent: &warm_up,
                ..bench
            };
            let direct = bench.direct()?;
            let mut running = Vec::new();
            for contender in contenders {
                match bench.turn(&contender, &direct).await {
                    Ok(_) => running.push(contender),
                    Err(error) => self.fails(contender.kind, &*error, sheet),
                }
            }
            contenders = running;
        }
        for _ in 0..self.rounds(extent) {
            let direct = bench.direct()?;
            for contender in &contenders {
                match bench.turn(contender, &direct).await {
                    Ok(figures) => figures
                        .into_iter()
                        .for_each(|(column, figure)| sheet.add(contender.kind, column, figure)),
                    Err(error) => self.fails(contender.kind, &*error, sheet),
                }
            }
        }
        Ok(())
    }

    pub(crate) fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, case)| *case == self);
        named.map_or("", |(name, _)| name)
    }

    fn fails(self, kind: Kind, error: &dyn std::error::Error, sheet: &mut Sheet) {
        sheet.fail(
            kind,
            format!("{} fails at {}: {error}", kind.name(), self.name()),
        );
    }
}

type Figures = Vec<(Column, f64)>;

/// One case, and what its turns need.
struct Bench<'a> {
    ground: &'a Ground<'a>,
    extent: &'a Extent,
    case: Case,
}

impl Bench<'_> {
    /// One contender's turn.
    async fn turn(&self, contender: &Contender, direct: &[Duration]) -> Result<Figures> {
        let chat = Ask::chat(KIB);
        Ok(match self.case {
            Case::Chat => vec![(Column::Chat, self.cost(contender, chat, 32, 1).await?)],
            Case::TlsUpstreams => vec![(
                Column::TlsUpstreams,
                self.cost(contender, chat, 32, 1).await?,
            )],
            Case::TlsClients => {
                vec![(Column::TlsClients, self.cost(contender, chat, 32, 1).await?)]
            }
            Case::Http2 => vec![(Column::Http2, self.cost_h2(contender).await?)],
            Case::Paced => {
                let each = self.cost(contender, Ask::stream(PACED), 200, 100).await?;
                vec![(Column::Event, each / f64::from(PACED.events))]
            }
            Case::Burst => {
                let long = self.cost(contender, Ask::stream(BURST), 16, 10).await?;
                let short = self.cost(contender, Ask::stream(SHORT), 16, 10).await?;
                vec![(
                    Column::BurstEvent,
                    (long - short) / f64::from(BURST.events - SHORT.events),
                )]
            }
            Case::Prompt256K => {
                let each = self.cost(contender, Ask::chat(256 * KIB), 8, 20).await?;
                vec![(Column::Prompt256K, each / 1e3 * 4.0)]
            }
            Case::Prompt4M => {
                let each = self.cost(contender, Ask::chat(4 * MIB), 4, 200).await?;
                vec![(Column::Prompt4M, each / 1e3 / 4.0)]
            }
            Case::Throttled => self.throttled(contender).await?,
            Case::FirstToken => {
                let times = self.open_loop(&contender.door, &contender.manner, contender.kind)?;
                vec![(Column::FirstToken, added(&times, direct, 0.5))]
            }
            Case::OpenLoop => {
                let times = self.open_loop(&contender.door, &contender.manner, contender.kind)?;
                vec![
                    (Column::AddedP50, added(&times, direct, 0.5)),
                    (Column::AddedP99, added(&times, direct, 0.99)),
                ]
            }
            Case::Idle => vec![(Column::Idle, contender.process.resident()?)],
            Case::Streams => self.streams(contender).await?,
            Case::Bodies => self.bodies(contender).await?,
            Case::Start | Case::StartLarge | Case::Threads => Vec::new(),
        })
    }

    /// A `share`-th of a round's requests.
    fn weight(&self, contender: &Contender, connections: usize, share: u64) -> Weight {
        let requests = self.extent.requests / share / u64::from(contender.kind.slowness());
        Weight {
            connections,
            requests: requests.max(connections as u64),
        }
    }

    /// CPU time of one request, in µs.
    async fn cost(
        &self,
        contender: &Contender,
        ask: Ask,
        connections: usize,
        share: u64,
    ) -> Result<f64> {
        contender
            .cost(ask, self.weight(contender, connections, share))
            .await
    }

    async fn cost_h2(&self, contender: &Contender) -> Result<f64> {
        let weight = self.weight(contender, 16, 1);
        let before = contender.process.cpu()?;
        let tally =
            load::drive_h2(&contender.door, &Ask::chat(KIB), &contender.manner, weight).await?;
        let used = contender.process.cpu()?.saturating_sub(before);
        tally.all_ok()?;
        Ok(used.as_secs_f64() * 1e6 / tally.answered as f64)
    }

    async fn throttled(&self, contender: &Contender) -> Result<Figures> {
        let request = Ask::chat(KIB).written(&contender.manner);
        let (before, arrived) = (contender.process.cpu()?, self.ground.arrived()?);
        let tally = load::drive(&contender.door, &request, self.weight(contender, 32, 1)).await?;
        let used = contender.process.cpu()?.saturating_sub(before);
        let tries = self.ground.arrived()? - arrived;
        let (all, ok) = (
            tally.answered as f64,
            (tally.answered - tally.failed) as f64,
        );
        Ok(vec![
            (Column::ThrottledCpu, used.as_secs_f64() * 1e6 / ok),
            (Column::ThrottledTries, tries as f64 / all),
            (Column::ThrottledErrors, tally.failed as f64 / all * 100.0),
        ])
    }

    /// The same without a contender, where it is compared to.
    fn direct(&self) -> Result<Vec<Duration>> {
        if !matches!(self.case, Case::FirstToken | Case::OpenLoop) {
            return Ok(Vec::new());
        }
        let address = self.ground.address("east")?;
        self.open_loop(
            &Door { address, tls: None },
            &Manner::default(),
            Kind::Forebay,
        )
    }

    fn open_loop(&self, door: &Door, manner: &Manner, kind: Kind) -> Result<Vec<Duration>> {
        // What can't do two hundred would only show how its queue grows.
        let per_second = if kind == Kind::Litellm { 50 } else { 200 };
        let (model, until): (Model, _) = match self.case {
            Case::FirstToken => (SHORT, Until::FirstToken),
            _ => (CHAT, Until::End),
        };
        let request = Ask { model, size: KIB }.written(manner);
        let length = self.extent.open_loop;
        open_loop::times(door, &request, Schedule { per_second, length }, until)
    }

    async fn streams(&self, contender: &Contender) -> Result<Figures> {
        let request = Ask::stream(OPEN).written(&contender.manner);
        let count = self.extent.streams / contender.kind.slowness().min(10) as usize;
        // What the first one brings with it, a tokenizer's tables say, is there once, however many follow.
        let _first = load::hold(&contender.door, &request, 1).await?;
        let before = settled(contender).await?;
        let _streams = load::hold(&contender.door, &request, count).await?;
        let each = (contender.process.resident()? - before) / count as f64;
        Ok(vec![(Column::OpenStream, each * KIB as f64)])
    }

    async fn bodies(&self, contender: &Contender) -> Result<Figures> {
        let request: Bytes = Ask::chat(30 * MIB).written(&contender.manner);
        let eight = Weight {
            connections: 8,
            requests: 8,
        };
        for _ in 0..3 {
            load::drive(&contender.door, &request, eight)
                .await?
                .all_ok()?;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        Ok(vec![(Column::AfterBodies, contender.process.resident()?)])
    }
}

/// How much later this share of the answers came, in ms.
fn added(times: &[Duration], direct: &[Duration], share: f64) -> f64 {
    (at(times, share).as_secs_f64() - at(direct, share).as_secs_f64()) * 1e3
}

/// From nothing to the first answered chat.
async fn starts(
    case: Case,
    ground: &Ground<'_>,
    kinds: &[Kind],
    extent: &Extent,
    sheet: &mut Sheet,
) -> Result<()> {
    let is_large = case == Case::StartLarge;
    let column = if is_large {
        Column::StartLarge
    } else {
        Column::Start
    };
    for kind in kinds
        .iter()
        .filter(|kind| !is_large || **kind == Kind::Forebay)
    {
        for _ in 0..extent.starts / kind.slowness().min(extent.starts) + 1 {
            let began = Instant::now();
            match Contender::ready(*kind, ground, &case.setup()).await {
                Ok(_) => sheet.add(*kind, column, began.elapsed().as_secs_f64()),
                Err(error) => case.fails(*kind, &*error, sheet),
            }
        }
    }
    Ok(())
}

/// What one and two threads of Forebay answer in a second.
async fn threads(ground: &Ground<'_>, extent: &Extent, sheet: &mut Sheet) -> Result<()> {
    if !ground.cores.has_two_for_contenders() {
        let note = "two threads are not held against one: two cores are needed for them and two for what loads them";
        sheet.notes.push(note.into());
        return Ok(());
    }
    let (one, two) = (
        Setup::PLAIN,
        Setup {
            threads: 2,
            ..Setup::PLAIN
        },
    );
    for kind in [Kind::Forebay, Kind::Pingora] {
        let one = Contender::ready(kind, ground, &one).await?;
        let two = Contender::ready(kind, ground, &two).await?;
        for _ in 0..extent.rounds {
            let times = throughput(&two, extent).await? / throughput(&one, extent).await?;
            sheet.add(kind, Column::Threads, times);
        }
    }
    Ok(())
}

/// The memory in use, MiB, once it has stood still for a while: some is taken behind an answer, by other threads.
async fn settled(contender: &Contender) -> Result<f64> {
    const STILL: Duration = Duration::from_millis(500);
    let mut resident = contender.process.resident()?;
    for _ in 0..20 {
        tokio::time::sleep(STILL).await;
        let before = mem::replace(&mut resident, contender.process.resident()?);
        if (resident - before).abs() < 0.1 {
            break;
        }
    }
    Ok(resident)
}

/// Answers a second.
async fn throughput(contender: &Contender, extent: &Extent) -> Result<f64> {
    let request = Ask::chat(KIB).written(&contender.manner);
    let weight = Weight {
        connections: 64,
        requests: extent.requests,
    };
    let began = Instant::now();
    let tally = load::drive(&contender.door, &request, weight).await?;
    tally.all_ok()?;
    Ok(tally.answered as f64 / began.elapsed().as_secs_f64())
}
