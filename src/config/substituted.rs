//! The values that `${…}` references stood for, so that no message repeats them.

use zeroize::Zeroizing;

use super::problem::Place;

/// What references stood for, and where; wiped when let go of.
#[derive(Default)]
pub(super) struct Filled(Vec<(Place, String, Zeroizing<String>)>);

/// What is shorter is part of many words, and no secret.
const SHORTEST: usize = 4;

impl Filled {
    pub(super) fn add(&mut self, place: Place, reference: &str, value: String) {
        self.0
            .push((place, format!("${{{reference}}}"), Zeroizing::new(value)));
    }

    /// Whether something stands there that came from elsewhere.
    pub(super) fn is_at(&self, place: Place) -> bool {
        self.0.iter().any(|(at, ..)| *at == place)
    }

    /// The message with references in place of what they stand for.
    pub(super) fn hide(&self, message: String) -> String {
        let mut message = message;
        for (_, reference, value) in &self.0 {
            let escaped = Zeroizing::new(value.escape_debug().to_string());
            let forms = [value.as_str(), &escaped, value.trim()].into_iter();
            for form in forms.chain(value.lines().map(str::trim)) {
                if form.len() >= SHORTEST && message.contains(form) {
                    message = message.replace(form, reference);
                }
            }
        }
        message
    }
}
