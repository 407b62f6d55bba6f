//! Fields of a request that hold credentials, by their names, whatever stands in them.

use memchr::memchr2;

/// Fields whose value proves somebody to somebody: what MCP servers and data sources are shown.
const SECRETS: [&str; 14] = [
    "authorization",
    "proxyauthorization",
    "headers",
    "authentication",
    "apikey",
    "xapikey",
    "accesstoken",
    "refreshtoken",
    "connectionstring",
    "encodedapikey",
    "clientsecret",
    "password",
    "subscriptionkey",
    "ocpapimsubscriptionkey",
];
/// Elsewhere these are names like any.
const SECRETS_OF_SOURCES: [&str; 3] = ["key", "embeddingkey", "token"];
const SOURCES: &str = "datasources";
const URLS: [&str; 5] = ["url", "serverurl", "imageurl", "fileurl", "videourl"];

/// How deep in the text it is, and whether among data sources.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    depth: usize,
    /// How deep the field stands that holds them.
    sources: Option<usize>,
}

/// What a field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Plain,
    Secret,
    Url,
}

impl Nesting {
    pub(super) fn step(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.sources = self.sources.filter(|sources| *sources < self.depth);
            }
            _ => {}
        }
    }

    /// What the field of this name may hold. To be asked of each field in turn.
    pub(super) fn what_is(&mut self, name: &str) -> Value {
        let plain = plain(name);
        let is = |known: &[&str]| known.contains(&plain.as_str());
        match () {
            () if is(&SECRETS) || self.sources.is_some() && is(&SECRETS_OF_SOURCES) => {
                Value::Secret
            }
            () if is(&URLS) => Value::Url,
            () => {
                if plain == SOURCES {
                    self.sources.get_or_insert(self.depth);
                }
                Value::Plain
            }
        }
    }
}

/// A name as all who write it otherwise mean it: `api_key`, `api-key`, `apiKey`.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    letters.take(40).collect::<String>().to_ascii_lowercase()
}

/// Where the value begins of the field whose name ends here; `None`: it is no name.
pub(super) fn colon(behind: &[u8]) -> Option<usize> {
    let blanks = |bytes: &[u8]| {
        bytes
            .iter()
            .take_while(|byte| b" \t\r\n".contains(byte))
            .count()
    };
    let at = blanks(behind);
    (behind.get(at) == Some(&b':')).then(|| at + 1 + blanks(&behind[at + 1..]))
}

/// How long the value is that JSON begins with, as far as it is there.
pub(super) fn length(json: &[u8]) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => {
                let inside = &json[at + 1..];
                at += closing_quote(inside).map_or(inside.len(), |quote| quote + 1);
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
        let is_closed = matches!(byte, b'"' | b'}' | b']');
        if is_closed && depth == 0 {
            return at.min(json.len());
        }
    }
    json.len()
}

/// Where a string ends whose inside this begins with.
pub(super) fn closing_quote(inside: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = memchr2(b'"', b'\\', inside.get(at..)?) {
        at += found;
        match inside[at] {
            b'"' => return Some(at),
            _ => at += 2,
        }
    }
    None
}
