//! Trace context as the W3C words it (Trace Context, level 1 with level 2's random flag): which trace a request belongs
//! to, whether it is kept, and what the next one in the chain is told. What can't be read starts a new trace.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const SAMPLED: u8 = 0b01;
/// The id's last seven bytes are random.
const RANDOM: u8 = 0b10;
/// `tracestate`: what has to go on at least; what is more is cut, the longest members first.
const STATE_BYTES: usize = 512;
const STATE_MEMBERS: usize = 32;
const LONG_MEMBER: usize = 128;

/// Which trace. Never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Which part of a trace. Never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// Of the traces that start here, how many are kept. The choice goes by the trace's own id, so that all who choose by
/// it keep the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Of 2^56 numbers: those below are left out.
    left_out: u64,
}

/// Where a request stands in its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub id: TraceId,
    /// The caller's span; `None`: the trace starts here.
    pub parent: Option<SpanId>,
    /// The request's own.
    pub span: SpanId,
    flags: u8,
    state: Option<HeaderValue>,
}

/// Who names a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client that has proved who it is.
    Known,
    /// Whoever reaches the gateway, where it lets everyone in.
    Anybody,
}

impl TraceId {
    /// From 128 random bits.
    pub fn from_draw(draw: u128) -> Self {
        Self(draw.max(1).to_be_bytes())
    }

    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The part that is random in every id of our time, as a number of 56 bits.
    fn randomness(&self) -> u64 {
        let low = u128::from_be_bytes(self.0) & ((1 << 56) - 1);
        low as u64
    }
}

impl SpanId {
    /// From 64 random bits.
    pub fn from_draw(draw: u64) -> Self {
        Self(draw.max(1).to_be_bytes())
    }

    pub fn bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Sampling {
    /// `share`: from 0 (none) to 1 (all).
    pub fn from_share(share: f64) -> Self {
        let all = (1u64 << 56) as f64;
        let left_out = (all * (1.0 - share.clamp(0.0, 1.0))).round() as u64;
        Self { left_out }
    }

    fn keeps(self, id: &TraceId) -> bool {
        id.randomness() >= self.left_out
    }
}

impl Trace {
    /// Goes on with the trace that a known client's headers name; else starts a new one. `draw` and `span` are random.
    pub fn begin(headers: &HeaderMap, sampling: Sampling, draw: u128, span: u64) -> Self {
        let mut trace = Self::start(sampling, draw, span);
        trace.join(headers, Caller::Known);
        trace
    }

    /// A new one, of a request whose sender is not known yet.
    pub fn start(sampling: Sampling, draw: u128, span: u64) -> Self {
        let id = TraceId::from_draw(draw);
        let flags = if sampling.keeps(&id) { SAMPLED } else { 0 };
        Self {
            id,
            parent: None,
            span: SpanId::from_draw(span),
            flags: flags | RANDOM,
            state: None,
        }
    }

    /// Goes on with the trace that the request's headers name, if they do. A known client's word on keeping it holds; of
    /// anybody else's the choice that was made here stays, since whoever could say that a trace is kept could fill the
    /// collector.
    pub fn join(&mut self, headers: &HeaderMap, caller: Caller) {
        let Some((id, parent, flags)) = only(headers, &TRACEPARENT).and_then(read) else {
            return;
        };
        (self.id, self.parent, self.state) = (id, Some(parent), state(headers));
        self.flags = match caller {
            Caller::Known => flags,
            Caller::Anybody => flags & RANDOM | self.flags & SAMPLED,
        };
    }

    /// Whether its spans are kept.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// `traceparent` for what is asked in the course of `span`.
    pub fn traceparent(&self, span: SpanId) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        digits(self.id.0, &mut text[3..35]);
        digits(span.0, &mut text[36..52]);
        digits([self.flags], &mut text[53..]);
        HeaderValue::from_bytes(&text).expect("hexadecimal digits and dashes")
    }

    /// `tracestate`, as it goes on.
    pub fn tracestate(&self) -> Option<&HeaderValue> {
        self.state.as_ref()
    }
}

/// A header that is there once: of several nobody could say which is meant.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first.as_bytes())
}

/// Reads `version-traceid-parentid-flags`. Versions to come may have more behind it; of their flags one is known.
fn read(text: &[u8]) -> Option<(TraceId, SpanId, u8)> {
    let (known, more) = text.split_at_checked(55)?;
    let dashes = [known[2], known[35], known[52]];
    let [version] = hex(&known[..2])?;
    let (id, parent, [flags]) = (
        hex(&known[3..35])?,
        hex(&known[36..52])?,
        hex(&known[53..])?,
    );
    let (fits, known_flags) = match version {
        0 => (more.is_empty(), SAMPLED | RANDOM),
        0xff => (false, 0),
        _ => (more.first().is_none_or(|byte| *byte == b'-'), SAMPLED),
    };
    let is_valid = fits && dashes == *b"---" && id != [0; 16] && parent != [0; 8];
    is_valid.then_some((TraceId(id), SpanId(parent), flags & known_flags))
}

/// Lower-case hexadecimal digits, twice as many as bytes.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let is_lower = !text.iter().any(u8::is_ascii_uppercase);
    (is_lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

/// The other way round.
fn digits<const N: usize>(bytes: [u8; N], text: &mut [u8]) {
    hex::encode_to_slice(bytes, text).expect("two for each byte");
}

/// `tracestate` of however many lines, in one; `None` where any of it is no member, or they are too many.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = headers.get_all(TRACESTATE).iter();
    let pieces = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let mut members = Vec::new();
    for member in pieces.map(<[u8]>::trim_ascii).filter(|it| !it.is_empty()) {
        if members.len() == STATE_MEMBERS || !is_member(member) {
            return None;
        }
        members.push(member);
    }
    let length = |members: &[&[u8]]| members.iter().map(|it| it.len() + 1).sum::<usize>();
    if length(&members) > STATE_BYTES + 1 {
        members.retain(|member| member.len() <= LONG_MEMBER);
    }
    while length(&members) > STATE_BYTES + 1 {
        members.pop();
    }
    let text = members.join(&b","[..]);
    HeaderValue::from_bytes(&text)
        .ok()
        .filter(|text| !text.is_empty())
}

/// `key=value`, as far as nothing else could be read in it: of which letters a key is made is its maker's matter.
fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else {
        return false;
    };
    let (key, value) = (&member[..at], &member[at + 1..]);
    let of_key =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte);
    let of_value = |byte: &u8| matches!(*byte, b' '..=b'~') && *byte != b'=';
    let lengths = (1..=256).contains(&key.len()) && (1..=256).contains(&value.len());
    lengths && key.iter().all(of_key) && value.iter().all(of_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let line = |(name, value): &(HeaderName, &str)| {
            (
                name.clone(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            )
        };
        lines.iter().map(line).collect()
    }

    fn of(traceparent: &str) -> Trace {
        Trace::begin(
            &headers(&[(TRACEPARENT, traceparent)]),
            Sampling::from_share(0.0),
            7,
            9,
        )
    }

    fn state_of(lines: &[&str]) -> Option<String> {
        let mut all = vec![(
            TRACEPARENT,
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )];
        all.extend(lines.iter().map(|line| (TRACESTATE, *line)));
        let trace = Trace::begin(&headers(&all), Sampling::from_share(0.0), 7, 9);
        trace
            .tracestate()
            .map(|state| state.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_callers_trace_goes_on_with_our_span_as_the_next_ones_parent() {
        let trace = of(&format!("00-{ID}-{PARENT}-01"));
        assert_eq!(trace.id.to_string(), ID);
        assert_eq!(trace.parent.unwrap().to_string(), PARENT);
        assert_eq!(trace.span, SpanId::from_draw(9));
        assert!(trace.is_sampled());
        let next = trace.traceparent(SpanId::from_draw(0xab));
        assert_eq!(next, format!("00-{ID}-00000000000000ab-01"));
    }

    #[test]
    fn the_callers_word_on_keeping_a_trace_holds_whatever_the_share() {
        let sampled = |flags: &str, share| {
            let lines = headers(&[(TRACEPARENT, &format!("00-{ID}-{PARENT}-{flags}"))]);
            Trace::begin(&lines, Sampling::from_share(share), 7, 9).is_sampled()
        };
        assert!(sampled("01", 0.0) && sampled("03", 0.0) && sampled("ff", 0.0));
        assert!(!sampled("00", 1.0) && !sampled("02", 1.0) && !sampled("fe", 1.0));
    }

    #[test]
    fn what_cannot_be_read_starts_a_new_trace() {
        let upper = ID.to_uppercase();
        let bad = [
            String::new(),
            "00".into(),
            ID.into(),
            format!("00-{}-{PARENT}-01", "0".repeat(32)),
            format!("00-{ID}-{}-01", "0".repeat(16)),
            format!("00-{upper}-{PARENT}-01"),
            format!("00-{ID}-00F067AA0BA902B7-01"),
            format!("00-{ID}-{PARENT}-0A"),
            format!("0-{ID}-{PARENT}-01"),
            format!("00-{}-{PARENT}-01", &ID[1..]),
            format!("00-{ID}0-{PARENT}-01"),
            format!("00-{ID}-{}-01", &PARENT[1..]),
            format!("00-{ID}-{PARENT}-1"),
            format!("00-{ID}-{PARENT}"),
            format!("00-{ID}-{PARENT}-01-more"),
            format!("00-{ID}-{PARENT}-01 "),
            format!("00_{ID}_{PARENT}_01"),
            format!("00-{ID}-{PARENT}-zz"),
            format!("ff-{ID}-{PARENT}-01"),
            format!("FF-{ID}-{PARENT}-01"),
            format!("cc-{ID}-{PARENT}-01more"),
            format!("00-{ID}-{PARENT}-\u{e9}"),
            "-".repeat(55),
            "00-".repeat(4000),
        ];
        for text in bad {
            let trace = of(&text);
            assert_eq!(
                (trace.id, trace.parent),
                (TraceId::from_draw(7), None),
                "{text:.70}"
            );
            assert!(!trace.is_sampled() && trace.tracestate().is_none());
        }
        let twice = format!("00-{ID}-{PARENT}-01");
        let lines = headers(&[
            (TRACEPARENT, &twice),
            (TRACEPARENT, &twice),
            (TRACESTATE, "a=1"),
        ]);
        let trace = Trace::begin(&lines, Sampling::from_share(1.0), 7, 9);
        assert_eq!((trace.parent, trace.tracestate()), (None, None));
    }

    #[test]
    fn a_version_to_come_is_read_as_far_as_it_is_known() {
        for text in [
            "cc-ID-PARENT-01",
            "01-ID-PARENT-ff-what-else-there-is",
            "fe-ID-PARENT-03-",
        ] {
            let trace = of(&text.replace("ID", ID).replace("PARENT", PARENT));
            assert_eq!(trace.parent.unwrap().to_string(), PARENT, "{text}");
            // Ours is what goes on: version 00, with the one flag that every version has.
            let next = trace.traceparent(SpanId::from_draw(1));
            assert_eq!(next, format!("00-{ID}-0000000000000001-01"));
        }
        // What version 00 says of its id goes on.
        let next = of(&format!("00-{ID}-{PARENT}-ff")).traceparent(SpanId::from_draw(1));
        assert!(next.to_str().unwrap().ends_with("-03"));
    }

    #[test]
    fn a_share_of_new_traces_is_kept_by_their_ids() {
        let kept = |share, draw| {
            Trace::begin(&HeaderMap::new(), Sampling::from_share(share), draw, 1).is_sampled()
        };
        assert!(kept(1.0, 0) && kept(1.0, u128::MAX));
        assert!(!kept(0.0, 0) && !kept(0.0, u128::MAX));
        let random = 1u128 << 56;
        let mut draw = 1u128;
        let mut number = 0;
        for _ in 0..10_000 {
            draw = draw
                .wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645)
                .wrapping_add(99);
            number += u32::from(kept(0.1, draw >> 64));
        }
        assert!((900..1100).contains(&number), "{number}");
        // The top of the ids is kept, as others who go by them do.
        assert!(kept(0.5, random - 1) && !kept(0.5, random / 2 - 1) && kept(0.5, random / 2));
    }

    #[test]
    fn anybodys_word_goes_on_with_a_trace_and_does_not_say_that_it_is_kept() {
        let sent = headers(&[(TRACEPARENT, &format!("00-{ID}-{PARENT}-01"))]);
        for (share, is_kept) in [(0.0, false), (1.0, true)] {
            let mut trace = Trace::start(Sampling::from_share(share), 7, 9);
            assert_eq!((trace.is_sampled(), trace.parent), (is_kept, None));
            trace.join(&sent, Caller::Anybody);
            assert_eq!(trace.id.to_string(), ID);
            assert_eq!(trace.is_sampled(), is_kept);
            trace.join(&sent, Caller::Known);
            assert!(trace.is_sampled());
        }
        let unsampled = headers(&[(TRACEPARENT, &format!("00-{ID}-{PARENT}-00"))]);
        let mut trace = Trace::start(Sampling::from_share(1.0), 7, 9);
        trace.join(&unsampled, Caller::Anybody);
        assert!(trace.is_sampled());
        trace.join(&unsampled, Caller::Known);
        assert!(!trace.is_sampled());
    }

    #[test]
    fn an_id_is_never_nothing() {
        assert_eq!(TraceId::from_draw(0).to_string(), format!("{:032x}", 1));
        assert_eq!(SpanId::from_draw(0).to_string(), format!("{:016x}", 1));
    }

    #[test]
    fn state_goes_on_in_one_line() {
        assert_eq!(
            state_of(&["rojo=1 , congo=t61", "", "a@b=x y"]).unwrap(),
            "rojo=1,congo=t61,a@b=x y"
        );
        assert_eq!(state_of(&[]), None);
        assert_eq!(state_of(&[" , ,"]), None);
    }

    #[test]
    fn state_that_cannot_be_read_or_is_too_much_is_left_out() {
        for line in [
            "rojo",
            "=1",
            "Rojo=1",
            "rojo=",
            "rojo=a=b",
            "rojo=\u{e9}",
            "rojo=1,\t=2",
        ] {
            assert_eq!(state_of(&[line]), None, "{line}");
        }
        let most = vec!["k=v"; 32].join(",");
        assert_eq!(state_of(&[&most]).unwrap(), most);
        assert_eq!(state_of(&[&most, "one=more"]), None);
        let long = |name: &str, length| format!("{name}={}", "v".repeat(length - name.len() - 1));
        // The long ones go first, then the last ones, which are the oldest.
        let lines = [
            long("a", 100),
            long("b", 200),
            long("c", 128),
            long("d", 128),
            long("e", 128),
            long("f", 100),
        ];
        let told = state_of(&[&lines.join(",")]).unwrap();
        assert_eq!(
            told,
            [&lines[0][..], &lines[2], &lines[3], &lines[4]].join(",")
        );
        assert!(told.len() <= 512);
        assert_eq!(
            state_of(&[&long("a", 256), &long("b", 255)]).unwrap().len(),
            512
        );
    }
}
