//! Masks the gateway's credential in what a deployment answers.

use http::HeaderValue;
use memchr::memmem;

use super::answer::bare;

/// A shorter one is no secret, and would be found in half of all words.
const SHORTEST: usize = 8;

/// Writes stars over a credential wherever it stands in a body that passes in pieces cut anywhere. The body stays as long
/// as it is: its length may have been said already.
#[derive(Clone, Debug)]
pub struct Mask {
    secret: HeaderValue,
    /// The end of what has come, as long as it may be the beginning of the credential.
    kept: Vec<u8>,
}

impl Mask {
    /// `sent`: the header's value, with or without `Bearer`. `None`: there is nothing to look for.
    pub fn from_sent(sent: &HeaderValue) -> Option<Self> {
        (bare(sent).len() >= SHORTEST).then(|| Self {
            secret: sent.clone(),
            kept: Vec::new(),
        })
    }

    /// What goes out now that this piece has come; `end`: it is the last one.
    pub fn pass(&mut self, piece: &[u8], end: bool) -> Vec<u8> {
        let secret = bare(&self.secret);
        let mut out = std::mem::take(&mut self.kept);
        out.extend_from_slice(piece);
        let mut from = 0;
        while let Some(found) = memmem::find(&out[from..], secret) {
            let at = from + found;
            from = at + secret.len();
            out[at..from].fill(b'*');
        }
        if !end {
            let most = (out.len() - from).min(secret.len() - 1);
            let begins = |kept: &usize| secret.starts_with(&out[out.len() - kept..]);
            let kept = (1..=most).rev().find(begins).unwrap_or(0);
            self.kept = out.split_off(out.len() - kept);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "abcabcabd-0123456789";

    fn masked(sent: &'static str, body: &str, size: usize) -> String {
        let mut mask = Mask::from_sent(&HeaderValue::from_static(sent)).unwrap();
        let mut out = Vec::new();
        for piece in body.as_bytes().chunks(size) {
            out.extend(mask.pass(piece, false));
        }
        out.extend(mask.pass(b"", true));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_credential_is_starred_out_wherever_the_pieces_are_cut() {
        let stars = "*".repeat(SECRET.len());
        for body in [
            format!("{{\"message\":\"key {SECRET} is wrong\"}}"),
            format!("abcabc{SECRET}abc{SECRET}{SECRET}abcabcab"),
            SECRET.to_owned(),
            "abcabcabd-012345678 is another".to_owned(),
            String::new(),
        ] {
            for size in 1..=body.len().max(1) {
                for sent in [SECRET, "Bearer abcabcabd-0123456789"] {
                    let told = masked(sent, &body, size);
                    assert_eq!(told, body.replace(SECRET, &stars), "{size}");
                }
            }
        }
    }

    #[test]
    fn what_is_too_short_to_be_a_secret_is_not_looked_for() {
        for sent in ["", "Bearer ", "key", "Bearer abcdefg"] {
            assert!(Mask::from_sent(&HeaderValue::from_static(sent)).is_none());
        }
    }
}
