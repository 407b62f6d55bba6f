//! The dashboard: one static page that shows what `/status` says, without anything from other hosts.

use http::{HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

use super::page::Page;

const STYLE: &str = include_str!("dashboard/style.css");
const SCRIPT: &str = include_str!("dashboard/script.js");
const PAGE: &str = concat!(
    include_str!("dashboard/head.html"),
    "<style>",
    include_str!("dashboard/style.css"),
    "</style>\n",
    include_str!("dashboard/body.html"),
    "<script>",
    include_str!("dashboard/script.js"),
    "</script>\n",
);

/// The page with its headers; 304 for who has it already.
pub(super) fn page(known: Option<&[u8]>) -> Page {
    let tag = format!("\"{}\"", &digest(PAGE)[..24]);
    let is_known = known.is_some_and(|known| known == tag.as_bytes());
    Page {
        status: if is_known {
            StatusCode::NOT_MODIFIED
        } else {
            StatusCode::OK
        },
        content_type: "text/html; charset=utf-8",
        body: if is_known { Vec::new() } else { PAGE.into() },
        headers: headers(&tag),
    }
}

/// Nothing runs, is loaded or is asked but what the page itself brings and its own address; nobody puts it in a frame.
fn headers(tag: &str) -> Vec<(HeaderName, HeaderValue)> {
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest(SCRIPT),
        digest(STYLE)
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::ETAG, tag),
        // Another version of the gateway brings another page.
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    let value = |value: &str| HeaderValue::from_str(value).ok();
    let headers = headers.into_iter();
    headers
        .filter_map(|(name, text)| Some((name, value(text)?)))
        .collect()
}

fn digest(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(page: &'a Page, name: &str) -> &'a str {
        let mut headers = page.headers.iter();
        let found = headers.find(|(header, _)| header == name);
        found.map_or("", |(_, value)| value.to_str().unwrap())
    }

    #[test]
    fn the_page_is_small_and_brings_all_it_needs() {
        let text = String::from_utf8(page(None).body).unwrap();
        assert!(text.len() < 40 << 10, "{} bytes", text.len());
        assert_eq!(text.matches("<script>").count(), 1);
        assert_eq!(text.matches("<style>").count(), 1);
        // Names of other hosts, code in attributes, text that is read as markup.
        for word in [
            "src=\"",
            "@import",
            "url(",
            " onclick",
            " style=\"",
            "innerHTML",
            "insertAdjacentHTML",
            "eval(",
        ] {
            assert!(!text.contains(word), "{word}");
        }
        let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"));
        // What stands between the tags is what the policy names.
        let between = |open: &str, close: &str| {
            let from = text.find(open).unwrap() + open.len();
            &text[from..from + text[from..].find(close).unwrap()]
        };
        assert_eq!(between("<style>", "</style>"), STYLE);
        assert_eq!(between("<script>", "</script>"), SCRIPT);
    }

    #[test]
    fn it_is_guarded_and_is_sent_once() {
        let first = page(None);
        let policy = header(&first, "content-security-policy");
        for word in ["default-src 'none'", "frame-ancestors 'none'", "'sha256-"] {
            assert!(policy.contains(word), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header(&first, "x-frame-options"), "DENY");
        let tag = header(&first, "etag").to_owned();
        let again = page(Some(tag.as_bytes()));
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
        assert_eq!(page(Some(b"\"another\"")).status, 200);
    }
}
