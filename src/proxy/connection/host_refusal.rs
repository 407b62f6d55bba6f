//! Pingora refuses an HTTP/2 request for its host before any code of ours sees it: a `HEADERS` frame with `:status: 400`
//! and nothing else, which ends the stream. This finds that frame in what goes out, and writes the answer that goes out
//! in its place.
//!
//! No other answer looks like it: each has an `x-request-id`.

use http::HeaderMap;

use super::frames::{DATA, END_HEADERS, FRAME_HEAD, HEADERS};

const END_STREAM: u8 = 1;
/// `:status: 400`, by its number in the static table (RFC 7541, appendix A).
const STATUS_400: u8 = 0x8c;
/// Of a block with nothing but that: two changes of the table's size may stand before it (RFC 7541, 4.2), of six bytes each.
const LONGEST: usize = 13;
/// Where the next frame starts is no longer known.
const LOST: usize = usize::MAX;

/// Where the frames that go out begin and end.
#[derive(Default)]
pub(super) struct Outgoing {
    /// Of the present frame, still to come.
    left: usize,
}

/// What is next to go out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// All of it, as it is. The next frame starts so many bytes from here.
    All { until: usize },
    /// So many bytes; then comes a refusal.
    Some(usize),
    /// A refusal, so many bytes long.
    Refusal(usize),
}

impl Outgoing {
    /// `bytes` come next. The implementation of HTTP/2 never cuts a frame's head in two; were it otherwise, nothing would
    /// be looked for any more.
    pub(super) fn ahead(&self, bytes: &[u8]) -> Ahead {
        let mut at = self.left;
        while let Some(frame) = bytes.get(at..).filter(|frame| !frame.is_empty()) {
            let Some([a, b, c, kind, flags, ..]) = frame.first_chunk::<FRAME_HEAD>() else {
                return Ahead::All { until: LOST };
            };
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            let whole = FRAME_HEAD + length;
            if (*kind, *flags) == (HEADERS, END_HEADERS | END_STREAM)
                && length <= LONGEST
                && frame.get(FRAME_HEAD..whole).is_some_and(is_bare)
            {
                return match at {
                    0 => Ahead::Refusal(whole),
                    _ => Ahead::Some(at),
                };
            }
            at += whole;
        }
        Ahead::All { until: at }
    }

    /// So many bytes have gone out, and the next frame started so many from the first of them.
    pub(super) fn went(&mut self, bytes: usize, until: usize) {
        self.left = match until {
            LOST => LOST,
            _ => until.checked_sub(bytes).unwrap_or(LOST),
        };
    }
}

/// Whether a head says no more than that the status is 400.
fn is_bare(mut block: &[u8]) -> bool {
    while let Some((first, rest)) = block.split_first()
        && first & 0xe0 == 0x20
    {
        let more = rest.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
        block = match first & 0x1f {
            0x1f => rest.get(more..).unwrap_or_default(),
            _ => rest,
        };
    }
    block == [STATUS_400]
}

/// The answer in place of a refusal (the whole frame): the same with these headers, and with this body unless that is
/// empty. The client's table of headers stays as it is, as the implementation that goes on using it believes.
pub(super) fn answer(refusal: &[u8], headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let (head, block) = refusal.split_at(FRAME_HEAD);
    let stream = &head[5..];
    let mut block = block.to_vec();
    for (name, value) in headers {
        // Written out, and not to be kept (RFC 7541, 6.2.2).
        block.push(0);
        text(name.as_str().as_bytes(), &mut block);
        text(value.as_bytes(), &mut block);
    }
    let frame = |kind, flags, payload: &[u8]| {
        let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
        [&length[..], &[kind, flags], stream, payload].concat()
    };
    match body {
        [] => frame(HEADERS, END_HEADERS | END_STREAM, &block),
        _ => [
            frame(HEADERS, END_HEADERS, &block),
            frame(DATA, END_STREAM, body),
        ]
        .concat(),
    }
}

/// A text as it is, and its length before it (RFC 7541, 5.1 and 5.2).
fn text(text: &[u8], block: &mut Vec<u8>) {
    match text.len().checked_sub(0x7f) {
        None => block.push(text.len() as u8),
        Some(mut rest) => {
            block.push(0x7f);
            while rest >= 0x80 {
                block.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            block.push(rest as u8);
        }
    }
    block.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let head = [0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 3];
        [&head[..], payload].concat()
    }

    fn refusal() -> Vec<u8> {
        frame(HEADERS, END_HEADERS | END_STREAM, &[STATUS_400])
    }

    #[test]
    fn a_bare_400_is_a_refusal_and_nothing_else_is() {
        let whole = END_HEADERS | END_STREAM;
        for (frame, expected) in [
            (refusal(), true),
            // The first head behind a change of the client's settings.
            (frame(HEADERS, whole, &[0x20, STATUS_400]), true),
            (
                frame(HEADERS, whole, &[0x20, 0x3f, 0xe1, 0x1f, STATUS_400]),
                true,
            ),
            (frame(HEADERS, whole, &[0x20]), false),
            (frame(HEADERS, whole, &[0x3f, 0xe1]), false),
            (frame(HEADERS, whole, &[0x88]), false),
            (frame(HEADERS, whole, &[]), false),
            // With headers, or with a body behind it.
            (
                frame(HEADERS, whole, &[STATUS_400, 0, 1, b'x', 1, b'y']),
                false,
            ),
            (frame(HEADERS, END_HEADERS, &[STATUS_400]), false),
            (frame(DATA, END_STREAM, &[STATUS_400]), false),
        ] {
            let found = Outgoing::default().ahead(&frame);
            let all = Ahead::All { until: frame.len() };
            let expected = if expected {
                Ahead::Refusal(frame.len())
            } else {
                all
            };
            assert_eq!(found, expected, "{frame:?}");
        }
    }

    /// Takes in `bytes` of which at most `step` go out at once, and gives where the refusals were.
    fn refusals(bytes: &[u8], step: usize) -> Vec<usize> {
        let (mut outgoing, mut at, mut found) = (Outgoing::default(), 0, Vec::new());
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (went, until) = match outgoing.ahead(rest) {
                Ahead::All { until } => (rest.len().min(step), until),
                Ahead::Some(some) => (some.min(step), some),
                Ahead::Refusal(length) => {
                    found.push(at);
                    (length, length)
                }
            };
            outgoing.went(went, until);
            at += went;
        }
        found
    }

    #[test]
    fn refusals_are_found_between_others_however_much_goes_out_at_once() {
        // A body that looks like a refusal is none.
        let body = frame(DATA, 0, &refusal());
        let served = frame(HEADERS, END_HEADERS, &[0x88, 0xbe]);
        let bytes = [
            &served[..],
            &body,
            &refusal(),
            &refusal(),
            &body,
            &refusal(),
        ]
        .concat();
        let first = served.len() + body.len();
        let expected = [first, first + 10, first + 20 + body.len()];
        for step in [1, 2, 9, 10, 11, 1000] {
            assert_eq!(refusals(&bytes, step), expected, "{step}");
        }
    }

    #[test]
    fn a_body_that_goes_out_beside_its_head_is_passed_over() {
        let mut outgoing = Outgoing::default();
        let head = [0, 1, 0, DATA, 0, 0, 0, 0, 1];
        assert_eq!(outgoing.ahead(&head), Ahead::All { until: 265 });
        outgoing.went(9 + 100, 265);
        // The rest of the body begins as a refusal does.
        let rest = [&refusal()[..], &[0; 146], &refusal()].concat();
        assert_eq!(outgoing.ahead(&rest), Ahead::Some(156));
    }

    #[test]
    fn frames_that_are_lost_are_not_looked_for() {
        let mut outgoing = Outgoing::default();
        let served = frame(HEADERS, END_HEADERS, &[0x88]);
        let Ahead::All { until } = outgoing.ahead(&served[..5]) else {
            panic!("nothing was found");
        };
        outgoing.went(5, until);
        assert_eq!(outgoing.ahead(&refusal()), Ahead::All { until: LOST });
        outgoing.went(10, LOST);
        assert_eq!(outgoing.ahead(&refusal()), Ahead::All { until: LOST });
    }

    #[test]
    fn an_answer_says_more_on_the_same_stream() {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", "7".parse().unwrap());
        headers.insert("x", "y".repeat(300).parse().unwrap());
        let block = [
            &[STATUS_400, 0, 12][..],
            b"x-request-id\x017\0\x01x",
            // 300 is 127 and 173, which is 45 and 1 times 128.
            &[0x7f, 0x80 | 45, 1],
            "y".repeat(300).as_bytes(),
        ]
        .concat();
        let length = block.len() as u16;
        let head = |flags| {
            let [high, low] = length.to_be_bytes();
            [&[0, high, low, HEADERS, flags, 0, 0, 0, 3][..], &block].concat()
        };
        let bare = answer(&refusal(), &headers, b"");
        assert_eq!(bare, head(END_HEADERS | END_STREAM));
        let full = answer(&refusal(), &headers, b"{}");
        let body = frame(DATA, END_STREAM, b"{}");
        assert_eq!(full, [head(END_HEADERS), body].concat());
        // Neither is taken for a refusal again.
        let all = |bytes: &[u8]| Ahead::All { until: bytes.len() };
        assert_eq!(Outgoing::default().ahead(&bare), all(&bare));
        assert_eq!(Outgoing::default().ahead(&full), all(&full));
    }
}
