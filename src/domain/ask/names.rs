//! The names of members and fields that are read here, and who would take others for them.

use std::str::Utf8Error;

/// The members and fields that are read here.
pub(super) const KNOWN: [&str; 20] = [
    "model",
    "stream",
    "store",
    "background",
    "conversation",
    "previous_response_id",
    "prompt",
    "input",
    "messages",
    "tools",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
    "best_of",
    "stream_options",
    "data_sources",
    "dataSources",
    "agent",
    "agent_reference",
];

/// The name among those that are read here which this one is in other letters: there are readers to whom these are the same.
pub(super) fn misspelled(name: &[u8]) -> Result<Option<&'static str>, Utf8Error> {
    let is_odd = |byte: u8| byte.is_ascii_uppercase() | !byte.is_ascii();
    // Names are short: to stop at the first costs more than it saves.
    let has_odd = name.iter().fold(false, |any, byte| any | is_odd(*byte));
    if !has_odd {
        return Ok(None);
    }
    let name = str::from_utf8(name)?;
    if KNOWN.contains(&name) {
        return Ok(None);
    }
    // The two letters beyond ASCII that are the same as one of it.
    let name = name.replace('\u{17f}', "s").replace('\u{212a}', "k");
    let mut known = KNOWN.into_iter();
    Ok(known.find(|known| known.eq_ignore_ascii_case(&name)))
}
