//! What a JSON body asks for, as far as it has been read: all of it, or up to its model.

use memchr::memchr2;

use super::{
    body::{Ask, ModelPlace},
    members::{Member, Members},
    scan::{DEEPEST, Scan},
    wants::{Nulls, Said, Wants},
};
use crate::domain::refusal::Refusal;

/// Reads a body, with a scan that may look for more.
pub(super) fn read(body: &[u8], scan: &mut Scan) -> Result<Ask, Refusal> {
    scanned(body, scan).map_err(|refusal| match is_too_deep(body) {
        true => Refusal::BodyTooDeep,
        false => refusal,
    })
}

fn scanned(body: &[u8], scan: &mut Scan) -> Result<Ask, Refusal> {
    scan.note();
    scan.push(body)?;
    scan.finish()?;
    match scan.members.are_text(body) {
        true => Ok(ask(scan)),
        false => Err(Refusal::BodyNotJson),
    }
}

impl Scan {
    /// What the object asks for, once its model is known. That it may do something which must not be done twice is
    /// left out: who has not been sent all of it can't have done it.
    pub fn ask(&self) -> Option<Ask> {
        let model = self.members.said(Member::Model)?;
        Some(Ask {
            model: self.model.clone(),
            stream: self.stream(),
            acts: self.acts(),
            place: ModelPlace::Json {
                value: Some(model.at.clone()),
                start: self.start,
                empty: false,
            },
            ..Ask::unread()
        })
    }
}

/// What all of an object asks for.
fn ask(scan: &mut Scan) -> Ask {
    let members = &scan.members;
    let is_given = |member| members.given(member).is_some();
    let brings_data = is_given(Member::DataSources) || is_given(Member::OlderDataSources);
    let background = members.given(Member::Background);
    let model = members.said(Member::Model);
    Ask {
        may_use_state: scan.names_stored || is_given(Member::Store) || brings_data,
        stream: scan.stream(),
        acts: is_given(Member::Conversation),
        in_background: background.is_some_and(|value| value.first != b'f'),
        has_tools: is_given(Member::Tools),
        has_prompt: is_given(Member::Prompt),
        wants: wants(members, brings_data),
        place: ModelPlace::Json {
            value: model.map(|value| value.at.clone()),
            start: scan.start,
            empty: !scan.has_members,
        },
        model: scan.model.take(),
    }
}

fn wants(members: &Members, brings_data: bool) -> Wants {
    let given = |member| members.given(member).map(|value| Said(value.at.clone()));
    let null = |member| {
        let null = members.said(member).filter(|value| value.first == b'n');
        null.map(|value| Said(value.at.clone()))
    };
    let options = members.said(Member::StreamOptions);
    Wants {
        max_tokens: given(Member::MaxTokens),
        max_completion_tokens: given(Member::MaxCompletionTokens),
        max_output_tokens: given(Member::MaxOutputTokens),
        n: given(Member::N),
        best_of: given(Member::BestOf),
        stream_options: options.map(|value| Said(value.at.clone())),
        brings_data,
        nulls: Nulls {
            max_tokens: null(Member::MaxTokens),
            max_completion_tokens: null(Member::MaxCompletionTokens),
            max_output_tokens: null(Member::MaxOutputTokens),
        },
    }
}

/// Whether brackets nest deeper than allowed; strings are skipped, all else is left to the parser.
pub(super) fn is_too_deep(body: &[u8]) -> bool {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = body.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > DEEPEST {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(body, at),
            _ => {}
        }
    }
    false
}

/// Just behind the closing quote of the string whose content starts at `at`, or the body's end.
fn end_of_string(body: &[u8], mut at: usize) -> usize {
    while let Some(found) = body.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if body[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    body.len()
}
