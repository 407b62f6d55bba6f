//! What a head may look like.

use super::*;

#[tokio::test]
async fn a_head_that_is_not_as_http_writes_it_is_refused() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    all_are_refused(&harness, &first_lines()).await;
}

#[tokio::test]
async fn a_header_line_that_is_not_as_http_writes_it_is_refused() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    all_are_refused(&harness, &lines()).await;
}

#[tokio::test]
async fn a_request_that_could_mean_two_hosts_is_refused() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    all_are_refused(&harness, &hosts()).await;
}

#[tokio::test]
async fn a_head_past_its_limits_is_refused() {
    let harness = Harness::open_with(&[("only", 1, 1)], "server: { max_headers: 16KiB }").await;
    all_are_refused(&harness, &limits()).await;
}

/// With another first line.
fn first_line(name: &'static str, line: &str) -> Case {
    let (body, length) = body();
    let chat = chat_with(&format!("content-length: {length}\r\n"), &body);
    let (_, rest) = chat.split_once("\r\n").unwrap();
    case(name, format!("{line}{rest}"), 400, "malformed_request")
}

#[rustfmt::skip] // One row, one trick.
fn first_lines() -> Vec<Case> {
    let target = |name, target: &str| first_line(name, &format!("POST {target} HTTP/1.1\r\n"));
    let version = |name, version: &str| first_line(name, &format!("POST {CHAT} {version}\r\n"));
    let line = |name, line: &str| first_line(name, &format!("{line}\r\n"));
    vec![
        version("HTTP/2 in the line", "HTTP/2.0"),
        version("HTTP/1.2 in the line", "HTTP/1.2"),
        version("HTTP/0.9 in the line", "HTTP/0.9"),
        version("a version without its dot", "HTTP/11"),
        version("a version in lower case", "http/1.1"),
        version("a blank behind the version", "HTTP/1.1 "),
        version("a word behind the version", "HTTP/1.1 x"),
        version("another protocol", "RTSP/1.1"),
        line("no version", &format!("POST {CHAT}")),
        line("nothing but a method", "POST"),
        line("two blanks", &format!("POST  {CHAT} HTTP/1.1")),
        line("a tab", &format!("POST\t{CHAT} HTTP/1.1")),
        line("a blank first", &format!(" POST {CHAT} HTTP/1.1")),
        line("a method that is no word", &format!("PO(ST {CHAT} HTTP/1.1")),
        line("a method without end", &format!("{} {CHAT} HTTP/1.1", "P".repeat(64))),
        first_line("two empty lines first", &format!("\r\n\r\nPOST {CHAT} HTTP/1.1\r\n")),
        first_line("a line feed first", &format!("\nPOST {CHAT} HTTP/1.1\r\n")),
        first_line("a line feed alone behind the line", &format!("POST {CHAT} HTTP/1.1\n")),
        first_line("a carriage return alone behind the line", &format!("POST {CHAT} HTTP/1.1\r")),
        target("an asterisk", "*"),
        target("a host and a port", "gateway:443"),
        target("no slash first", "openai/v1/chat/completions"),
        target("a URL without a path", "http://gateway"),
        target("a URL with a query and no path", "http://gateway?x"),
        target("another scheme", &format!("ftp://gateway{CHAT}")),
        target("a fragment", &format!("{CHAT}#x")),
        target("a backslash", "/openai\\v1/chat/completions"),
        target("a blank in the path", "/openai/v1/chat completions"),
        target("quotes", &format!("{CHAT}?x=\"y\"")),
        target("braces", "/openai/deployments/{gpt-4o}/chat/completions"),
        target("letters that are not escaped", "/openai/deployments/d\u{e9}/chat/completions"),
        target("NUL", &format!("{CHAT}\0")),
        target("an escaped NUL", &format!("{CHAT}%00")),
        target("an escaped line end in the path", &format!("{CHAT}%0d%0ax-evil:%201")),
        target("an escaped line end in the query", &format!("{CHAT}?x=%0D%0Ahost:evil")),
        target("an escape broken off", &format!("{CHAT}?x=%2")),
        target("an escape of no number", &format!("{CHAT}?x=%zz")),
        case("a TLS hello", "\u{16}\u{3}\u{1}\u{2}", 400, "malformed_request"),
        case("half the start of HTTP/2", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 400, "malformed_request"),
        case("a tunnel", "CONNECT evil:443 HTTP/1.1\r\nhost: evil:443\r\n\r\n", 405, "method_not_allowed"),
        case("a tunnel to a path", format!("CONNECT {CHAT} HTTP/1.1\r\nhost: gateway\r\n\r\n"), 405, "method_not_allowed"),
    ]
}

#[rustfmt::skip] // One row, one trick.
fn lines() -> Vec<Case> {
    let (body, length) = body();
    let sent = |name, lines: &str, status, reason| {
        case(name, chat_with(&format!("content-length: {length}\r\n{lines}"), &body), status, reason)
    };
    let line = |name, lines: &str| sent(name, lines, 400, "malformed_request");
    let expects = |name, lines: &str| sent(name, lines, 417, "expectation_failed");
    let folded = format!("POST {CHAT} HTTP/1.1\r\n x: y\r\nhost: gateway\r\n\r\n");
    vec![
        line("a folded line", "x: y\r\n z\r\n"),
        line("a line folded with a tab", "x: y\r\n\tz\r\n"),
        line("a folded coding", "transfer-encoding:\r\n chunked\r\n"),
        case("a first line that goes on", folded, 400, "malformed_request"),
        line("a blank before the colon", "transfer-encoding : chunked\r\n"),
        line("a tab before the colon", "content-length\t: 0\r\n"),
        line("no name", ": x\r\n"),
        line("no colon", "transfer-encoding chunked\r\n"),
        line("a blank in a name", "x y: z\r\n"),
        line("a bracket in a name", "x[]: z\r\n"),
        line("a letter that is none in a name", "x\u{e9}: z\r\n"),
        line("NUL in a name", "x\0: z\r\n"),
        line("NUL in a value", "x: y\0z\r\n"),
        line("a control character in a value", "x: y\u{1}z\r\n"),
        line("DEL in a value", "x: y\u{7f}z\r\n"),
        line("a vertical tab before a coding", "transfer-encoding: \u{b}chunked\r\n"),
        line("a line feed in a value", "x: y\ntransfer-encoding: chunked\r\n"),
        line("a carriage return in a value", "x: y\rtransfer-encoding: chunked\r\n"),
        line("two carriage returns", "x: y\r\r\n"),
        line("a line feed alone at the end", "x: y\n\n"),
        line("a length for one connection", "connection: content-length\r\n"),
        line("a credential for one connection", "connection: close, Api-Key\r\n"),
        line("a host for one connection", "connection: host\r\n"),
        line("a connection header of no words", "connection: a b\r\n"),
        expects("an unknown expectation", "expect: 200-ok\r\n"),
        expects("an expectation beside the known one", "expect: 100-continue, x\r\n"),
        expects("two expectations", "expect: 100-continue\r\nexpect: 100-continue\r\n"),
        expects("an empty expectation", "expect:\r\n"),
    ]
}

#[rustfmt::skip] // One row, one trick.
fn hosts() -> Vec<Case> {
    let (body, length) = body();
    let refused = |name, target: &str, hosts: &str| {
        let known = format!("api-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n");
        case(name, format!("POST {target} HTTP/1.1\r\n{hosts}{known}\r\n{body}"), 400, "ambiguous_host")
    };
    let host = |name, value: &str| refused(name, CHAT, &format!("host: {value}\r\n"));
    let absolute = |name, start: &str| refused(name, &format!("{start}{CHAT}"), "host: gateway\r\n");
    vec![
        refused("no host", CHAT, ""),
        refused("two hosts", CHAT, "host: gateway\r\nhost: evil\r\n"),
        refused("the same host twice", CHAT, "host: gateway\r\nHost: gateway\r\n"),
        host("an empty host", ""),
        host("a list of hosts", "gateway, evil"),
        host("a blank in a host", "gateway evil"),
        host("a path behind a host", "gateway/evil"),
        host("a user before a host", "evil@gateway"),
        host("a port that is none", "gateway:x"),
        host("two ports", "gateway:80:443"),
        host("an address broken off", "[::1"),
        host("a port broken off", "gateway:"),
        absolute("another host in the URL", "http://evil"),
        absolute("another port in the URL", "http://gateway:81"),
        absolute("a user in the URL", "http://evil@gateway"),
        absolute("no host in the URL", "http://"),
        absolute("a URL in other letters", "http://GATEWAY"),
        absolute("another host in a secure URL", "https://127.0.0.1"),
    ]
}

fn limits() -> Vec<Case> {
    let (body, length) = body();
    let with = |name, lines: String, reason| {
        let lines = format!("content-length: {length}\r\n{lines}");
        case(name, chat_with(&lines, &body), 431, reason)
    };
    let target = |name, length| {
        let line = format!("POST {CHAT}?x={} HTTP/1.1\r\n", "y".repeat(length));
        Case {
            status: 414,
            reason: "uri_too_long",
            ..first_line(name, &line)
        }
    };
    vec![
        with(
            "too many lines",
            "x: y\r\n".repeat(100),
            "headers_too_large",
        ),
        with(
            "a line too long",
            format!("x: {}\r\n", "y".repeat(16 << 10)),
            "headers_too_large",
        ),
        with(
            "lines too long together",
            format!("x: {}\r\n", "y".repeat(500)).repeat(40),
            "headers_too_large",
        ),
        with(
            "a name too long",
            format!("{}: y\r\n", "x".repeat(20 << 10)),
            "headers_too_large",
        ),
        target("a URL too long", 8192),
        target("a URL much too long", 100 << 10),
    ]
}
