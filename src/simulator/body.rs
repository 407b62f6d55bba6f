//! An answer's body: whole, trickled, or paced event by event; and the ways in which it can break off.
//!
//! Owns the [`RequestTrace`] while the answer is on its way: the trace is finished just before the last byte is handed
//! over, so that whoever has read the whole answer finds it in the statistics.

mod paced;

pub(crate) use paced::PacedBody;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::{
    answer::{EventKind, EventWriter},
    connection::ConnectionFate,
    deviation::{BrokenOff, Deviation},
    faults::StreamError,
    latency::TokenTiming,
    request_trace::RequestTrace,
};

/// How a trickled answer is cut.
const TRICKLE: usize = 64;

pub(crate) enum Body {
    Whole {
        bytes: Bytes,
        trace: Option<RequestTrace>,
    },
    Paced(Box<PacedBody>),
}

impl Body {
    /// Without a trace nobody counts it.
    pub(crate) fn whole(bytes: impl Into<Bytes>, trace: Option<RequestTrace>) -> Self {
        let bytes = bytes.into();
        Self::Whole { bytes, trace }
    }

    /// A plain answer that comes slowly or not to its end.
    pub(crate) fn trickled(
        bytes: Vec<u8>,
        trace: RequestTrace,
        deviation: Deviation,
        fate: ConnectionFate,
    ) -> Self {
        let (length, mut deviation, mut cut) = (bytes.len(), deviation, TRICKLE);
        if let Some(breaks) = &mut deviation.breaks {
            breaks.after_events = (length / TRICKLE / 2).max(1);
            // A short answer must break before its end, too.
            cut = TRICKLE.min(length.div_ceil(2)).max(1);
        }
        let writer = Box::new(Trickle { bytes, cut });
        let rng = fastrand::Rng::with_seed(0);
        let mut paced = PacedBody::new(writer, TokenTiming::NONE, rng, trace, deviation, fate);
        paced.length = Some(length);
        Self::Paced(Box::new(paced))
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
            Self::Paced(paced) => paced.poll_next(cx).map_ok(Frame::data),
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
