//! Which parameters of a client's query go on to a deployment: those of Azure's API for the paths that are served, and
//! what the operator adds. A client's credential stays here; any other parameter is refused, since it may be a credential
//! by a name of its own, or change what is asked.
//!
//! Read by hand: values go on byte for byte, where `form_urlencoded` gives decoded ones.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::domain::{dialect::is_credential, refusal::Refusal, route::Operation};

/// Of requests to a model.
const CALL: [&str; 3] = ["api-version", "include", "include[]"];
/// Of a WebSocket's handshake.
const SESSION: [&str; 5] = ["api-version", "call_id", "deployment", "intent", "model"];
/// What may be named several times, since each names one more.
const LIST: &str = "[]";
/// The longest name that is repeated in an error.
const LONGEST: usize = 40;

/// A parameter's name, if an operator may have it passed on.
pub(super) fn may_add(name: &str) -> Result<Box<str>, &'static str> {
    if !is_plain(name) {
        return Err("this is not a parameter name; write one like trace-id");
    }
    if is_credential(name) {
        return Err("this parameter is never forwarded: it is a credential; remove it");
    }
    if SESSION.contains(&name) || CALL.contains(&name) {
        return Err("this parameter is always forwarded where it applies; remove it");
    }
    Ok(name.into())
}

/// What goes on of a query: each parameter by its plain name, its value as it was written.
pub(super) fn read(
    query: &str,
    operation: Operation,
    more: &[Box<str>],
) -> Result<String, Refusal> {
    let mut out = String::with_capacity(query.len());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.find('=') {
            Some(end) => pair.split_at(end),
            None => (pair, ""),
        };
        let Some(known) = known(name, operation, more) else {
            if is_credential(name) {
                continue;
            }
            return Err(unknown(name, value));
        };
        // Some readers end a value there.
        let is_split = value.contains(';');
        if is_split || !known.ends_with(LIST) && has(&out, known) {
            let name = known.into();
            return Err(Refusal::AmbiguousParameter { name });
        }
        if !out.is_empty() {
            out.push('&');
        }
        // In brackets of its own no reader is surprised by an escape; one that is there stays.
        if name.contains('%') && known.ends_with(LIST) {
            out.push_str(name)
        } else {
            out.push_str(known)
        }
        out.push_str(value);
    }
    Ok(out)
}

/// The plain name of a parameter that goes on, however it is escaped or spelled.
fn known<'a>(name: &str, operation: Operation, more: &'a [Box<str>]) -> Option<&'a str> {
    let own: &[&'static str] = match operation {
        Operation::Realtime => &SESSION,
        _ => &CALL,
    };
    if let Some(known) = own.iter().find(|known| **known == name) {
        return Some(known);
    }
    let name = percent_decode_str(name).decode_utf8_lossy();
    let mut all = own
        .iter()
        .copied()
        .chain(more.iter().map(|known| &**known))
        .filter(|known| known.eq_ignore_ascii_case(&name));
    all.next()
}

fn has(query: &str, known: &str) -> bool {
    query
        .split('&')
        .any(|pair| pair.split('=').next() == Some(known))
}

/// A name is repeated only where it is one: behind it stands a value, and it is none itself.
fn unknown(name: &str, value: &str) -> Refusal {
    let decoded: Cow<'_, str> = percent_decode_str(name).decode_utf8_lossy();
    let is_name = value.starts_with('=') && decoded.len() <= LONGEST && is_plain(&decoded);
    let name = is_name.then(|| decoded.as_ref().into());
    Refusal::UnknownParameter { name }
}

fn is_plain(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]".contains(&byte);
    !name.is_empty() && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(query: &str) -> Result<String, Refusal> {
        read(query, Operation::ChatCompletions, &["trace-id".into()])
    }

    fn unknown(name: &str) -> Result<String, Refusal> {
        let name = (!name.is_empty()).then(|| name.into());
        Err(Refusal::UnknownParameter { name })
    }

    #[test]
    fn what_azures_api_knows_goes_on_as_it_was_written_and_a_credential_stays() {
        for (query, out) in [
            ("", ""),
            ("api-version=2024-10-21", "api-version=2024-10-21"),
            ("api-version=a%20b+c&&", "api-version=a%20b+c"),
            ("API%2DVersion=1", "api-version=1"),
            ("api-version", "api-version"),
            ("include[]=a&include[]=b", "include[]=a&include[]=b"),
            (
                "include%5B%5D=a&include%5b%5d=b",
                "include%5B%5D=a&include%5b%5d=b",
            ),
            (
                "api-key=K&API%2DKEY=K&api-version=1&access_token=K",
                "api-version=1",
            ),
            ("Trace-Id=x", "trace-id=x"),
        ] {
            assert_eq!(call(query).as_deref(), Ok(out), "{query}");
        }
    }

    #[test]
    fn any_other_parameter_is_refused_by_its_name_and_never_its_value() {
        for (query, name) in [
            ("key=K", "key"),
            ("token=K", "token"),
            ("code=K", "code"),
            ("api-version=1&sig=K", "sig"),
            ("mod%65l=m", "model"),
            ("deployment=m", "deployment"),
            ("call_id=c", "call_id"),
            ("sk-0123456789abcdef", ""),
            ("sk-0123456789abcdef0123456789abcdef0123456789=", ""),
            ("a%20b=1", ""),
            ("<x>=1", ""),
            ("=K", ""),
            ("x;api-version=1", ""),
        ] {
            assert_eq!(call(query), unknown(name), "{query}");
        }
    }

    #[test]
    fn what_two_readers_could_read_as_two_is_refused() {
        for query in [
            "api-version=1&api-version=2",
            "api-version=1&API-VERSION=1",
            "api-version=1&api%2dversion=1",
            "api-version&api-version=1",
            "api-version=1;api-version=2",
            "api-version=1;a",
        ] {
            let name = "api-version".into();
            assert_eq!(
                call(query),
                Err(Refusal::AmbiguousParameter { name }),
                "{query}"
            );
        }
    }

    #[test]
    fn a_session_has_parameters_of_its_own() {
        let session = |query| read(query, Operation::Realtime, &[]);
        let all = "api-version=1&deployment=m&intent=transcription&call_id=c";
        assert_eq!(session(all).as_deref(), Ok(all));
        assert_eq!(session("Model=m&api-key=K").as_deref(), Ok("model=m"));
        assert_eq!(session("model=m&include[]=x"), unknown("include[]"));
        assert_eq!(session("model=m&key=K"), unknown("key"));
    }

    #[test]
    fn an_operator_adds_no_credential_and_nothing_that_is_there() {
        for name in ["api-key", "Authorization", "access_token"] {
            assert!(may_add(name).unwrap_err().contains("never forwarded"));
        }
        for name in ["api-version", "model", "deployment", "call_id", "include[]"] {
            assert!(
                may_add(name)
                    .unwrap_err()
                    .contains("always forwarded where")
            );
        }
        for name in ["", "a b", "a=b", "a&b", "a%20"] {
            assert!(may_add(name).unwrap_err().contains("not a parameter name"));
        }
        assert_eq!(may_add("key").as_deref(), Ok("key"));
    }
}
