//! Whether a request for a response or a chat needs a grant: whether it keeps or uses state at the instance that answers
//! it, which is what is stored there on purpose, and what names something stored there before (such ids mean nothing to
//! any other instance, wire facts: State); and whether it has the instance open sources of data, which it may do with its own
//! identity, and by any deployment of its own.
//!
//! It looks where the APIs have such things and nowhere else, so that a tool of the caller's own may have a parameter
//! called `file_id`. A response that says nothing of `store` is not counted, although Azure keeps it: that is what every
//! unmodified client sends. Names count however they are capitalized, since there are readers to whom that is the same.

use std::borrow::Cow;

/// What a request may not do, since its client was not granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forbidden {
    /// It is a chat, which can do less than a response.
    pub is_chat: bool,
    /// Keep or use state.
    pub state: bool,
    /// Bring sources of data.
    pub data: bool,
}

/// Reads along with a scan and says when something forbidden shows.
#[derive(Clone, Debug)]
pub(super) struct Grants {
    forbidden: Forbidden,
    section: Section,
    /// The member just read, of a tool or a message, is one whose own members matter.
    is_inside: bool,
    /// What the value that comes next would be.
    member: Member,
    /// How deep the list lies that would hold ids.
    ids_at: Option<usize>,
    item: Item,
}

/// Which of the outermost members is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Tools,
    Input,
    Messages,
    Data,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    /// State unless it is `null`.
    Reference,
    /// State unless it is `false` or `null`.
    Switch,
    /// State if it is a text.
    Id,
    /// State if it lists anything.
    Ids,
    ItemId,
    ItemType,
    ItemRole,
    Other,
}

/// What an item of the input says of itself; without a type and a role an id alone stands for something stored.
#[derive(Clone, Copy, Debug, Default)]
struct Item {
    has_id: bool,
    is_typed: Option<bool>,
    has_role: Option<bool>,
}

/// How deep the items of `input`, the messages of `messages` and the tools of `tools` lie: an object in a list in the
/// outermost object.
const ITEM: usize = 3;
/// The object that is a member of one of these.
const INSIDE: usize = ITEM + 1;

impl Grants {
    pub(super) fn new(forbidden: Forbidden) -> Self {
        Self {
            forbidden,
            section: Section::Other,
            is_inside: false,
            member: Member::Other,
            ids_at: None,
            item: Item::default(),
        }
    }

    /// Which grant is missing for what was just said to be forbidden.
    pub(super) fn needs(&self) -> &'static str {
        match self.section {
            Section::Data => "data_sources",
            _ => "stateful",
        }
    }

    /// Whether the names of members matter at this depth.
    pub(super) fn wants_key(&self, depth: usize) -> bool {
        depth == 1 || self.section != Section::Other
    }

    /// Whether it is to be told the text that begins now.
    pub(super) fn wants_text(&self) -> bool {
        self.member == Member::ItemType
    }

    /// A member of an object; an empty name for one that is too long to matter.
    pub(super) fn key(&mut self, depth: usize, key: &str) {
        let key = match key.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(key.to_ascii_lowercase()),
            false => Cow::Borrowed(key),
        };
        let key = &*key;
        if depth == 1 {
            self.section = self.section_of(key);
        }
        if depth == ITEM {
            self.is_inside = matches!(
                (self.section, key),
                (Section::Tools, "environment") | (Section::Messages, "audio")
            );
        }
        self.member = match self.forbidden.is_chat {
            true => self.of_chat(depth, key),
            false => self.of_response(depth, key),
        };
    }

    fn section_of(&self, key: &str) -> Section {
        let Forbidden {
            is_chat,
            state,
            data,
        } = self.forbidden;
        match key {
            "data_sources" | "datasources" if data => Section::Data,
            "tools" if state && !is_chat => Section::Tools,
            "input" if state && !is_chat => Section::Input,
            "messages" if state && is_chat => Section::Messages,
            _ => Section::Other,
        }
    }

    fn of_chat(&self, depth: usize, key: &str) -> Member {
        match (self.section, depth, key) {
            (Section::Data, 1, _) => Member::Reference,
            (_, 1, "store") if self.forbidden.state => Member::Switch,
            // What an earlier answer said aloud.
            (Section::Messages, INSIDE, "id") if self.is_inside => Member::Id,
            (Section::Messages, INSIDE.., "file_id") => Member::Id,
            _ => Member::Other,
        }
    }

    fn of_response(&self, depth: usize, key: &str) -> Member {
        match (self.section, depth, key) {
            (Section::Data, 1, _) => Member::Reference,
            _ if !self.forbidden.state => Member::Other,
            (_, 1, "previous_response_id" | "conversation" | "prompt") => Member::Reference,
            // A project's own, which is stored with its model and its tools.
            (_, 1, "agent" | "agent_reference") => Member::Reference,
            (_, 1, "background" | "store") => Member::Switch,
            (Section::Tools, ITEM, "container") => Member::Id,
            (Section::Tools, ITEM..=INSIDE, "file_id") => Member::Id,
            (Section::Tools, ITEM..=INSIDE, "vector_store_ids" | "file_ids") => Member::Ids,
            // Of a shell.
            (Section::Tools, INSIDE.., "container_id" | "skill_id") if self.is_inside => Member::Id,
            (Section::Input, ITEM.., "file_id" | "container_id" | "skill_id") => Member::Id,
            (Section::Input, ITEM, "id") => Member::ItemId,
            (Section::Input, ITEM, "type") => Member::ItemType,
            (Section::Input, ITEM, "role") => Member::ItemRole,
            _ => Member::Other,
        }
    }

    /// A value begins with this byte, inside a container of this depth. `true`: it is forbidden.
    pub(super) fn value(&mut self, depth: usize, byte: u8, in_object: bool) -> bool {
        let is_null = byte == b'n';
        if !in_object {
            return self.ids_at == Some(depth) && !is_null;
        }
        match self.member {
            Member::Reference => return !is_null,
            Member::Switch => return !is_null && byte != b'f',
            Member::Id => return byte == b'"',
            Member::Ids if byte == b'[' => self.ids_at = Some(depth + 1),
            Member::Ids => return byte == b'"',
            Member::ItemId => self.item.has_id |= !is_null,
            // Of two alike a reader may take either.
            Member::ItemType => self.item.is_typed = and(self.item.is_typed, !is_null),
            Member::ItemRole => self.item.has_role = and(self.item.has_role, !is_null),
            Member::Other => {}
        }
        false
    }

    /// A text that was wanted. `true`: it is state.
    pub(super) fn text(&mut self, text: &str) -> bool {
        text == "item_reference"
    }

    /// A container of this depth begins.
    pub(super) fn enter(&mut self, depth: usize) {
        self.member = Member::Other;
        if depth == ITEM {
            self.item = Item::default();
        }
    }

    /// It ends. `true`: it was state.
    pub(super) fn leave(&mut self, depth: usize) -> bool {
        self.member = Member::Other;
        self.ids_at = self.ids_at.filter(|at| *at < depth);
        let is_item = self.section == Section::Input && depth == ITEM;
        is_item && self.item.is_reference()
    }
}

/// Whether a name, quotes included, may be one that stands for something stored in a message of a chat.
#[inline(never)]
pub(super) fn may_name_stored(name: &[u8]) -> bool {
    const STORED: [&[u8]; 2] = [b"\"audio\"", b"\"file_id\""];
    match name.len() {
        7 | 9 => STORED
            .iter()
            .any(|stored| stored.eq_ignore_ascii_case(name)),
        // With escapes it is longer: from one in the shorter name to all in the longer one.
        12..=44 => name.contains(&b'\\'),
        _ => false,
    }
}

impl Item {
    fn is_reference(self) -> bool {
        self.has_id && self.is_typed != Some(true) && self.has_role != Some(true)
    }
}

fn and(before: Option<bool>, now: bool) -> Option<bool> {
    Some(before.unwrap_or(true) && now)
}

#[cfg(test)]
mod tests {
    use super::Forbidden;
    use crate::domain::{
        ask::{Ask, Scan},
        refusal::Refusal,
    };

    const RESPONSE: Forbidden = Forbidden {
        is_chat: false,
        state: true,
        data: true,
    };
    const CHAT: Forbidden = Forbidden {
        is_chat: true,
        ..RESPONSE
    };

    /// The grant that a body needs, read whole and byte by byte.
    fn needs(forbidden: Forbidden, body: &str) -> Option<&'static str> {
        let read = |size: usize| {
            let mut scan = Scan::forbidding(forbidden);
            let mut pieces = body.as_bytes().chunks(size);
            pieces.try_for_each(|piece| scan.push(piece))
        };
        let (whole, bytewise) = (read(body.len()), read(1));
        assert_eq!(whole, bytewise, "{body}");
        // Who reads all that a body says finds it on the way.
        if let Ok((_, scan)) = Ask::read_by(Scan::forbidding(forbidden), None, body.as_bytes()) {
            assert_eq!(scan.map(|scan| scan.noted()), Some(whole.clone()), "{body}");
        }
        match whole {
            Ok(()) => None,
            Err(Refusal::OperationNotAllowed { needs }) => Some(needs),
            Err(other) => panic!("{body}: {other:?}"),
        }
    }

    fn is_stateful(body: &str) -> bool {
        needs(RESPONSE, body) == Some("stateful")
    }

    #[test]
    fn a_chat_keeps_and_uses_less_and_is_looked_at_only_where_it_might() {
        for body in [
            r#"{"model":"m","store":true}"#,
            r#"{"st\u006fre":1}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-1"}}]}]}"#,
            r#"{"messages":[{"content":[{"file":{"fil\u0065_id":"file-1"}}]}]}"#,
            r#"{"messages":[{"content":[{"file":{"FILE_ID":"file-1"}}]}]}"#,
            r#"{"messages":[{"role":"assistant","audio":{"id":"audio_1"}}]}"#,
            r#"{"messages":[{"role":"assistant","\u0061udio":{"id":"audio_1"}}]}"#,
        ] {
            assert_eq!(needs(CHAT, body), Some("stateful"), "{body}");
            let ask = Ask::read(None, body.as_bytes()).unwrap();
            assert!(ask.may_use_state, "{body}");
        }
        for body in [
            r#"{"store":false,"background":true,"previous_response_id":"r"}"#,
            r#"{"store":null,"messages":[{"role":"user","content":"file_id","id":"x"}]}"#,
            r#"{"messages":[{"tool_calls":[{"id":"call_1","function":{"arguments":"{\"file_id\":1}"}}],"name":"audio"}]}"#,
            r#"{"audio":{"voice":"alloy","id":"a"},"tools":[{"function":{"parameters":{"file_id":"f"}}}]}"#,
        ] {
            assert_eq!(needs(CHAT, body), None, "{body}");
        }
        for body in [
            r#"{"model":"m","messages":[{"role":"user","content":"\u00e9 file_id audio"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"additionalProperties":false}}}]}"#,
            r#"{"store":null,"data_sources":null}"#,
        ] {
            assert!(
                !Ask::read(None, body.as_bytes()).unwrap().may_use_state,
                "{body}"
            );
        }
    }

    #[test]
    fn sources_of_data_need_a_grant_of_their_own() {
        let stateful = Forbidden {
            state: false,
            ..CHAT
        };
        for body in [
            r#"{"data_sources":[{"type":"azure_search"}],"store":true}"#,
            r#"{"dataSources":[]}"#,
            r#"{"d\u0061ta_sources":{}}"#,
        ] {
            assert_eq!(needs(CHAT, body), Some("data_sources"), "{body}");
            assert_eq!(needs(stateful, body), Some("data_sources"), "{body}");
            assert!(
                Ask::read(None, body.as_bytes()).unwrap().may_use_state,
                "{body}"
            );
        }
        assert_eq!(needs(CHAT, r#"{"data_sources":null}"#), None);
        let granted = Forbidden {
            data: false,
            ..CHAT
        };
        assert_eq!(needs(granted, r#"{"data_sources":[{"a":1}]}"#), None);
        let both = r#"{"data_sources":[{"a":1}],"store":true}"#;
        assert_eq!(needs(granted, both), Some("stateful"));
        assert_eq!(needs(stateful, r#"{"store":true}"#), None);
    }

    #[test]
    fn what_keeps_or_uses_state_is_found_wherever_the_api_has_it() {
        for body in [
            r#"{"model":"m","previous_response_id":"resp_1"}"#,
            r#"{"previous\u005fresponse\u005Fid":"resp_1"}"#,
            r#"{"conversation":"conv_1"}"#,
            r#"{"conversation":{"id":"conv_1"}}"#,
            r#"{"prompt":{"id":"pmpt_1"}}"#,
            r#"{"store":true}"#,
            r#"{"store" : 1}"#,
            r#"{"st\u006fre":true}"#,
            r#"{"input":"x","tools":[{"type":"file_search","vector_store_ids":["vs_1"]}]}"#,
            r#"{"tools":[{"type":"code_interpreter","container":"cntr_1"}]}"#,
            r#"{"tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["f"]}}]}"#,
            r#"{"tools":[{"type":"image_generation","input_image_mask":{"file_id":"f"}}]}"#,
            r#"{"tools":[{},{"vector_store_ids":[null,"vs_1"]}]}"#,
            r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#,
            r#"{"input":[{"type":"item\u005freference","id":"msg_1"}]}"#,
            r#"{"input":[{"role":"user","content":"a"},{"id":"msg_1"}]}"#,
            r#"{"input":[{"id":"msg_1","type":null}]}"#,
            r#"{"input":[{"id":"msg_1","type":"message","type":null,"role":null}]}"#,
            r#"{"input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}]}"#,
            r#"{"input":[{"role":"user","content":[{"type":"input_image","fil\u0065_id":"file-1"}]}]}"#,
            r#"{"input":[{"type":"computer_call_output","output":{"file_id":"file-1"}}]}"#,
            r#"{"input":[{"type":"code_interpreter_call","id":"ci","container_id":"cntr_1"}]}"#,
            r#"{"tools":[{"type":"shell","environment":{"type":"container_reference","container_id":"cntr_1"}}]}"#,
            r#"{"tools":[{"type":"shell","environment":{"type":"container_auto","skills":[{"type":"skill_reference","skill_id":"s"}]}}]}"#,
            r#"{"tools":[{"environment":{"file_ids":["f"]}}]}"#,
            r#"{"input":[{"type":"shell_call","environment":{"type":"container_reference","container_id":"cntr_1"}}]}"#,
            r#"{"agent":{"type":"agent_reference","name":"a"}}"#,
            r#"{"input":[{"Type":"item_reference","id":"msg_1"}]}"#,
            r#"{"tools":[{"Container":"cntr_1"}]}"#,
        ] {
            assert!(is_stateful(body), "{body}");
        }
    }

    #[test]
    fn what_a_stateless_client_sends_is_not_taken_for_state() {
        for body in [
            r#"{"model":"m","input":"previous_response_id"}"#,
            r#"{"model":"m","store":false,"background":false,"previous_response_id":null,"conversation":null,"prompt":null}"#,
            r#"{"metadata":{"store":"yes","file_id":"f","conversation":"c","previous_response_id":"r"}}"#,
            r#"{"tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{"file_id":{"type":"string"},"store":{"type":"boolean"}},"required":["file_id"]}}]}"#,
            r#"{"tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}"#,
            r#"{"tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":[]}}]}"#,
            r#"{"tools":[{"type":"shell","environment":{"type":"container_auto","skills":[{"type":"inline","name":"s"}]}}]}"#,
            r#"{"tools":[{"type":"function","environment":1,"parameters":{"container_id":"c","default":{"skill_id":"s"}}}]}"#,
            r#"{"tools":[{"vector_store_ids":[]},{"type":"function","name":"vector_store_ids","strict":true}]}"#,
            r#"{"tools":[{"vector_store_ids":[],"types":["a"]}]}"#,
            r#"{"input":[{"role":"user","content":"file_id: \"f\""}]}"#,
            r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:","file_id":null}]}]}"#,
            r#"{"input":[{"type":"reasoning","id":"rs_1","encrypted_content":"…"},{"type":"message","id":"msg_1","role":"assistant"}]}"#,
            r#"{"input":[{"type":"function_call_output","call_id":"c","output":"{\"file_id\":\"f\"}"}]}"#,
            r#"{"input":[{"id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"a"}]}]}"#,
        ] {
            assert!(!is_stateful(body), "{body}");
        }
    }

    #[test]
    fn a_text_that_is_too_long_to_matter_is_no_error() {
        let long = "x".repeat(10_000);
        assert!(!is_stateful(&format!(
            r#"{{"{long}":1,"input":[{{"type":"{long}","{long}":2}}]}}"#
        )));
        assert!(is_stateful(&format!(r#"{{"{long}":1,"store":true}}"#)));
    }
}
