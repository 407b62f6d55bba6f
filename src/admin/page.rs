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

impl Page {
    pub(super) fn new(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Self {
        let headers = Vec::new();
        Self {
            status,
            content_type,
            body,
            headers,
        }
    }
}

/// An answer in words.
pub(super) fn text(status: StatusCode, text: &str) -> Page {
    let body = format!("{text}\n").into_bytes();
    Page::new(status, "text/plain; charset=utf-8", body)
}
