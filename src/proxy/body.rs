//! Reads a request's body and keeps it, so that every attempt can send all of it; or, where there is no room for it,
//! as much of it as routing needs, the rest to be passed on as it comes.

use std::{
    mem,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Version, header};
use pingora_proxy::Session;

use super::body_memory::{Lease, Memory};
use crate::domain::{
    ask::{Ask, Forbidden, Scan, Splice},
    deployment::{Bounds, OverBodyMemory},
    name::ModelName,
    refusal::Refusal,
};

/// What a request may hold beside all leases: enough to find the model in most bodies, and to keep any small one.
pub(super) const SLACK: usize = 64 << 10;
/// How far the model is looked for in a body that has no room yet. One more piece may come with it, and as many requests
/// may wait as there are connections.
const LOOK: usize = 8 << 10;
/// By how much a lease grows while a body of unknown length arrives.
const STEP: usize = 64 << 10;

/// On what terms a body is read.
pub(super) struct Terms<'a> {
    pub(super) bounds: &'a Bounds,
    /// For all of it to arrive.
    pub(super) time: Duration,
    /// The longest pause while it does: who sends a byte now and then holds no connection.
    pub(super) pause: Duration,
    pub(super) memory: &'a Memory,
    pub(super) passage: Passage,
    /// What is refused as soon as it shows.
    pub(super) forbidden: Option<Forbidden>,
    /// Whether a response is asked for.
    pub(super) of_responses: bool,
}

/// What must be known of a body before it may be passed on as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// Nothing: the path says where it goes, and it goes there as it is.
    AsItIs {
        /// Whether it may be JSON.
        read_along: bool,
    },
    /// The model it names.
    OnceNamed,
    /// Everything: it can't be read in pieces.
    Never,
}

/// A body as far as it was read.
pub(super) struct Arrived {
    /// What is kept of it.
    pub(super) kept: Bytes,
    /// What is to be passed on behind that as it comes.
    pub(super) rest: Option<Box<Rest>>,
}

/// What is still to come of a body, and what it has to keep to.
pub(crate) struct Rest {
    /// The whole body's length, where the client said it.
    pub(super) length: Option<usize>,
    /// How much of it has come.
    pub(super) received: usize,
    pub(super) max: usize,
    /// How much longer it may be waited for.
    pub(super) patience: Duration,
    /// How long it may pause.
    pub(super) pause: Duration,
    /// Reads along, where there is something to be read.
    pub(super) scan: Option<Scan>,
    /// Whether it must be one JSON object that names one model; else that is the deployment's matter.
    pub(super) strict: bool,
    /// The models that a response's tools may name.
    pub(super) open: Vec<ModelName>,
}

impl Rest {
    /// What the body asks for, as far as it must be known.
    pub(super) fn ask(&self) -> Ask {
        let ask = self.scan.as_ref().filter(|_| self.strict);
        ask.and_then(Scan::ask).unwrap_or(Ask::unread())
    }

    /// Whether the tools that have come name none but these.
    pub(super) fn check_tools(&self) -> Result<(), Refusal> {
        let mut named = self.scan.iter().flat_map(Scan::tool_models);
        let is_open = |model: &ModelName, named: &str| model.as_str().eq_ignore_ascii_case(named);
        if named.all(|named| self.open.iter().any(|it| is_open(it, named))) {
            Ok(())
        } else {
            Err(Refusal::ToolModel)
        }
    }
}

/// Reads a body, all of it if there is room.
pub(super) async fn read(session: &mut Session, terms: Terms<'_>) -> Result<Arrived, Refusal> {
    let (length, max) = (declared_length(session), terms.bounds.max_body);
    if length.is_some_and(|length| length > max) {
        return Err(Refusal::BodyTooLarge { max });
    }
    let lease = terms.memory.try_lease(length.unwrap_or(0));
    if lease.is_none() && terms.bounds.over_body_memory == OverBodyMemory::Refuse {
        return Err(Refusal::BodyMemoryFull);
    }
    if is_expecting(session) && !session.is_body_done() {
        let waved_on = session.downstream_session.write_continue_response().await;
        waved_on.map_err(|_| Refusal::BodyUnfinished)?;
    }
    let body = BodyReader::new(length, lease, terms).run(session).await;
    if matches!(body, Err(Refusal::BodyUnfinished | Refusal::BodyTooSlow)) {
        // Where the next request would start is not known, or not in sight.
        session.set_keepalive(None);
    }
    body
}

/// Whether the client waits to be waved on before it sends the body; HTTP/1.0 knows no such thing.
fn is_expecting(session: &Session) -> bool {
    let head = session.req_header();
    head.version != Version::HTTP_10 && head.headers.contains_key(header::EXPECT)
}

fn declared_length(session: &Session) -> Option<usize> {
    session
        .req_header()
        .headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// A body being read.
struct BodyReader<'a> {
    terms: Terms<'a>,
    started: Instant,
    /// As the client said it.
    length: Option<usize>,
    /// Room for what is kept; `None` where there was none for what the client said.
    lease: Option<Lease>,
    kept: Vec<u8>,
    scan: Scan,
    scanned: usize,
    /// Whether it may go on without room for all of it.
    may_overflow: bool,
    has_waited: bool,
}

impl<'a> BodyReader<'a> {
    fn new(length: Option<usize>, lease: Option<Lease>, terms: Terms<'a>) -> Self {
        let refuses = terms.bounds.over_body_memory == OverBodyMemory::Refuse;
        Self {
            may_overflow: refuses || matches!(terms.passage, Passage::AsItIs { .. }),
            scan: match terms.forbidden {
                Some(forbidden) => Scan::forbidding(forbidden),
                None if terms.of_responses => Scan::of_response(),
                None => Scan::default(),
            },
            terms,
            started: Instant::now(),
            length,
            lease,
            kept: Vec::new(),
            scanned: 0,
            has_waited: false,
        }
    }

    async fn run(mut self, session: &mut Session) -> Result<Arrived, Refusal> {
        if self.has_no_room() && self.may_overflow {
            return self.overflow();
        }
        while let Some(piece) = self.next(session).await? {
            if self.kept.len() + piece.len() > self.terms.bounds.max_body {
                let max = self.terms.bounds.max_body;
                return Err(Refusal::BodyTooLarge { max });
            }
            if self.kept.is_empty() && self.length == Some(piece.len()) {
                return Ok(whole(held(self.lease, piece)));
            }
            self.keep(piece)?;
            if self.has_no_room() && self.is_named()? {
                return self.overflow();
            }
            if self.fits() || self.length == Some(self.kept.len()) {
                continue;
            }
            if !self.may_overflow && !self.is_named()? {
                self.wait_for_room().await?;
                continue;
            }
            self.may_overflow = true;
            if !self.fits() {
                return self.overflow();
            }
        }
        Ok(whole(self.close()))
    }

    async fn next(&self, session: &mut Session) -> Result<Option<Bytes>, Refusal> {
        let piece = session.downstream_session.read_request_body();
        let patience = self.remaining().min(self.terms.pause);
        let piece = tokio::time::timeout(patience, piece)
            .await
            .map_err(|_| Refusal::BodyTooSlow)?;
        piece.map_err(|_| Refusal::BodyUnfinished)
    }

    /// Whether there was no room for what the client said, and it is too much for the slack.
    fn has_no_room(&self) -> bool {
        self.lease.is_none() && self.length > Some(SLACK)
    }

    fn keep(&mut self, piece: Bytes) -> Result<(), Refusal> {
        let length = self.kept.len() + piece.len();
        let room = match (self.length, &self.lease) {
            (Some(length), Some(_)) => length,
            // Growing it later would hold two copies. Only what is written to costs memory, and that is leased.
            (None, _) if length > SLACK => self.terms.bounds.max_body,
            _ => 0,
        };
        if self.kept.capacity() < room {
            let more = self.kept.try_reserve_exact(room - self.kept.len());
            more.map_err(|_| Refusal::BodyMemoryFull)?;
        }
        self.kept.extend_from_slice(&piece);
        Ok(())
    }

    /// Whether there is room for what is kept; a lease grows for it, where that can't end in waiting.
    fn fits(&mut self) -> bool {
        let kept = self.kept.len();
        let slack = if self.has_no_room() { LOOK } else { SLACK };
        let in_slack =
            kept <= slack && self.terms.bounds.over_body_memory == OverBodyMemory::Stream;
        let may_grow = self.length.is_none() && (kept <= SLACK || self.may_overflow);
        let grown = kept.next_multiple_of(STEP);
        self.lease.as_mut().is_some_and(|lease| {
            lease.bytes() >= kept || may_grow && self.terms.memory.try_grow(lease, grown)
        }) || in_slack
    }

    fn is_named(&mut self) -> Result<bool, Refusal> {
        if self.terms.passage != Passage::OnceNamed {
            return Ok(false);
        }
        self.read_along()?;
        Ok(self.scan.ask().is_some())
    }

    fn read_along(&mut self) -> Result<(), Refusal> {
        let unread = &self.kept[self.scanned..];
        self.scanned = self.kept.len();
        self.scan.push(unread)
    }

    /// Waits until there is room for as much as may come. Nothing but the slack is held meanwhile.
    async fn wait_for_room(&mut self) -> Result<(), Refusal> {
        let all = self.terms.memory.size();
        let room = self.length.unwrap_or(self.terms.bounds.max_body.min(all));
        self.lease = None;
        if !mem::replace(&mut self.has_waited, true) {
            let lease = tokio::time::timeout(self.remaining(), self.terms.memory.lease(room));
            self.lease = lease.await.map_err(|_| Refusal::BodyMemoryFull)?;
        }
        match self.lease {
            Some(_) => Ok(()),
            None => Err(Refusal::BodyTooLarge { max: all }),
        }
    }

    fn remaining(&self) -> Duration {
        self.terms.time.saturating_sub(self.started.elapsed())
    }

    /// There is no room for more than what is kept.
    fn overflow(mut self) -> Result<Arrived, Refusal> {
        let strict = match self.terms.passage {
            _ if self.terms.bounds.over_body_memory == OverBodyMemory::Refuse => {
                return Err(Refusal::BodyMemoryFull);
            }
            // What can't be read could hold what is forbidden.
            Passage::AsItIs { read_along } => read_along && self.terms.forbidden.is_some(),
            Passage::OnceNamed | Passage::Never => true,
        };
        let read_along = match self.read_along() {
            Err(refusal) if strict || refusal == Refusal::BodyTooDeep => return Err(refusal),
            read => read.is_ok() && self.terms.passage != Passage::AsItIs { read_along: false },
        };
        let rest = Rest {
            length: self.length,
            received: self.kept.len(),
            max: self.terms.bounds.max_body,
            patience: self.remaining(),
            pause: self.terms.pause,
            scan: read_along.then(|| mem::take(&mut self.scan)),
            strict,
            open: Vec::new(),
        };
        Ok(Arrived {
            kept: self.close(),
            rest: Some(Box::new(rest)),
        })
    }

    /// What is kept, with the room it takes and no more.
    fn close(mut self) -> Bytes {
        self.kept.shrink_to_fit();
        let lease = self.lease.map(|mut lease| {
            lease.shrink_to(self.kept.len());
            lease
        });
        held(lease, self.kept)
    }
}

fn whole(kept: Bytes) -> Arrived {
    Arrived { kept, rest: None }
}

fn held<B>(lease: Option<Lease>, body: B) -> Bytes
where
    B: AsRef<[u8]> + Into<Bytes> + Send + 'static,
{
    match lease {
        Some(lease) => lease.hold(body),
        None => body.into(),
    }
}

/// The body in the pieces that make it up once the changes, none of which meets another, are in it; nothing of it is
/// copied.
pub(super) fn spliced(body: &Bytes, mut changes: Vec<Splice>) -> Vec<Bytes> {
    changes.sort_by_key(|change| change.at.start);
    let mut pieces = Vec::with_capacity(2 * changes.len() + 1);
    let mut from = 0;
    for Splice { at, with } in changes {
        pieces.extend([body.slice(from..at.start), with]);
        from = at.end;
    }
    pieces.push(body.slice(from..));
    pieces
}
