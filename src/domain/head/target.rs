//! Where a request goes: the target of its first line, and the host it means.

use memchr::memchr_iter;

use super::characters::Characters;

/// The authority and the rest of a target that is a whole URL.
pub(super) fn absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = strip(target, b"http://").or_else(|| strip(target, b"https://"))?;
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    Some(rest.split_at(end.unwrap_or(rest.len())))
}

fn strip<'a>(target: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = target.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Whether these bytes are a path, with or without a query, in the characters of RFC 3986; `[` and `]` also, which many
/// clients leave as they are in a query. No escape stands for a control character, and none is broken off.
pub(super) fn is_target(target: &[u8]) -> bool {
    static IN_PATH: Characters = Characters::alphanumeric_and(b"-._~!$&'()*+,;=:@/%");
    static IN_QUERY: Characters = Characters::alphanumeric_and(b"-._~!$&'()*+,;=:@/%?[]");
    let (path, query) = target.split_at(IN_PATH.span(target));
    let fits = query.is_empty() || query[0] == b'?' && IN_QUERY.all(query);
    path.starts_with(b"/") && fits && are_escapes_sound(target)
}

fn are_escapes_sound(target: &[u8]) -> bool {
    let mut escapes = memchr_iter(b'%', target);
    escapes.all(|at| {
        let digits = target
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        byte.is_some_and(|byte| !byte.is_ascii_control())
    })
}

/// Whether these bytes are a host, with or without a port, in a form that every reader splits alike.
pub(super) fn is_authority(host: &[u8]) -> bool {
    let (name, port) = match host.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else {
                return false;
            };
            let is_address = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
            if !rest[..end].iter().all(is_address) {
                return false;
            }
            (&rest[..end], &rest[end + 1..])
        }
        None => {
            static IN_NAME: Characters = Characters::alphanumeric_and(b"-._~");
            host.split_at(IN_NAME.span(host))
        }
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => {
            (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    !name.is_empty() && is_port
}
