//! Where a body ends.

use super::*;

#[tokio::test]
async fn a_request_whose_body_could_end_in_two_places_is_refused() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    all_are_refused(&harness, &heads()).await;
}

#[tokio::test]
async fn a_chunked_body_that_breaks_its_own_framing_is_refused() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    all_are_refused(&harness, &chunks()).await;
}

#[rustfmt::skip] // One row, one trick.
fn heads() -> Vec<Case> {
    let (body, length) = body();
    let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    // What a second reader would take for the next request.
    let smuggled = String::from_utf8(good_chat()).unwrap();
    let hidden = format!("0\r\n\r\n{smuggled}");
    let both = format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", hidden.len());
    let reversed = format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n", chunked.len());
    let short = "content-length: 4\r\ntransfer-encoding: chunked\r\n";
    let refused = |name, lines: &str, behind: &str| {
        case(name, chat_with(lines, behind), 400, "ambiguous_framing")
    };
    let length_of = |name, value: &str| refused(name, &format!("content-length: {value}\r\n"), &body);
    let coding = |name, value: &str| refused(name, &format!("transfer-encoding: {value}\r\n"), &chunked);
    let old = chat_with("transfer-encoding: chunked\r\n", &chunked).replacen("HTTP/1.1", "HTTP/1.0", 1);
    vec![
        refused("length and chunks, a request behind the last chunk", &both, &hidden),
        refused("chunks and length", &reversed, &chunked),
        refused("a length shorter than the chunks", short, &chunked),
        refused("two lengths", &format!("content-length: {length}\r\ncontent-length: 0\r\n"), &body),
        refused("the shorter length first", &format!("content-length: 0\r\ncontent-length: {length}\r\n"), &body),
        refused("the same length twice", &format!("content-length: {length}\r\nContent-Length: {length}\r\n"), &body),
        length_of("a list of lengths", &format!("{length}, {length}")),
        length_of("a list of two lengths", &format!("0, {length}")),
        length_of("a plus sign", &format!("+{length}")),
        length_of("a minus sign", &format!("-{length}")),
        length_of("a blank inside", "1 2"),
        length_of("a tab inside", "1\t2"),
        length_of("hexadecimal", "0x60"),
        length_of("a letter behind", &format!("{length}a")),
        length_of("a fraction", &format!("{length}.0")),
        length_of("an exponent", "1e2"),
        length_of("quotes", &format!("\"{length}\"")),
        length_of("nothing", ""),
        length_of("more than 63 bits", "9223372036854775808"),
        length_of("more than 64 bits, wrapping to a small one", &(u128::from(u64::MAX) + 1 + length as u128).to_string()),
        length_of("other digits", "\u{0661}"),
        coding("another coding", "xchunked"),
        coding("chunks before another coding", "chunked, identity"),
        coding("another coding before chunks", "identity, chunked"),
        coding("compressed chunks", "gzip, chunked"),
        coding("chunks twice in a line", "chunked, chunked"),
        coding("chunks with a parameter", "chunked;q=1"),
        coding("quoted chunks", "\"chunked\""),
        coding("an empty word behind", "chunked,"),
        coding("an empty word before", ", chunked"),
        coding("no coding", ""),
        coding("identity", "identity"),
        refused("chunks in two lines", "transfer-encoding: chunked\r\nTransfer-Encoding: chunked\r\n", &chunked),
        refused("another coding in the second line", "transfer-encoding: chunked\r\ntransfer-encoding: x\r\n", &chunked),
        refused("another coding in the first line", "transfer-encoding: x\r\ntransfer-encoding: chunked\r\n", &chunked),
        refused("identity and a length", &format!("transfer-encoding: identity\r\ncontent-length: {length}\r\n"), &body),
        case("chunks over HTTP/1.0", old, 400, "ambiguous_framing"),
    ]
}

#[rustfmt::skip] // One row, one trick.
fn chunks() -> Vec<Case> {
    let (body, length) = body();
    let refused = |name, behind: String| {
        case(name, chat_with("transfer-encoding: chunked\r\n", &behind), 400, "body_unfinished")
    };
    let size = |name, size: &str| refused(name, format!("{size}\r\n{body}\r\n0\r\n\r\n"));
    let trailer = |name, lines: &str| refused(name, format!("{length:x}\r\n{body}\r\n0\r\n{lines}\r\n"));
    vec![
        size("no size", ""),
        size("no number", "zz"),
        size("a prefix", &format!("0x{length:x}")),
        size("a sign", &format!("+{length:x}")),
        size("a minus sign", &format!("-{length:x}")),
        size("a blank before the size", &format!(" {length:x}")),
        size("a blank behind the size", &format!("{length:x} ")),
        size("more than 64 bits, wrapping to a small size", &format!("10000000000000{length:04x}")),
        size("a size that is negative elsewhere", "FFFFFFFFFFFFFFFF"),
        size("more digits than any size has", &format!("{length:017x}")),
        size("an endless extension", &format!("{length:x};{}", "x".repeat(300))),
        size("NUL in an extension", &format!("{length:x};\0")),
        size("a line feed in an extension", &format!("{length:x};x\nx")),
        size("a carriage return in an extension", &format!("{length:x};x\rx")),
        refused("a line feed alone behind the size", format!("{length:x}\n{body}\r\n0\r\n\r\n")),
        refused("a line feed alone behind the data", format!("{length:x}\r\n{body}\n0\r\n\r\n")),
        refused("nothing behind the data", format!("{length:x}\r\n{body}0\r\n\r\n")),
        refused("more data than the size says", format!("{:x}\r\n{body}\r\n0\r\n\r\n", length - 1)),
        refused("less data than the size says", format!("{:x}\r\n{body}\r\n0\r\n\r\n", length + 1)),
        refused("line feeds alone at the end", format!("{length:x}\r\n{body}\r\n0\n\n")),
        trailer("a length behind the body", "content-length: 0\r\n"),
        trailer("a coding behind the body", "transfer-encoding: chunked\r\n"),
        trailer("a host behind the body", "Host: evil\r\n"),
        trailer("a credential behind the body", "api-key: x\r\n"),
        trailer("a folded line behind the body", "x: y\r\n z\r\n"),
        trailer("a blank before the colon behind the body", "x : y\r\n"),
        trailer("no header behind the body", "GET / HTTP/1.1\r\n"),
    ]
}
