//! A body that comes in chunks, watched while it passes: where it ends, and that nobody could find another end.

use http::{HeaderName, header};

use super::characters::is_token;
use crate::domain::refusal::Refusal;

/// Digits of a chunk's size: none holds more than sixteen say.
const MAX_DIGITS: usize = 16;
/// A chunk's size with its extensions, which nobody here reads.
const MAX_SIZE_LINE: usize = 256;
/// Everything behind the last chunk, which nobody here reads either.
const MAX_TRAILERS: usize = 4096;

/// Follows a chunked body (RFC 9112, 7.1), byte by byte in its framing and in one step over its data.
#[derive(Debug, Default)]
pub struct Chunks {
    state: ChunkState,
    /// Bytes of the present line or section of lines.
    line: usize,
    /// The present chunk's size, and then what is still to come of it.
    left: u64,
    /// A trailer's name so far.
    name: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    Extension,
    /// A line's CR was there.
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    /// The CR of the empty line was there.
    LastLf,
    Done,
}

impl Chunks {
    pub fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// Takes in what comes next, and gives how many of these bytes belong to the body: all of them, until it has ended.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            if self.state == ChunkState::Data {
                at += self.skip(bytes.len() - at);
            } else {
                self.state = self.step(bytes[at]).ok_or(Refusal::AmbiguousFraming)?;
                at += 1;
            }
        }
        Ok(at)
    }

    fn skip(&mut self, available: usize) -> usize {
        let step = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(available);
        self.left -= step as u64;
        if self.left == 0 {
            self.state = ChunkState::DataCr;
        }
        step
    }

    fn step(&mut self, byte: u8) -> Option<ChunkState> {
        match self.state {
            ChunkState::Size => self.size(byte),
            ChunkState::Extension => self.extension(byte),
            ChunkState::SizeEnd => self.size_end(byte),
            ChunkState::DataCr => (byte == b'\r').then_some(ChunkState::DataLf),
            ChunkState::DataLf => (byte == b'\n').then_some(ChunkState::Size),
            ChunkState::TrailerStart if byte == b'\r' => Some(ChunkState::LastLf),
            ChunkState::TrailerStart | ChunkState::TrailerName => self.trailer_name(byte),
            ChunkState::TrailerValue => self.trailer_value(byte),
            ChunkState::TrailerEnd => (byte == b'\n').then_some(ChunkState::TrailerStart),
            ChunkState::LastLf => (byte == b'\n').then_some(ChunkState::Done),
            ChunkState::Data | ChunkState::Done => None,
        }
    }

    fn size(&mut self, byte: u8) -> Option<ChunkState> {
        let some = self.line > 0;
        match byte {
            b'\r' if some => Some(ChunkState::SizeEnd),
            b';' if some => Some(ChunkState::Extension),
            _ => {
                let digit = char::from(byte).to_digit(16)?;
                self.line += 1;
                self.left = self.left << 4 | u64::from(digit);
                (self.line <= MAX_DIGITS && self.left <= i64::MAX as u64)
                    .then_some(ChunkState::Size)
            }
        }
    }

    fn extension(&mut self, byte: u8) -> Option<ChunkState> {
        self.line += 1;
        match byte {
            b'\r' => Some(ChunkState::SizeEnd),
            b'\t' | b' '..=b'~' if self.line <= MAX_SIZE_LINE => Some(ChunkState::Extension),
            _ => None,
        }
    }

    fn size_end(&mut self, byte: u8) -> Option<ChunkState> {
        self.line = 0;
        let next = match self.left {
            0 => ChunkState::TrailerStart,
            _ => ChunkState::Data,
        };
        (byte == b'\n').then_some(next)
    }

    fn trailer_name(&mut self, byte: u8) -> Option<ChunkState> {
        self.line += 1;
        if byte == b':' {
            let name = HeaderName::from_bytes(&self.name).ok()?;
            self.name.clear();
            return is_harmless(&name).then_some(ChunkState::TrailerValue);
        }
        self.name.push(byte);
        (is_token(&[byte]) && self.line <= MAX_TRAILERS).then_some(ChunkState::TrailerName)
    }

    fn trailer_value(&mut self, byte: u8) -> Option<ChunkState> {
        self.line += 1;
        match byte {
            b'\r' => Some(ChunkState::TrailerEnd),
            b'\t' | b' '..=b'~' | 0x80.. if self.line <= MAX_TRAILERS => {
                Some(ChunkState::TrailerValue)
            }
            _ => None,
        }
    }
}

/// Whether a header may come behind a body: one that frames or routes a request, or says who sends it, may not (RFC
/// 9110, 6.5.1).
fn is_harmless(name: &HeaderName) -> bool {
    const NEVER: [HeaderName; 8] = [
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::HOST,
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::EXPECT,
        header::TE,
    ];
    !NEVER.contains(name) && name != "api-key" && name != "x-azure-fdid"
}
