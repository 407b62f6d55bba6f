//! Text forms of bytes: hex, the two alphabets of Base64, and ids that look like Azure's.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from(b"0123456789abcdef"[usize::from(n)]);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// Base64 with padding, as in `encoding_format: base64`.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = sextets(bytes, STANDARD);
    text.extend(std::iter::repeat_n('=', (3 - bytes.len() % 3) % 3));
    text
}

/// Base64 without padding and safe in URLs, as in a JWT.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    sextets(bytes, URL_SAFE)
}

fn sextets(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let packed = (0..3).fold(0u32, |packed, i| packed << 8 | u32::from(group.get(i).copied().unwrap_or(0)));
        text.extend((0..=group.len()).map(|i| char::from(alphabet[(packed >> (18 - 6 * i) & 63) as usize])));
    }
    text
}

/// `prefix` and as many random letters.
pub(crate) fn id(prefix: &str, letters: usize, rng: &mut fastrand::Rng) -> String {
    let mut id = String::with_capacity(prefix.len() + letters);
    id.push_str(prefix);
    id.extend((0..letters).map(|_| char::from(LETTERS[rng.usize(..LETTERS.len())])));
    id
}

/// A random UUID.
pub(crate) fn uuid(rng: &mut fastrand::Rng) -> String {
    let digits = hex(&rng.u128(..).to_be_bytes());
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_to_groups_of_four() {
        let cases = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
        assert_eq!(cases, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }

    #[test]
    fn base64url_is_bare() {
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn hex_is_lower_case() {
        assert_eq!(hex(&[0, 0xab]), "00ab");
    }
}
