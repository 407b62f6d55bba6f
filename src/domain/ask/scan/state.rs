//! Whether a request for a response keeps or uses state at the instance that answers it: what is stored there on
//! purpose, and what names something stored there before. Such ids mean nothing to any other instance (AZURE.md 2).
//!
//! It looks where the Responses API has such things and nowhere else, so that a tool of the caller's own may have a
//! parameter called `file_id`. A response that says nothing of `store` is not counted, although Azure keeps it: that is
//! what every unmodified client sends.

/// Reads along with a scan and says when state shows.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    section: Section,
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

/// How deep the items of `input` and the tools of `tools` lie: an object in a list in the outermost object.
const ITEM: usize = 3;

impl Default for Watch {
    fn default() -> Self {
        Self {
            section: Section::Other,
            member: Member::Other,
            ids_at: None,
            item: Item::default(),
        }
    }
}

impl Watch {
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
        if depth == 1 {
            self.section = match key {
                "tools" => Section::Tools,
                "input" => Section::Input,
                _ => Section::Other,
            };
        }
        self.member = match (self.section, depth, key) {
            (_, 1, "previous_response_id" | "conversation" | "prompt") => Member::Reference,
            (_, 1, "background" | "store") => Member::Switch,
            (Section::Tools, ITEM, "container") => Member::Id,
            (Section::Tools, ITEM..=4, "file_id") => Member::Id,
            (Section::Tools, ITEM..=4, "vector_store_ids" | "file_ids") => Member::Ids,
            (Section::Input, ITEM.., "file_id" | "container_id") => Member::Id,
            (Section::Input, ITEM, "id") => Member::ItemId,
            (Section::Input, ITEM, "type") => Member::ItemType,
            (Section::Input, ITEM, "role") => Member::ItemRole,
            _ => Member::Other,
        };
    }

    /// A value begins with this byte, inside a container of this depth. `true`: it is state.
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
    use crate::domain::{ask::Scan, refusal::Refusal};

    /// Whether a body shows state, read whole and byte by byte.
    fn is_stateful(body: &str) -> bool {
        let read = |size: usize| {
            let mut scan = Scan::stateless();
            let mut pieces = body.as_bytes().chunks(size);
            pieces.try_for_each(|piece| scan.push(piece))
        };
        let (whole, bytewise) = (read(body.len()), read(1));
        assert_eq!(whole, bytewise, "{body}");
        match whole {
            Ok(()) => false,
            Err(Refusal::OperationNotAllowed { needs: "stateful" }) => true,
            Err(other) => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn what_keeps_or_uses_state_is_found_wherever_the_api_has_it() {
        for body in [
            r#"{"model":"m","previous_response_id":"resp_1"}"#,
            r#"{"previous\u005fresponse\u005Fid":"resp_1"}"#,
            r#"{"conversation":"conv_1"}"#,
            r#"{"conversation":{"id":"conv_1"}}"#,
            r#"{"prompt":{"id":"pmpt_1"}}"#,
            r#"{"background":true}"#,
            r#"{"background":"true"}"#,
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
