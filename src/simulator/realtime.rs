//! Realtime sessions: a WebSocket's handshake answered, and the events that pass through it (wire facts: Realtime).
//!
//! A session lives in the task of the connection that it came over, so that closing the port ends it. What only tests
//! want of it has events of its own: `simulator.close` closes with a code, `simulator.die` resets without a word, and
//! binary messages come back as they are.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role},
    },
};

use super::{
    body::Body,
    connection::ConnectionFate,
    deployment::Deployment,
    deviation::{BreakKind, Deviation},
    encode,
    generated_text::{self, Reply},
    recorder::Ending,
    refusal::Refusal,
    request_trace::RequestTrace,
};

/// The protocol that a session speaks, where it is offered.
const PROTOCOL: &str = "realtime";

/// A session that was granted, and waits for its connection.
pub(crate) struct Session {
    upgrade: OnUpgrade,
    deployment: Arc<Deployment>,
    /// Whether events have the preview's names.
    preview: bool,
    rng: fastrand::Rng,
    trace: RequestTrace,
    deviation: Deviation,
    fate: ConnectionFate,
    /// What was last said to it.
    asked: String,
    /// Events sent so far.
    sent: usize,
}

/// Why a session is over.
struct Over;

/// The key of a request that opens a WebSocket.
pub(crate) fn key(request: &HeaderMap) -> Result<&HeaderValue, Refusal> {
    let is_websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    let key = request.get(header::SEC_WEBSOCKET_KEY);
    key.filter(|_| request.get(header::UPGRADE).is_some_and(is_websocket))
        .ok_or_else(|| Refusal::invalid("This endpoint needs a WebSocket upgrade.", None, None))
}

/// The answer that opens a WebSocket.
pub(crate) fn accept(key: &HeaderValue, request: &HeaderMap, headers: HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::whole("", None));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = derive_accept_key(key.as_bytes()).parse() {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if offers(request, PROTOCOL) {
        let protocol = HeaderValue::from_static(PROTOCOL);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

fn offers(request: &HeaderMap, protocol: &str) -> bool {
    let lines = request.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offered = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    offered.any(|offered| offered.trim() == protocol)
}

impl Session {
    pub(crate) fn new(
        upgrade: OnUpgrade,
        deployment: Arc<Deployment>,
        preview: bool,
        mut trace: RequestTrace,
        deviation: Deviation,
        fate: ConnectionFate,
    ) -> Self {
        trace.end(Ending::Status(101));
        Self {
            upgrade,
            preview,
            rng: deployment.fork_rng(),
            deployment,
            trace,
            deviation,
            fate,
            asked: String::new(),
            sent: 0,
        }
    }

    /// Talks until either side has had enough.
    pub(crate) async fn run(mut self) {
        // It failed: the client left before it had the answer.
        let Ok(upgraded) = (&mut self.upgrade).await else {
            return;
        };
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        if self.talk(&mut socket).await.is_ok() {
            self.trace.finish();
        }
    }

    async fn talk(&mut self, socket: &mut Socket) -> Result<(), Over> {
        let session = self.described(&json!({}));
        let created = json!({ "type": "session.created", "session": session });
        self.say(socket, created).await?;
        while let Some(message) = socket.next().await {
            match message.map_err(|_| Over)? {
                Message::Text(text) => self.hear(socket, &text).await?,
                Message::Binary(bytes) => {
                    let echo = Message::Binary(bytes);
                    socket.send(echo).await.map_err(|_| Over)?;
                }
                // The answer to a ping or a close goes out by itself.
                _ => {}
            }
        }
        Ok(())
    }

    async fn hear(&mut self, socket: &mut Socket, text: &str) -> Result<(), Over> {
        let Ok(event) = serde_json::from_str::<Value>(text) else {
            return self.complain(socket, "invalid_json").await;
        };
        match event["type"].as_str().unwrap_or_default() {
            "session.update" => {
                let session = self.described(&event["session"]);
                let updated = json!({ "type": "session.updated", "session": session });
                self.say(socket, updated).await
            }
            "conversation.item.create" => {
                let item = &event["item"];
                if let Some(text) = item["content"][0]["text"].as_str() {
                    text.clone_into(&mut self.asked);
                }
                let created = json!({ "type": "conversation.item.created", "previous_item_id": null, "item": item });
                self.say(socket, created).await
            }
            "input_audio_buffer.append" => Ok(()),
            "response.create" => self.answer(socket).await,
            "simulator.close" => self.close(socket, &event).await,
            "simulator.die" => {
                self.fate.reset_at_end();
                Err(Over)
            }
            _ => self.complain(socket, "unknown_event").await,
        }
    }

    fn described(&mut self, asked: &Value) -> Value {
        let mut session = json!({
            "id": encode::id("sess_", 24, &mut self.rng), "object": "realtime.session",
            "model": self.deployment.name, "modalities": ["text"],
        });
        for (name, value) in asked.as_object().into_iter().flatten() {
            session[name] = value.clone();
        }
        session
    }

    async fn answer(&mut self, socket: &mut Socket) -> Result<(), Over> {
        let reply = Reply::compose(&self.asked, None, None);
        let id = encode::id("resp_", 24, &mut self.rng);
        let response = |status: &str, usage: Value| json!({ "id": id, "object": "realtime.response", "status": status, "output": [], "usage": usage });
        let created =
            json!({ "type": "response.created", "response": response("in_progress", Value::Null) });
        self.say(socket, created).await?;
        let name = if self.preview {
            "response.text"
        } else {
            "response.output_text"
        };
        for at in 0..reply.pieces() {
            let delta = json!({ "type": format!("{name}.delta"), "response_id": id, "output_index": 0, "content_index": 0, "delta": reply.piece(at) });
            self.say(socket, delta).await?;
            self.trace.spent.completion_tokens += 1;
        }
        let done =
            json!({ "type": format!("{name}.done"), "response_id": id, "text": reply.text() });
        self.say(socket, done).await?;
        let input = generated_text::prompt_tokens(self.asked.chars().count() as u64, 1);
        self.trace.spent.prompt_tokens += input;
        let usage = json!({
            "input_tokens": input, "output_tokens": reply.tokens(), "total_tokens": input + reply.tokens(),
        });
        let done = json!({ "type": "response.done", "response": response("completed", usage) });
        self.say(socket, done).await
    }

    async fn complain(&mut self, socket: &mut Socket, code: &str) -> Result<(), Over> {
        let error = json!({ "type": "invalid_request_error", "code": code, "message": "The event can't be understood." });
        self.say(socket, json!({ "type": "error", "error": error }))
            .await
    }

    async fn close(&mut self, socket: &mut Socket, event: &Value) -> Result<(), Over> {
        let code = event["code"].as_u64().and_then(|code| code.try_into().ok());
        let frame = CloseFrame {
            code: code.unwrap_or(1000_u16).into(),
            reason: event["reason"].as_str().unwrap_or_default().into(),
        };
        socket.close(Some(frame)).await.map_err(|_| Over)
    }

    /// Sends an event, or breaks off where a fault says so.
    async fn say(&mut self, socket: &mut Socket, mut event: Value) -> Result<(), Over> {
        if let Some(breaks) = &self.deviation.breaks
            && self.sent == breaks.after_events
        {
            if breaks.kind == BreakKind::Reset {
                self.fate.reset_at_end();
            }
            return Err(Over);
        }
        let wait = self.deviation.before(self.sent);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        self.sent += 1;
        event["event_id"] = json!(encode::id("event_", 20, &mut self.rng));
        let text = Utf8Bytes::from(event.to_string());
        socket.send(Message::Text(text)).await.map_err(|_| Over)
    }
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;
