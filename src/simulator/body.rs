//! An answer's body: whole, trickled, or paced event by event; and the ways in which it can break off.
//!
//! Owns the [`RequestTrace`] while the answer is on its way: the trace is finished just before the last byte is handed
//! over, so that whoever has read the whole answer finds it in the statistics.

mod paced;

pub(crate) use paced::PacedBody;

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;

use super::{
    connection::ConnectionFate,
    faults::{OddUsage, StreamError},
    latency::TokenTiming,
    recorder::Spent,
    request_trace::RequestTrace,
};

/// How a trickled answer is cut.
const TRICKLE: usize = 64;

/// One event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// Part of the frame around the output: sent without waiting.
    Frame,
    /// Output: waits its turn, and counts as so many tokens.
    Output(u64),
    /// What is counted before the first word: tokens thought, and tokens spoken beside what is written.
    Before { thought: u64, spoken: u64 },
}

impl EventKind {
    /// What it counts as.
    fn spent(self) -> Spent {
        match self {
            Self::Frame => Spent::default(),
            Self::Output(completion_tokens) => Spent {
                completion_tokens,
                ..Spent::default()
            },
            Self::Before { thought, spoken } => Spent {
                completion_tokens: thought + spoken,
                reasoning_tokens: thought,
                audio_completion_tokens: spoken,
                ..Spent::default()
            },
        }
    }
}

/// A stream's events, each worked out when its turn comes.
pub(crate) trait EventWriter: Send {
    /// Writes the event of that number, closing blank line included; `None` after the last.
    fn event(&mut self, at: usize, out: &mut Vec<u8>) -> Option<EventKind>;
    /// An error in mid-stream as this API says it, without its closing blank line.
    fn error_event(&self, error: &StreamError) -> String;
}

/// How an answer departs from the straight way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deviation {
    /// Before each event, or each piece of a plain answer.
    pub(crate) delay: Option<Duration>,
    /// Before the event of that number alone.
    pub(crate) silence: Option<(usize, Duration)>,
    pub(crate) breaks: Option<BreakPoint>,
    /// Its usage is not what it should be.
    pub(crate) odd_usage: Option<OddUsage>,
}

impl Deviation {
    /// What passes before the event of that number.
    pub(crate) fn before(&self, at: usize) -> Duration {
        let silence = self.silence.filter(|(here, _)| *here == at);
        self.delay.unwrap_or_default() + silence.map_or(Duration::ZERO, |(_, long)| long)
    }
}

/// What was sent must have arrived before a reset, which would overtake it.
pub(crate) fn let_it_arrive() -> Sleep {
    tokio::time::sleep(Duration::from_millis(20))
}

/// Where a stream breaks, and how.
#[derive(Clone, Debug)]
pub(crate) struct BreakPoint {
    pub(crate) after_events: usize,
    pub(crate) kind: BreakKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BreakKind {
    Reset,
    Close,
    Error(Box<StreamError>),
}

/// The transfer ends here without its end; hyper passes this on as a broken connection or stream.
#[derive(Debug, thiserror::Error)]
#[error("broken off on purpose")]
pub(crate) struct BrokenOff;

impl From<Infallible> for BrokenOff {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[derive(Debug)]
pub(crate) enum Body {
    Whole {
        bytes: Bytes,
        trace: Option<RequestTrace>,
    },
    Paced(Box<PacedBody>),
}

impl Body {
    pub(crate) fn whole(bytes: impl Into<Bytes>, trace: RequestTrace) -> Self {
        Self::Whole {
            bytes: bytes.into(),
            trace: Some(trace),
        }
    }

    /// A body that nobody counts.
    pub(crate) fn uncounted(bytes: impl Into<Bytes>) -> Self {
        Self::Whole {
            bytes: bytes.into(),
            trace: None,
        }
    }

    pub(crate) fn paced(paced: PacedBody) -> Self {
        Self::Paced(Box::new(paced))
    }

    /// A plain answer that comes slowly or not to its end.
    pub(crate) fn trickled(
        bytes: Vec<u8>,
        trace: RequestTrace,
        deviation: Deviation,
        fate: ConnectionFate,
    ) -> Self {
        let length = bytes.len();
        let breaks = deviation.breaks.map(|b| BreakPoint {
            after_events: (bytes.len() / TRICKLE / 2).max(1),
            ..b
        });
        let deviation = Deviation {
            breaks,
            ..deviation
        };
        // A short answer must break before its end, too.
        let cut = if deviation.breaks.is_some() {
            TRICKLE.min(bytes.len().div_ceil(2)).max(1)
        } else {
            TRICKLE
        };
        let writer = Box::new(Trickle { bytes, cut });
        let paced = PacedBody::new(
            writer,
            TokenTiming::new(&super::config::Latency::default()),
            fastrand::Rng::with_seed(0),
            trace,
            deviation,
            fate,
        );
        Self::paced(paced.of_length(length))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Whole { bytes, trace } => {
                if let Some(mut trace) = trace.take() {
                    trace.finish();
                }
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Paced(paced) => paced
                .poll_next(cx)
                .map(|next| next.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole { bytes, trace: None } if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            Self::Paced(paced) => paced.length.map_or_else(SizeHint::default, |length| {
                SizeHint::with_exact(length as u64)
            }),
        }
    }
}

/// A plain answer in small pieces.
struct Trickle {
    bytes: Vec<u8>,
    cut: usize,
}

impl EventWriter for Trickle {
    fn event(&mut self, at: usize, out: &mut Vec<u8>) -> Option<EventKind> {
        let piece = self.bytes.chunks(self.cut).nth(at)?;
        out.extend_from_slice(piece);
        Some(EventKind::Frame)
    }

    fn error_event(&self, _: &StreamError) -> String {
        String::new()
    }
}
