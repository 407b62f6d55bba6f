//! Loads a contender: closed loops, in which each connection sends its next request when it has its answer, over HTTP/1.1
//! and HTTP/2; and streams that are opened and stay so.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::{
    Result,
    traffic::{Ask, Manner},
    wire::{Door, Wire},
};

/// A contender that does not answer at all for so long does not run.
const START: Duration = Duration::from_secs(60);

/// What came of a load.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) answered: u64,
    /// With another status than 200.
    pub(crate) failed: u64,
}

impl Tally {
    pub(crate) fn all_ok(self) -> Result<()> {
        match self.failed {
            0 => Ok(()),
            failed => Err(format!("{failed} of {} answers are no 200", self.answered).into()),
        }
    }
}

/// How many requests are to be sent, and over how many connections at once.
#[derive(Clone, Copy)]
pub(crate) struct Weight {
    pub(crate) connections: usize,
    pub(crate) requests: u64,
}

/// What the callers of one load share.
struct Work {
    left: AtomicI64,
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Work {
    fn of(weight: Weight) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicI64::new(i64::try_from(weight.requests).unwrap_or(i64::MAX)),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    fn take(&self) -> bool {
        self.left.fetch_sub(1, Ordering::Relaxed) > 0
    }

    fn note(&self, status: u16) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        if status != 200 {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn tally(&self) -> Tally {
        Tally {
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// A closed loop over HTTP/1.1.
pub(crate) async fn drive(door: &Door, request: &Bytes, weight: Weight) -> Result<Tally> {
    let (work, mut callers) = (Work::of(weight), JoinSet::new());
    for _ in 0..weight.connections {
        let (door, request, work) = (door.clone(), request.clone(), Arc::clone(&work));
        callers.spawn(async move {
            let mut wire = Wire::connect(&door).await?;
            while work.take() {
                work.note(wire.ask(&request).await?);
            }
            io::Result::Ok(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(work.tally())
}

/// How many requests one HTTP/2 connection carries at a time.
const STREAMS: usize = 8;

/// A closed loop over HTTP/2: a quarter as many connections, each with several streams at a time.
pub(crate) async fn drive_h2(
    door: &Door,
    ask: &Ask,
    manner: &Manner,
    weight: Weight,
) -> Result<Tally> {
    let (head, body) = ask.framed(manner)?;
    let (work, mut callers) = (Work::of(weight), JoinSet::new());
    for _ in 0..weight.connections.div_ceil(4) {
        let (sender, connection) = h2::client::handshake(door.open().await?).await?;
        tokio::spawn(connection);
        for _ in 0..STREAMS {
            let (head, body, sender) = (head.clone(), body.clone(), sender.clone());
            let work = Arc::clone(&work);
            callers.spawn(async move {
                while work.take() {
                    work.note(ask_h2(sender.clone(), head.clone(), body.clone()).await?);
                }
                std::result::Result::<(), h2::Error>::Ok(())
            });
        }
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(work.tally())
}

async fn ask_h2(
    sender: h2::client::SendRequest<Bytes>,
    head: http::Request<()>,
    body: Bytes,
) -> std::result::Result<u16, h2::Error> {
    let mut sender = sender.ready().await?;
    let (answer, mut sending) = sender.send_request(head, false)?;
    sending.send_data(body, true)?;
    let answer = answer.await?;
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    while let Some(piece) = body.data().await {
        let length = piece?.len();
        body.flow_control().release_capacity(length)?;
    }
    Ok(status)
}

/// Waits until there is an answer of 200; asks every millisecond.
pub(crate) async fn first_answer(
    door: &Door,
    request: &Bytes,
    mut is_over: impl FnMut() -> bool,
) -> Result<()> {
    let by = Instant::now() + START;
    loop {
        let asked = match Wire::connect(door).await {
            Ok(mut wire) => wire.ask(request).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(200) => return Ok(()),
            _ if is_over() => return Err("it has ended".into()),
            Ok(status) if Instant::now() > by => return Err(format!("it answers {status}").into()),
            Err(error) if Instant::now() > by => return Err(error.into()),
            _ => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Open streams; dropped, they are gone.
pub(crate) struct Streams {
    _callers: JoinSet<io::Result<u16>>,
}

/// Opens so many streams at once and waits until each has had its first token.
pub(crate) async fn hold(door: &Door, request: &Bytes, count: usize) -> Result<Streams> {
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let mut callers = JoinSet::new();
    for _ in 0..count {
        let (door, request, said) = (door.clone(), request.clone(), said.clone());
        callers.spawn(async move {
            let (mut wire, mut said) = (Wire::connect(&door).await?, Some(said));
            wire.watch(&request, |piece| {
                if has_token(piece)
                    && let Some(said) = said.take()
                {
                    // Nobody listens any more: the bench is over.
                    let _ = said.send(());
                }
            })
            .await
        });
    }
    drop(said);
    for _ in 0..count {
        heard
            .recv()
            .await
            .ok_or("a stream ended before its first token")?;
    }
    Ok(Streams { _callers: callers })
}

/// Whether there is content in these events: a role's is empty.
pub(crate) fn has_token(piece: &[u8]) -> bool {
    const CONTENT: &[u8] = b"\"content\":\"";
    memchr::memmem::find_iter(piece, CONTENT).any(|at| {
        piece
            .get(at + CONTENT.len())
            .is_some_and(|byte| *byte != b'"')
    })
}
