//! Whatever a stream is made of, no cut changes what is read of it, and what nobody changes goes out as it came.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// What is shown of a stream that is cut at these places: each event's name and data, and what it is.
fn read(stream: &[u8], cuts: &[usize]) -> Vec<String> {
    let (mut framer, mut shown, mut data) = (Framer::default(), Vec::new(), Vec::new());
    for (piece, end) in pieces(stream, cuts) {
        framer.read(piece, end, |part| match part {
            Part::Data(more) => data.extend_from_slice(more),
            Part::NewLine => data.push(b'\n'),
            Part::Event(event) => {
                let said = std::mem::take(&mut data);
                assert!(event.is_too_large || event.data == said);
                if event.says_something() {
                    shown.push(format!(
                        "{} {} {} {} {} {}",
                        String::from_utf8_lossy(event.name),
                        String::from_utf8_lossy(&said),
                        event.has_data,
                        event.is_odd,
                        event.is_too_large,
                        event.is_unended
                    ));
                }
            }
            Part::Name(_) | Part::Large { .. } | Part::LineFeed => {}
        });
    }
    shown
}

fn pieces<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<(&'a [u8], bool)> {
    let (mut pieces, mut from) = (Vec::new(), 0);
    for cut in cuts {
        let cut = (*cut).clamp(from, stream.len());
        pieces.push((&stream[from..cut], false));
        from = cut;
    }
    pieces.push((&stream[from..], true));
    pieces
}

/// What goes out of a stream that is cut at these places, where each event is put out by this.
fn changed(
    stream: &[u8],
    cuts: &[usize],
    mut put: impl FnMut(&Event<'_>, &mut Outgoing<'_>),
) -> String {
    let (mut framer, mut out) = (Framer::default(), Vec::new());
    for (piece, end) in pieces(stream, cuts) {
        let piece = Bytes::copy_from_slice(piece);
        out.extend(framer.change(&piece, end, |part, out| {
            if let Part::Event(event) = part {
                put(&event, out);
            }
        }));
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn lines_end_in_every_way_and_fields_are_read_as_the_standard_has_them() {
    for end in ["\n", "\r\n", "\r"] {
        let stream = [
            "\u{feff}event: a",
            "data: 1",
            "data:2",
            "data:  3",
            "data",
            "",
            ": nothing",
            "",
            "event: lost",
            "",
            "",
            "id: 7",
            "retry: 1",
            "data: x: y",
            "",
            "odd",
            "",
            "\u{feff}data: no mark any more",
            "",
            "data: half",
        ];
        let stream = stream.join(end);
        let shown = [
            "a 1\n2\n 3\n true false false false",
            " x: y true false false false",
            "  false true false false",
            "  false true false false",
            " half true false false true",
        ];
        for cut in 0..=stream.len() {
            assert_eq!(read(stream.as_bytes(), &[cut]), shown, "{end:?} at {cut}");
        }
        let bytes: Vec<usize> = (0..stream.len()).collect();
        assert_eq!(
            read(stream.as_bytes(), &bytes),
            shown,
            "{end:?} by the byte"
        );
    }
}

#[test]
fn what_is_too_large_to_be_held_is_shown_as_it_comes_and_goes_out_as_it_came() {
    let large = format!("event: n\ndata: {}\n\n", "x".repeat(LARGEST));
    let stream = format!("data: a\n\n{large}data: b\n\n");
    for cuts in [
        vec![],
        vec![12],
        vec![40, 70_000],
        (0..7).map(|at| 10_000 * at).collect(),
    ] {
        let shown = read(stream.as_bytes(), &cuts);
        assert_eq!(shown.len(), 3);
        assert!(shown[1].starts_with("n x") && shown[1].ends_with("true false true false"));
        let out = changed(stream.as_bytes(), &cuts, |event, out| {
            if event.is_too_large {
                out.keep_all(event);
            }
        });
        assert_eq!(out, large);
    }
}

/// Ids in a response's events are to be replaced some day: a value of another length, in one line of data.
#[test]
fn a_value_in_an_event_can_be_replaced_wherever_the_stream_is_cut() {
    let event = |id: &str| format!("event: e\r\ndata: {{\"id\":\"{id}\",\"x\":1}}\r\n\r\n");
    let stream = format!(": hello\n\n{}data: {{}}\n\n{}", event("resp_1"), event("r"));
    let put = |event: &Event<'_>, out: &mut Outgoing<'_>| {
        let id = event.data.strip_prefix(b"{\"id\":\"").map(|rest| {
            let length = rest.iter().position(|byte| *byte == b'"').unwrap();
            7..7 + length
        });
        let Some(place) = id.and_then(|id| event.place_of(id)) else {
            return out.keep_all(event);
        };
        out.keep(event, 0..place.start);
        out.put(b"another id");
        out.keep(event, place.end..event.raw.len());
    };
    let expected = stream
        .replace("resp_1", "another id")
        .replace("\"r\"", "\"another id\"");
    for cut in 0..=stream.len() {
        assert_eq!(
            changed(stream.as_bytes(), &[cut], put),
            expected,
            "at {cut}"
        );
    }
    let bytes: Vec<usize> = (0..stream.len()).collect();
    assert_eq!(changed(stream.as_bytes(), &bytes, put), expected);
}

#[test]
fn of_a_piece_in_which_nothing_changes_no_byte_is_copied() {
    let piece = Bytes::from_static(b"data: 1\n\n: c\r\n\r\nevent: e\ndata: 2\n\n");
    let out = Framer::default().change(&piece, false, |part, out| {
        if let Part::Event(event) = part {
            out.keep_all(&event);
        }
    });
    assert_eq!((out.as_ptr(), out.len()), (piece.as_ptr(), piece.len()));
}

#[test]
fn an_events_end_is_seen_however_it_was_cut() {
    for (text, is_between) in [
        ("", true),
        ("data: x\n\n", true),
        ("data: x\r\n\r\n", true),
        ("data: x\r\r", true),
        ("data: x\n", false),
        ("data: x\r\n", false),
        ("data: x\r\n\r", false),
        ("\n", false),
        ("data: x\n\nd", false),
    ] {
        for size in 1..=text.len().max(1) {
            let mut framer = Framer::default();
            for piece in text.as_bytes().chunks(size) {
                framer.read(piece, false, |_| {});
                framer.read(b"", false, |_| {});
            }
            let found = framer.is_between_events(false);
            assert_eq!(found, is_between, "{text:?} by {size}");
        }
    }
}

const BITS: &[&[u8]] = &[
    b"data: ",
    b"data:",
    b"data",
    b"event: e",
    b"event",
    b": c",
    b"id: 1",
    b"x",
    b"\xff",
    b"\n",
    b"\n\n",
    b"\r",
    b"\r\n",
    b"\r\n\r\n",
    b"\xef\xbb\xbf",
    b"{\"a\":1}",
];

proptest! {
    #[test]
    fn no_cut_changes_what_is_shown_or_goes_out(
        stream in prop::collection::vec(prop::sample::select(BITS), 0..40),
        mut cuts in prop::collection::vec(0..200_usize, 0..12),
    ) {
        cuts.sort_unstable();
        let stream = stream.concat();
        prop_assert_eq!(read(&stream, &cuts), read(&stream, &[]));
        let out = changed(&stream, &cuts, |event, out| out.keep_all(event));
        prop_assert_eq!(out, String::from_utf8_lossy(&stream));
    }
}
