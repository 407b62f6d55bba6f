//! Traffic for who looks on: one client that asks as people do, and one that asks for more than it may.

use std::{
    io, thread,
    time::{Duration, Instant},
};

/// A client of the demo's config, and how often it asks.
struct Asker {
    key: &'static str,
    every: Duration,
    body: &'static str,
}

const ASKERS: [Asker; 2] = [
    Asker {
        key: "demo",
        every: Duration::from_millis(400),
        body: r#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Why do dams spill, and what do they do with what they spill?"}],"max_tokens":120}"#,
    },
    Asker {
        key: "batch",
        every: Duration::from_millis(300),
        body: r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Sum this up."}],"max_tokens":200}"#,
    },
];

/// Begins to ask the gateway on this port. It ends with the process.
pub(super) fn begin(port: u16) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let http = reqwest::Client::builder()
        .build()
        .map_err(io::Error::other)?;
    let url = format!("http://127.0.0.1:{port}/openai/v1/chat/completions");
    let askers = ASKERS.map(|asker| ask(asker, http.clone(), url.clone()));
    let asking = async {
        futures_util::future::join_all(askers).await;
    };
    thread::Builder::new()
        .name("traffic".into())
        .spawn(move || runtime.block_on(asking))?;
    Ok(())
}

async fn ask(asker: Asker, http: reqwest::Client, url: String) {
    let mut next = Instant::now();
    loop {
        next += asker.every;
        tokio::time::sleep_until(next.into()).await;
        let request = http
            .post(&url)
            .header("api-key", asker.key)
            .header("content-type", "application/json")
            .body(asker.body);
        tokio::spawn(async move {
            // What becomes of it the gateway's own counters say.
            if let Ok(answer) = request.send().await {
                let _ = answer.bytes().await;
            }
        });
    }
}
