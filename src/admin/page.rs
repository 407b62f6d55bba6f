//! An answer of the admin listener.

use http::{HeaderName, HeaderValue, StatusCode};

/// An answer of the admin listener.
#[derive(Debug)]
pub struct Page {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// Beside those that every answer has.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// An answer in words.
pub(super) fn text(status: StatusCode, text: &str) -> Page {
    Page {
        status,
        content_type: "text/plain; charset=utf-8",
        body: format!("{text}\n").into_bytes(),
        headers: Vec::new(),
    }
}
