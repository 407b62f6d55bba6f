//! An instance that speaks HTTP/2 over TLS frame by frame, as a test tells it to; and HTTP/1.1 where it is asked over that.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    certificate_authority::CertificateAuthority,
    http2_frames::{
        DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
        WINDOW_UPDATE, block, frame,
    },
};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Answer,
    /// RST_STREAM with this code.
    Reset(u32),
    /// The same as soon as some of its body has come.
    ResetEarly(u32),
    /// GOAWAY with this code and a last stream below this request's; it is not answered.
    GoAwayBelow(u32),
    /// GOAWAY with this code and this request's stream as the last; it is answered once another connection was asked.
    GoAwayBehind(u32),
}

/// What becomes of the so-manieth request over the so-manieth connection, from 0.
pub(crate) type Script = fn(usize, usize) -> Action;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<ReceivedStreams>,
}

/// What it has seen.
#[derive(Default)]
struct ReceivedStreams {
    connections: AtomicUsize,
    over_http1: AtomicUsize,
    requests: AtomicUsize,
    /// Streams that were begun on a connection behind its GOAWAY.
    late: AtomicUsize,
    another: Notify,
}

const ANSWER: &str = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Dams."},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

impl Server {
    /// Its certificate is for `localhost`, and its authority lies in `FOLDER/ours.ca`.
    pub(crate) async fn start(folder: &Path, script: Script) -> Self {
        let authority = CertificateAuthority::new(folder, "ours");
        authority.certify(folder, "server", "localhost");
        let file = |kind: &str| fs::read(folder.join(format!("server.{kind}"))).unwrap();
        let certificate = CertificateDer::from_pem_slice(&file("crt")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(&file("key")).unwrap();
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<ReceivedStreams>::default();
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&shared), script));
            }
        });
        Self { address, seen }
    }

    /// Requests that came whole, whatever became of them.
    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn over_http1(&self) -> usize {
        self.seen.over_http1.load(Ordering::Relaxed)
    }

    pub(crate) fn late(&self) -> usize {
        self.seen.late.load(Ordering::Relaxed)
    }
}

/// The gateway also looks whether anybody is there, and says nothing: that is no connection.
async fn serve(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    seen: Arc<ReceivedStreams>,
    script: Script,
) {
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let number = seen.connections.fetch_add(1, Ordering::Relaxed);
    if number > 0 {
        seen.another.notify_one();
    }
    let _ = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => speak(&mut stream, &seen, &|nth| script(number, nth)).await,
        _ => speak_http1(&mut stream, &seen).await,
    };
}

async fn speak(
    stream: &mut TlsStream<TcpStream>,
    seen: &ReceivedStreams,
    script: &(dyn Fn(usize) -> Action + Sync),
) -> std::io::Result<()> {
    stream.read_exact(&mut [0; PREFACE.len()]).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, "")).await?;
    let (mut nth, mut is_leaving, mut held) = (0, false, None);
    loop {
        let mut head = [0; 9];
        tokio::select! {
            read = stream.read_exact(&mut head) => { read?; }
            () = seen.another.notified(), if held.is_some() => {
                if let Some(id) = held.take() {
                    answer(stream, id).await?;
                }
                continue;
            }
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await?;
        match head[3] {
            SETTINGS if head[4] == 0 => stream.write_all(&frame(SETTINGS, 1, 0, "")).await?,
            PING if head[4] == 0 => stream.write_all(&frame(PING, 1, 0, &payload)).await?,
            // What was sent before it has been read by now: the request counts as seen.
            PING => {
                seen.requests.fetch_add(1, Ordering::Relaxed);
            }
            HEADERS if is_leaving => {
                seen.late.fetch_add(1, Ordering::Relaxed);
            }
            DATA if length > 0 && head[4] & END_STREAM == 0 => {
                if let Action::ResetEarly(code) = script(nth) {
                    nth += 1;
                    let reset = frame(RST_STREAM, 0, id, code.to_be_bytes());
                    stream.write_all(&reset).await?;
                    continue;
                }
                for stream_id in [0, id] {
                    let more = frame(WINDOW_UPDATE, 0, stream_id, length.to_be_bytes());
                    stream.write_all(&more).await?;
                }
            }
            _ => {}
        }
        if !matches!(head[3], DATA | HEADERS) || head[4] & END_STREAM == 0 {
            continue;
        }
        let action = script(nth);
        nth += 1;
        if !matches!(action, Action::GoAwayBehind(_)) {
            seen.requests.fetch_add(1, Ordering::Relaxed);
        }
        act(stream, id, action).await?;
        is_leaving |= matches!(action, Action::GoAwayBelow(_) | Action::GoAwayBehind(_));
        if matches!(action, Action::GoAwayBehind(_)) {
            held = Some(id);
        }
    }
}

/// Does to a request that was read whole what the script says.
async fn act(stream: &mut TlsStream<TcpStream>, id: u32, action: Action) -> std::io::Result<()> {
    match action {
        Action::Answer => answer(stream, id).await,
        Action::Reset(code) | Action::ResetEarly(code) => {
            let reset = frame(RST_STREAM, 0, id, code.to_be_bytes());
            stream.write_all(&reset).await
        }
        Action::GoAwayBelow(code) => go_away(stream, id.saturating_sub(2), code).await,
        Action::GoAwayBehind(code) => {
            go_away(stream, id, code).await?;
            stream.write_all(&frame(PING, 0, 0, [0; 8])).await
        }
    }
}

async fn go_away(stream: &mut TlsStream<TcpStream>, last: u32, code: u32) -> std::io::Result<()> {
    let words = [last.to_be_bytes(), code.to_be_bytes()].concat();
    stream.write_all(&frame(GOAWAY, 0, 0, words)).await
}

async fn answer(stream: &mut TlsStream<TcpStream>, id: u32) -> std::io::Result<()> {
    let fields: [(&[u8], &[u8]); 2] =
        [(b":status", b"200"), (b"content-type", b"application/json")];
    let head = frame(HEADERS, END_HEADERS, id, block(&fields));
    let body = frame(DATA, END_STREAM, id, ANSWER);
    stream.write_all(&[head, body].concat()).await
}

async fn speak_http1(
    stream: &mut TlsStream<TcpStream>,
    seen: &ReceivedStreams,
) -> std::io::Result<()> {
    let mut read = Vec::new();
    loop {
        while !crate::scripted_upstream::is_whole(&read) {
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        read.clear();
        seen.requests.fetch_add(1, Ordering::Relaxed);
        seen.over_http1.fetch_add(1, Ordering::Relaxed);
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{ANSWER}",
            ANSWER.len()
        );
        stream.write_all(answer.as_bytes()).await?;
    }
}
