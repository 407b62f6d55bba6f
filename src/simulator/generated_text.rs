//! What a simulated model says: an echo of what it was asked, and filler up to the wanted length.
//!
//! A token here is a word with the space before it.

/// How much of the last user message an answer repeats.
const ECHO: usize = 60;
const FILLER: [&str; 24] = [
    "water", "gathers", "above", "the", "dam", "and", "waits", "until", "a", "turbine", "is",
    "free", "while", "what", "can't", "be", "taken", "spills", "over", "into", "the", "next",
    "channel", "slowly",
];

/// An answer's text, cut into tokens.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    text: String,
    /// Where each token ends.
    ends: Vec<usize>,
    /// Whether the request's maximum ended it.
    pub(crate) cut: bool,
}

impl Reply {
    /// An echo of `asked`, of `wanted` tokens if that is known, and never more than `most`.
    pub(crate) fn compose(asked: &str, wanted: Option<u64>, most: Option<u64>) -> Self {
        let echo: String = asked.chars().take(ECHO).collect();
        Self::new(format!("You said: {echo}"), wanted, most)
    }

    /// This text as it is, but for the maximum.
    pub(crate) fn new(mut text: String, wanted: Option<u64>, most: Option<u64>) -> Self {
        let mut ends = ends(&text);
        let size = |tokens: u64| usize::try_from(tokens).unwrap_or(usize::MAX);
        // The echo is never shortened for the distribution's sake: tests look for it.
        let wanted = wanted.map_or(0, size).max(ends.len());
        let length = wanted.min(most.map_or(usize::MAX, size).max(1));
        let missing = length.saturating_sub(ends.len());
        for word in FILLER.iter().cycle().take(missing) {
            text.push(' ');
            text.push_str(word);
            ends.push(text.len());
        }
        ends.truncate(length);
        text.truncate(ends.last().copied().unwrap_or(0));
        let cut = length < wanted;
        Self { text, ends, cut }
    }

    /// This text in pieces of a few letters, as arguments stream.
    pub(crate) fn cut_up(text: String) -> Self {
        let ends = text
            .char_indices()
            .map(|(at, _)| at)
            .skip(1)
            .step_by(5)
            .filter(|at| *at > 1)
            .chain(std::iter::once(text.len()))
            .collect();
        let cut = false;
        Self { text, ends, cut }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn tokens(&self) -> u64 {
        self.ends.len() as u64
    }

    pub(crate) fn piece(&self, at: usize) -> Option<&str> {
        let start = if at == 0 { 0 } else { *self.ends.get(at - 1)? };
        self.text.get(start..*self.ends.get(at)?)
    }

    pub(crate) fn pieces(&self) -> usize {
        self.ends.len()
    }
}

fn ends(text: &str) -> Vec<usize> {
    let spaces = text
        .char_indices()
        .filter(|(at, c)| *c == ' ' && *at > 0)
        .map(|(at, _)| at);
    spaces.chain(std::iter::once(text.len())).collect()
}

/// A prompt's size: four characters a token, and a few around each message.
pub(crate) fn prompt_tokens(characters: u64, messages: u64) -> u64 {
    characters.div_ceil(4) + 4 * messages + 3
}

/// Valid JSON arguments for a function, by its JSON Schema.
pub(crate) fn arguments(schema: Option<&serde_json::Value>) -> String {
    sample(schema.unwrap_or(&serde_json::Value::Null), 0)
        .map_or_else(|| "{}".into(), |value| value.to_string())
}

fn sample(schema: &serde_json::Value, depth: usize) -> Option<serde_json::Value> {
    use serde_json::{Value, json};
    if let Some(choice) = schema.get("enum").and_then(|choices| choices.get(0)) {
        return Some(choice.clone());
    }
    let kind = schema
        .get("type")
        .map(|kind| kind.get(0).unwrap_or(kind))
        .and_then(Value::as_str);
    Some(match kind {
        Some("string") => json!("Paris"),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        Some("array") => {
            let items = schema.get("items").filter(|_| depth < 8);
            let item = items.and_then(|items| sample(items, depth + 1));
            item.into_iter().collect()
        }
        Some("null") => Value::Null,
        Some("object") | None if depth < 8 => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let fields = properties
                .into_iter()
                .flatten()
                .filter_map(|(name, schema)| Some((name.clone(), sample(schema, depth + 1)?)));
            fields.collect()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_repeats_what_was_asked() {
        let reply = Reply::compose("hello there", None, None);
        assert_eq!(reply.text(), "You said: hello there");
        assert_eq!((reply.tokens(), reply.cut), (4, false));
    }

    #[test]
    fn the_pieces_put_together_are_the_text() {
        let reply = Reply::compose("äöü  two spaces", Some(20), None);
        let together: String = (0..reply.pieces())
            .filter_map(|at| reply.piece(at))
            .collect();
        assert_eq!((together.as_str(), reply.tokens()), (reply.text(), 20));
    }

    #[test]
    fn the_requests_maximum_cuts_an_answer() {
        let reply = Reply::compose("hello there", Some(50), Some(10));
        assert_eq!((reply.tokens(), reply.cut), (10, true));
        let whole = Reply::compose("hello there", None, Some(10));
        assert_eq!((whole.tokens(), whole.cut), (4, false));
        assert_eq!(
            Reply::compose("hello there", None, Some(2)).text(),
            "You said:"
        );
    }

    #[test]
    fn arguments_come_in_several_pieces() {
        let reply = Reply::cut_up(r#"{"city":"Malmö"}"#.into());
        let together: String = (0..reply.pieces())
            .filter_map(|at| reply.piece(at))
            .collect();
        assert!(reply.pieces() > 2 && together == reply.text());
    }

    #[test]
    fn arguments_fit_their_schema() {
        let schema = serde_json::json!({"type": "object", "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"type": "string", "enum": ["celsius"]},
            "tags": {"type": "array", "items": {"type": "string"}}}});
        let arguments: serde_json::Value = serde_json::from_str(&arguments(Some(&schema))).unwrap();
        assert_eq!(
            arguments,
            serde_json::json!({"city": "Paris", "days": 1, "unit": "celsius", "tags": ["Paris"]})
        );
    }

    #[test]
    fn a_function_without_parameters_gets_an_empty_object() {
        assert_eq!(arguments(None), "{}");
    }
}
