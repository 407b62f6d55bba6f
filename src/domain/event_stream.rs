//! Server-sent events, framed once for everybody who reads them or changes them: usage, errors, what is taken out, and
//! where something of ours may be written between two of them.
//!
//! Lines end with LF, CRLF or CR, an event with an empty line; a byte order mark may stand before the first. Pieces may be
//! cut anywhere, and no cut changes what is read. Of an event that is not whole yet at most 64 KiB are held; of a larger
//! one the data are shown as they come, and it goes out as it came.

mod event;
mod framer;
mod lines;
mod outgoing;

use http::{HeaderMap, header};

pub use event::{Event, Part};
pub use framer::{Framer, KEPT, LARGEST};
pub use outgoing::Outgoing;

/// Whether an answer is a stream of events.
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    const KIND: &[u8] = b"text/event-stream";
    let content_type = headers.get(header::CONTENT_TYPE);
    let kind = content_type.and_then(|value| value.as_bytes().get(..KIND.len()));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(KIND))
}

/// The same, where its events can be read as they pass.
pub fn is_readable_stream(headers: &HeaderMap) -> bool {
    is_event_stream(headers) && !is_encoded(headers)
}

/// Whether an answer's content is compressed, or otherwise can't be read.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    let coding = headers.get(header::CONTENT_ENCODING);
    coding.is_some_and(|coding| coding != "identity")
}

#[cfg(test)]
mod tests;
