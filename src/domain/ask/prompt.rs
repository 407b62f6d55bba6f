//! How many tokens a prompt comes to, before any deployment has said so: what is reserved for a request, and what an answer
//! is taken to have read that broke off.

use memchr::memmem;

use super::scan::{MOST, PICTURE, Scan};
use crate::domain::{route::Operation, usage::char_estimate::CharEstimate};

/// How many tokens the prompt in this body is; a form of parts has text, and may have pictures. Of a body that can't be
/// read, as far as it can.
pub fn prompt_tokens(operation: Operation, body: &[u8]) -> u64 {
    match body.trim_ascii_start().first() {
        Some(b'{') => {
            let mut scan = Scan::default().sizing(operation);
            // Whatever it is refused for is somebody else's matter.
            let _ = scan.push(body);
            scan.prompt_tokens().unwrap_or_default()
        }
        Some(b'-') => of_form(operation, body),
        _ => 0,
    }
}

/// The prompt of a form, and its pictures where they are read.
fn of_form(operation: Operation, body: &[u8]) -> u64 {
    let mut scale = CharEstimate::default();
    if let Some(at) = memmem::find(body, b"name=\"prompt\"") {
        let part = &body[at..];
        let start = memmem::find(part, b"\r\n\r\n").map_or(part.len(), |at| at + 4);
        let text = &part[start..];
        let end = memmem::find(text, b"\r\n--").unwrap_or(text.len());
        scale.add(&text[..end.min(MOST)]);
    }
    let pictures = match operation {
        Operation::ImageEdits => memmem::find_iter(body, b"filename=").count() as u64,
        _ => 0,
    };
    scale.tokens() + pictures * PICTURE
}

#[cfg(test)]
mod tests;
