//! An answer's body: whole, dribbled, or told event by event; and the ways in which it can break off.
//!
//! Owns the [`Visit`] while the answer is on its way: the visit is finished just before the last byte is handed
//! over, so that whoever has read the whole answer finds it in the books.

mod told;

pub(crate) use told::Told;

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
    books::Spent,
    faults::{OddUsage, StreamError},
    latency::Rhythm,
    visit::Visit,
    wire::Fate,
};

/// How a dribbled answer is cut.
const DRIBBLE: usize = 64;

/// One event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Part of the frame around the output: sent without waiting.
    Frame,
    /// Output: waits its turn, and counts as so many tokens.
    Output(u64),
    /// What is counted before the first word: tokens thought, and tokens spoken beside what is written.
    Before { thought: u64, spoken: u64 },
}

impl Beat {
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
pub(crate) trait Narration: Send {
    /// Writes the event of that number, closing blank line included; `None` after the last.
    fn event(&mut self, at: usize, out: &mut Vec<u8>) -> Option<Beat>;
    /// An error in mid-stream as this API says it, without its closing blank line.
    fn error_event(&self, error: &StreamError) -> String;
}

/// How an answer departs from the straight way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Twist {
    /// Before each event, or each piece of a plain answer.
    pub(crate) delay: Option<Duration>,
    /// Before the event of that number alone.
    pub(crate) silence: Option<(usize, Duration)>,
    pub(crate) breaks: Option<Break>,
    /// Its usage is not what it should be.
    pub(crate) odd_usage: Option<OddUsage>,
}

impl Twist {
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
pub(crate) struct Break {
    pub(crate) after_events: usize,
    pub(crate) how: How,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum How {
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
    Whole { bytes: Bytes, visit: Option<Visit> },
    Told(Box<Told>),
}

impl Body {
    pub(crate) fn whole(bytes: impl Into<Bytes>, visit: Visit) -> Self {
        Self::Whole {
            bytes: bytes.into(),
            visit: Some(visit),
        }
    }

    /// A body that nobody counts.
    pub(crate) fn uncounted(bytes: impl Into<Bytes>) -> Self {
        Self::Whole {
            bytes: bytes.into(),
            visit: None,
        }
    }

    pub(crate) fn told(told: Told) -> Self {
        Self::Told(Box::new(told))
    }

    /// A plain answer that comes slowly or not to its end.
    pub(crate) fn dribbled(bytes: Vec<u8>, visit: Visit, twist: Twist, fate: Fate) -> Self {
        let length = bytes.len();
        let breaks = twist.breaks.map(|b| Break {
            after_events: (bytes.len() / DRIBBLE / 2).max(1),
            ..b
        });
        let twist = Twist { breaks, ..twist };
        // A short answer must break before its end, too.
        let cut = if twist.breaks.is_some() {
            DRIBBLE.min(bytes.len().div_ceil(2)).max(1)
        } else {
            DRIBBLE
        };
        let narration = Box::new(Dribble { bytes, cut });
        let told = Told::new(
            narration,
            Rhythm::of(&super::config::Latency::default()),
            fastrand::Rng::with_seed(0),
            visit,
            twist,
            fate,
        );
        Self::told(told.of_length(length))
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
            Self::Whole { bytes, visit } => {
                if let Some(mut visit) = visit.take() {
                    visit.finish();
                }
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Told(told) => told
                .poll_next(cx)
                .map(|next| next.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole { bytes, visit: None } if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            Self::Told(told) => told.length.map_or_else(SizeHint::default, |length| {
                SizeHint::with_exact(length as u64)
            }),
        }
    }
}

/// A plain answer in small pieces.
struct Dribble {
    bytes: Vec<u8>,
    cut: usize,
}

impl Narration for Dribble {
    fn event(&mut self, at: usize, out: &mut Vec<u8>) -> Option<Beat> {
        let piece = self.bytes.chunks(self.cut).nth(at)?;
        out.extend_from_slice(piece);
        Some(Beat::Frame)
    }

    fn error_event(&self, _: &StreamError) -> String {
        String::new()
    }
}
