//! One HTTP/1.1 connection, plain or TLS, kept alive. It does as little as it can, so that the contender is what is busy.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Larger than any head.
const BUFFER: usize = 64 << 10;
/// A contender that is silent for so long is broken.
const PATIENCE: Duration = Duration::from_secs(30);
/// What ends a chunked answer.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// Where a contender listens, and how it is greeted there.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// A connection of either kind.
pub(crate) trait Lane: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Lane for T {}

impl Door {
    pub(crate) async fn open(&self) -> io::Result<Box<dyn Lane>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(config) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let connecting = TlsConnector::from(Arc::clone(config)).connect(name, stream);
        Ok(Box::new(timeout(PATIENCE, connecting).await??))
    }
}

/// A connection, and the answer that is being read.
pub(crate) struct Wire {
    lane: Box<dyn Lane>,
    buffer: Vec<u8>,
    filled: usize,
}

impl Wire {
    pub(crate) async fn connect(door: &Door) -> io::Result<Self> {
        Ok(Self {
            lane: door.open().await?,
            buffer: vec![0; BUFFER],
            filled: 0,
        })
    }

    /// Sends a request, reads the whole answer, and tells its status.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> io::Result<u16> {
        self.watch(request, |_| {}).await
    }

    /// The same; `seen` is shown each piece of the body as it comes, chunk lengths and all.
    pub(crate) async fn watch(
        &mut self,
        request: &[u8],
        mut seen: impl FnMut(&[u8]),
    ) -> io::Result<u16> {
        timeout(PATIENCE, self.lane.write_all(request)).await??;
        timeout(PATIENCE, self.lane.flush()).await??;
        self.filled = 0;
        let (status, head, length) = loop {
            self.read().await?;
            if let Some(head) = read_head(&self.buffer[..self.filled])? {
                break head;
            }
        };
        seen(&self.buffer[head..self.filled]);
        match length {
            Some(length) => {
                self.read_body(length.saturating_sub(self.filled - head), seen)
                    .await?
            }
            None => self.read_chunks(seen).await?,
        }
        Ok(status)
    }

    async fn read_body(&mut self, mut left: usize, mut seen: impl FnMut(&[u8])) -> io::Result<()> {
        while left > 0 {
            self.filled = 0;
            self.read().await?;
            seen(&self.buffer[..self.filled]);
            left = left.saturating_sub(self.filled);
        }
        Ok(())
    }

    async fn read_chunks(&mut self, mut seen: impl FnMut(&[u8])) -> io::Result<()> {
        while !self.buffer[..self.filled].ends_with(LAST_CHUNK) {
            if self.filled > BUFFER / 2 {
                // The end may come in two pieces.
                let tail = self.filled - LAST_CHUNK.len();
                self.buffer.copy_within(tail..self.filled, 0);
                self.filled = LAST_CHUNK.len();
            }
            let before = self.filled;
            self.read().await?;
            seen(&self.buffer[before..self.filled]);
        }
        Ok(())
    }

    async fn read(&mut self) -> io::Result<()> {
        let reading = self.lane.read(&mut self.buffer[self.filled..]);
        match timeout(PATIENCE, reading).await?? {
            0 => Err(io::Error::other(
                "an answer ended early, or its head is too long",
            )),
            more => {
                self.filled += more;
                Ok(())
            }
        }
    }
}

/// A whole head's status, its end, and the body's length: `None` where it is chunked.
fn read_head(bytes: &[u8]) -> io::Result<Option<(u16, usize, Option<usize>)>> {
    let mut headers = [httparse::EMPTY_HEADER; 96];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(end) = answer.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let length = answer
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length =
        length.and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok());
    Ok(Some((answer.code.unwrap_or_default(), end, length)))
}
