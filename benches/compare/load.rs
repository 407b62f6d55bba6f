//! A closed loop over kept-alive connections: each sends its next request when it has its answer. It does as
//! little as it can, so that the contender is what is busy.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

/// Larger than any answer of the simulator's.
const ANSWER: usize = 64 << 10;
/// A contender that is silent for so long is broken.
const PATIENCE: Duration = Duration::from_secs(30);
/// What ends a chunked answer.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// Sends so many requests, and fails unless all are answered 200.
pub(crate) async fn drive(
    address: SocketAddr,
    request: &Bytes,
    connections: usize,
    requests: u64,
) -> io::Result<()> {
    let left = Arc::new(AtomicI64::new(i64::try_from(requests).unwrap_or(i64::MAX)));
    let mut callers = JoinSet::new();
    for _ in 0..connections {
        callers.spawn(call(address, request.clone(), Arc::clone(&left)));
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn call(address: SocketAddr, request: Bytes, left: Arc<AtomicI64>) -> io::Result<()> {
    let mut caller = Caller::connect(address).await?;
    while left.fetch_sub(1, Ordering::Relaxed) > 0 {
        caller.ask(&request).await?;
    }
    Ok(())
}

/// Waits until this address answers; asks every millisecond.
pub(crate) async fn first_answer(address: SocketAddr, request: &Bytes) -> io::Result<()> {
    let by = Instant::now() + PATIENCE;
    loop {
        let asked = match Caller::connect(address).await {
            Ok(mut caller) => caller.ask(request).await,
            Err(error) => Err(error),
        };
        match asked {
            Err(error) if Instant::now() > by => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            Ok(()) => return Ok(()),
        }
    }
}

/// One connection.
struct Caller {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Caller {
    async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let answer = vec![0; ANSWER];
        Ok(Self { stream, answer })
    }

    async fn ask(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await?;
        timeout(PATIENCE, self.read_answer()).await?
    }

    async fn read_answer(&mut self) -> io::Result<()> {
        let mut filled = 0;
        let head = loop {
            filled += self.read(filled).await?;
            if let Some(end) = memmem::find(&self.answer[..filled], b"\r\n\r\n") {
                break end;
            }
        };
        match length(&self.answer[..head])? {
            Some(length) => {
                while filled < head + 4 + length {
                    filled += self.read(filled).await?;
                }
            }
            None => {
                while !self.answer[..filled].ends_with(LAST_CHUNK) {
                    filled += self.read(filled).await?;
                }
            }
        }
        Ok(())
    }

    async fn read(&mut self, filled: usize) -> io::Result<usize> {
        match self.stream.read(&mut self.answer[filled..]).await? {
            0 => Err(wrong("an answer ended early, or is too long", &[])),
            more => Ok(more),
        }
    }
}

/// The body's length; `None` where it is chunked.
fn length(head: &[u8]) -> io::Result<Option<usize>> {
    if !head.starts_with(b"HTTP/1.1 200") {
        return Err(wrong("an answer is not 200", head));
    }
    const NAME: &[u8] = b"content-length:";
    let line = head.split(|byte| *byte == b'\n').find(|line| {
        line.get(..NAME.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(NAME))
    });
    let Some(line) = line else { return Ok(None) };
    let number = std::str::from_utf8(&line[NAME.len()..]).ok();
    let number = number.and_then(|number| number.trim().parse().ok());
    number
        .map(Some)
        .ok_or_else(|| wrong("an answer's length can't be read", head))
}

fn wrong(what: &str, head: &[u8]) -> io::Error {
    io::Error::other(format!("{what}: {}", String::from_utf8_lossy(head)))
}
