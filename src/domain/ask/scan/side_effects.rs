//! Whether a request for a response does something that would be there twice if it were done twice: it adds to a
//! conversation, or brings a hosted tool that does something at the instance or outside. And whether it is to be made in
//! the background, where nobody could ask for it afterwards.

use crate::domain::refusal::Refusal;

/// Tools that only say something, or leave what they ask for to their client. `mcp` is one while somebody is asked first.
const SAYING: [&str; 10] = [
    "function",
    "custom",
    "namespace",
    "tool_search",
    "file_search",
    "image_generation",
    "local_shell",
    "apply_patch",
    "mcp",
    "web_search",
];

/// How deep tools and the items of the input lie: an object in a list in the outermost object.
const ITEM: usize = 3;

/// Reads along with a scan.
#[derive(Clone, Debug, Default)]
pub(super) struct SideEffects {
    section: Section,
    member: Member,
    acts: bool,
    /// The models that its tools name; an empty name for what is none.
    models: Vec<Box<str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Section {
    Tools,
    Input,
    #[default]
    Other,
}

/// What the value that comes next would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Member {
    Conversation,
    Background,
    ToolType,
    /// Whether somebody is asked before a tool acts.
    Approval,
    /// Who makes the pictures.
    ToolModel,
    ItemType,
    #[default]
    Other,
}

impl SideEffects {
    pub(super) fn acts(&self) -> bool {
        self.acts
    }

    /// The models that tools name, beside the one that answers.
    pub(super) fn models(&self) -> &[Box<str>] {
        &self.models
    }

    /// Whether the names of members matter at this depth.
    pub(super) fn wants_key(&self, depth: usize) -> bool {
        depth == 1 || depth == ITEM && self.section != Section::Other
    }

    /// Whether it is to be told the text that begins now.
    pub(super) fn wants_text(&self) -> bool {
        use Member::{Approval, ItemType, ToolModel, ToolType};
        matches!(self.member, ToolType | Approval | ToolModel | ItemType)
    }

    /// A member of an object; an empty name for one that is too long to matter.
    pub(super) fn key(&mut self, depth: usize, key: &str) {
        let is = |name: &str| key.eq_ignore_ascii_case(name);
        if depth == 1 {
            self.section = match () {
                () if is("tools") => Section::Tools,
                () if is("input") => Section::Input,
                () => Section::Other,
            };
        }
        self.member = match (self.section, depth) {
            (_, 1) if is("conversation") => Member::Conversation,
            (_, 1) if is("background") => Member::Background,
            (Section::Tools, ITEM) if is("type") => Member::ToolType,
            (Section::Tools, ITEM) if is("require_approval") => Member::Approval,
            (Section::Tools, ITEM) if is("model") => Member::ToolModel,
            (Section::Input, ITEM) if is("type") => Member::ItemType,
            _ => Member::Other,
        };
    }

    /// A value begins with this byte.
    pub(super) fn value(&mut self, byte: u8, in_object: bool) -> Result<(), Refusal> {
        match self.member {
            _ if !in_object => {}
            Member::Background if !matches!(byte, b'n' | b'f') => {
                return Err(Refusal::NoBackground);
            }
            Member::Conversation => self.acts |= byte != b'n',
            // By name, for some of its tools.
            Member::Approval => self.acts |= !matches!(byte, b'n' | b'"'),
            // No model has such a name.
            Member::ToolModel if !matches!(byte, b'n' | b'"') => self.models.push("".into()),
            _ => {}
        }
        Ok(())
    }

    /// A text that was wanted; an empty one for one that is too long to matter.
    pub(super) fn text(&mut self, text: &str) {
        if self.member == Member::ToolModel {
            self.models.push(text.into());
        }
        self.acts |= match self.member {
            Member::ToolType => !text.starts_with("web_search_") && !SAYING.contains(&text),
            Member::Approval => text != "always",
            // Somebody was asked, and this may be the yes.
            Member::ItemType => text == "mcp_approval_response",
            _ => false,
        };
    }

    /// A container begins or ends.
    pub(super) fn step(&mut self) {
        self.member = Member::Other;
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::{ask::Scan, refusal::Refusal};

    /// What a body says of acting, read whole and byte by byte.
    fn acts(body: &str) -> Result<bool, Refusal> {
        let read = |size: usize| {
            let mut scan = Scan::of_response();
            let mut pieces = body.as_bytes().chunks(size);
            pieces.try_for_each(|piece| scan.push(piece))?;
            Ok(scan.acts())
        };
        let (whole, bytewise) = (read(body.len()), read(1));
        assert_eq!(whole, bytewise, "{body}");
        whole
    }

    #[test]
    fn tools_that_do_something_are_told_from_those_that_say_something() {
        for body in [
            r#"{"conversation":"conv_1"}"#,
            r#"{"tools":[{"type":"mcp","server_label":"x","require_approval":"never"}]}"#,
            r#"{"tools":[{"require_approval":{"never":{"tool_names":["pay"]}},"type":"mcp"}]}"#,
            r#"{"tools":[{"type":"function"},{"type":"code_interpreter","container":{"type":"auto"}}]}"#,
            r#"{"tools":[{"type":"code\u005finterpreter"}]}"#,
            r#"{"tools":[{"type":"computer_use_preview"}]}"#,
            r#"{"tools":[{"type":"computer"}]}"#,
            r#"{"tools":[{"type":"shell","environment":{"type":"container_auto"}}]}"#,
            r#"{"tools":[{"type":"something_new"}]}"#,
            r#"{"tools":[{"type":"mcp"}],"input":[{"type":"mcp_approval_response","approve":true}]}"#,
        ] {
            assert_eq!(acts(body), Ok(true), "{body}");
        }
        for body in [
            r#"{"model":"m","input":"code_interpreter","conversation":null,"tools":null}"#,
            r#"{"tools":[]}"#,
            r#"{"tools":[{"type":"mcp","server_label":"x"}]}"#,
            r#"{"tools":[{"type":"mcp","require_approval":"always"},{"type":"mcp","require_approval":null}]}"#,
            r#"{"tools":[{"type":"function","name":"code_interpreter","parameters":{"type":"object","properties":{"type":{"type":"mcp"}}}}]}"#,
            r#"{"tools":[{"type":"web_search"},{"type":"web_search_preview_2025_03_11"},{"type":"file_search"},{"type":"image_generation"}]}"#,
            r#"{"tool_choice":{"type":"code_interpreter"},"input":[{"type":"message","role":"user","content":"x"}]}"#,
        ] {
            assert_eq!(acts(body), Ok(false), "{body}");
        }
    }

    #[test]
    fn the_models_that_tools_name_are_found() {
        let long = "m".repeat(1000);
        for (body, named) in [
            (r#"{"model":"a","tools":[{"type":"image_generation"}]}"#.to_owned(), &[][..]),
            (r#"{"tools":[{"type":"image_generation","model":"b"}]}"#.to_owned(), &["b"]),
            (r#"{"tools":[{"mod\u0065l":"\u0062"},{"Model":"c","model":null}]}"#.to_owned(), &["b", "c"]),
            (r#"{"tools":[{"model":{"id":"b"}},{"model":["c"]},{"model":7}]}"#.to_owned(), &["", "", ""]),
            (format!(r#"{{"tools":[{{"model":"{long}"}}]}}"#), &[""]),
            (r#"{"tools":[{"type":"function","parameters":{"model":"b"}}],"input":[{"model":"c"}],"metadata":{"model":"d"}}"#.to_owned(), &[]),
        ] {
            for size in [body.len(), 1] {
                let mut scan = Scan::of_response();
                for piece in body.as_bytes().chunks(size) {
                    scan.push(piece).unwrap();
                }
                let found: Vec<_> = scan.tool_models().iter().map(|it| &**it).collect();
                assert_eq!(found, named, "{body}");
            }
        }
    }

    #[test]
    fn what_is_to_run_in_the_background_is_refused() {
        for body in [
            r#"{"background":true}"#,
            r#"{"background" : "true"}"#,
            r#"{"backgr\u006fund":1}"#,
        ] {
            assert_eq!(acts(body), Err(Refusal::NoBackground), "{body}");
        }
        for body in [
            r#"{"background":false,"metadata":{"background":true}}"#,
            r#"{"background":null,"input":[{"background":true,"role":"user"}]}"#,
        ] {
            assert_eq!(acts(body), Ok(false), "{body}");
        }
    }
}
