//! A token authority for the tests: answers on a real socket as IMDS or Entra would, or as told.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What it says to token requests. The tokens are `token-1`, `token-2`, ….
#[derive(Clone, Debug)]
pub(super) enum Says {
    /// As IMDS: strings, and the end as a Unix time.
    Imds(Duration),
    /// As Entra: a number of seconds.
    Entra(Duration),
    /// A status, with headers (each with its line break) and a body.
    Status(u16, &'static str, &'static str),
    /// Takes the request and never answers.
    Nothing,
}

#[derive(Clone)]
pub(super) struct TokenServer {
    pub(super) url: String,
    says: Arc<Mutex<Says>>,
    /// The requests so far: head and body.
    seen: watch::Sender<Vec<String>>,
}

impl TokenServer {
    pub(super) async fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            says: Arc::new(Mutex::new(says)),
            seen: watch::Sender::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        server
    }

    pub(super) fn say(&self, says: Says) {
        *self.says.lock() = says;
    }

    pub(super) fn count(&self) -> usize {
        self.seen.borrow().len()
    }

    /// The requests, once there are so many.
    pub(super) async fn seen(&self, count: usize) -> Vec<String> {
        let mut seen = self.seen.subscribe();
        seen.wait_for(|s| s.len() >= count).await.unwrap().clone()
    }

    async fn serve(&self, mut stream: TcpStream) {
        let request = read_request(&mut stream).await;
        self.seen.send_modify(|seen| seen.push(request));
        let says = self.says.lock().clone();
        let answer = match says {
            Says::Nothing => return std::future::pending().await,
            Says::Status(status, headers, body) => answer(status, headers, body),
            Says::Entra(life) => answer(200, "", &self.entra(life)),
            Says::Imds(life) => answer(200, "", &self.imds(life)),
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    fn entra(&self, life: Duration) -> String {
        let (n, life) = (self.count(), life.as_secs());
        format!(r#"{{"token_type":"Bearer","expires_in":{life},"access_token":"token-{n}"}}"#)
    }

    fn imds(&self, life: Duration) -> String {
        let end = SystemTime::now() + life;
        let end = end
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let (n, life) = (self.count(), life.as_secs());
        format!(
            r#"{{"access_token":"token-{n}","expires_in":"{life}","expires_on":"{end}","not_before":"0",
            "resource":"https://cognitiveservices.azure.com","token_type":"Bearer"}}"#
        )
    }
}

fn answer(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} So\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {length}\r\n{headers}\r\n{body}"
    )
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let mut part = [0; 4096];
        let n = stream.read(&mut part).await.unwrap();
        request.extend_from_slice(&part[..n]);
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |l| l.parse().unwrap()) {
            return String::from_utf8(request).unwrap();
        }
    }
}
