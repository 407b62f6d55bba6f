//! `${env:NAME}` and `${file:PATH}` in strings, replaced while the config is read.
//!
//! What they stand for is never read again for more of them, and never printed.

use std::{fs::File, io::Read as _, path::Path};

use super::{problem::Place, read::Reader};

/// The largest file that `${file:…}` takes: a secret, not a disk.
const FILE_LIMIT: u64 = 64 << 10;

impl Reader<'_> {
    /// `text` with its references replaced; `None` where one can't be, which is noted. `$${` stands for `${`.
    pub(super) fn fill_in(&mut self, place: Place, text: &str) -> Option<String> {
        let (mut filled, mut rest) = (String::new(), text);
        self.is_filled_in = false;
        while let Some(at) = rest.find("${") {
            let (before, reference) = (&rest[..at], &rest[at + 2..]);
            if let Some(escaped) = before.strip_suffix('$') {
                filled.extend([escaped, "${"]);
                rest = reference;
                continue;
            }
            let unclosed = "this ${ has no closing }; write ${env:NAME} or ${file:PATH}, or $${ for a literal ${";
            let (reference, after) = self.take(place, reference.split_once('}').ok_or(unclosed))?;
            let value = self.resolve(reference);
            let is_form_right = ["env:", "file:"]
                .iter()
                .any(|kind| reference.starts_with(kind));
            if self.may_miss(value.is_err() && is_form_right) {
                return None;
            }
            let value = self.take(place, value)?;
            filled.extend([before, &value]);
            self.is_filled_in = true;
            self.filled.add(place, reference, value);
            rest = after;
        }
        Some(filled + rest)
    }

    fn resolve(&self, reference: &str) -> Result<String, String> {
        match reference.split_once(':') {
            Some(("env", name)) => (self.environment)(name).ok_or_else(|| {
                format!(
                    "the environment variable {name} is not set; set it for the Forebay process"
                )
            }),
            Some(("file", path)) => contents(&self.folder.join(path)),
            _ => Err("write ${env:NAME} or ${file:PATH}, or $${ for a literal ${".into()),
        }
    }
}

/// A file's text without the line break at its end.
fn contents(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("{shown} can't be read: {error}"))?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(format!(
            "{shown} is larger than {FILE_LIMIT} bytes; a secret is smaller than that"
        ));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8 text"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}
