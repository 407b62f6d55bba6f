//! What the contenders are sent: requests written out once, the same body to each of them.

use bytes::Bytes;
use http::Request;

/// One kind of answer, by the name that is asked for; `simulator.yaml` says how each comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) name: &'static str,
    /// Of a stream, `[DONE]` included; 0 where it is no stream.
    pub(crate) events: u32,
}

/// Around a stream's tokens: the filter's event, the role's, the end's, and `[DONE]`.
const FRAME: u32 = 4;

const fn stream(name: &'static str, tokens: u32) -> Model {
    let events = tokens + FRAME;
    Model { name, events }
}

pub(crate) const CHAT: Model = Model {
    name: "gpt-4o",
    events: 0,
};
/// A token every 20 ms.
pub(crate) const PACED: Model = stream("paced", 50);
/// All at once.
pub(crate) const BURST: Model = stream("burst", 96);
pub(crate) const SHORT: Model = stream("short", 1);
/// A token every two seconds, for a minute.
pub(crate) const OPEN: Model = stream("open", 30);
/// One token, then nothing.
pub(crate) const QUIET: Model = stream("quiet", 16);
pub(crate) const MODELS: [Model; 6] = [CHAT, PACED, BURST, SHORT, OPEN, QUIET];

/// A request before it is known where it goes.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) model: Model,
    /// Of the body, in bytes.
    pub(crate) size: usize,
}

/// How a contender wants to be asked.
#[derive(Clone)]
pub(crate) struct Manner {
    pub(crate) path: &'static str,
    /// Headers of its own.
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            path: "/openai/v1/chat/completions",
            headers: Vec::new(),
        }
    }
}

impl Ask {
    pub(crate) fn chat(size: usize) -> Self {
        Self { model: CHAT, size }
    }

    pub(crate) fn stream(model: Model) -> Self {
        Self {
            model,
            size: 1 << 10,
        }
    }

    /// As HTTP/1.1 says it.
    pub(crate) fn written(&self, manner: &Manner) -> Bytes {
        let body = self.body();
        let mut head = format!("POST {} HTTP/1.1\r\nhost: localhost\r\n", manner.path);
        for (name, value) in headers(manner) {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        (head + &body).into()
    }

    /// As HTTP/2 says it: the head, and the body.
    pub(crate) fn framed(&self, manner: &Manner) -> crate::Result<(Request<()>, Bytes)> {
        let mut head = Request::post(format!("https://localhost{}", manner.path));
        for (name, value) in headers(manner) {
            head = head.header(name, value);
        }
        let body = self.body();
        Ok((
            head.header("content-length", body.len()).body(())?,
            body.into(),
        ))
    }

    fn body(&self) -> String {
        let stream = if self.model.events > 0 {
            r#""stream":true,"#
        } else {
            ""
        };
        let (before, after) = (
            format!(
                r#"{{"model":"{}",{stream}"messages":[{{"role":"user","content":""#,
                self.model.name
            ),
            r#""}]}"#,
        );
        // Words like these, so that strings are as long as prompts are.
        let words = "Above the dam the water waits until a turbine is free. ";
        let length = self.size.saturating_sub(before.len() + after.len());
        let text: String = words.chars().cycle().take(length).collect();
        before + &text + after
    }
}

/// What the AzureOpenAI client of Python sends, and the contender's own.
fn headers(manner: &Manner) -> impl Iterator<Item = (&str, &str)> {
    let usual = [
        ("api-key", "bench"),
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("user-agent", "AzureOpenAI/Python 1.109.1"),
        ("x-stainless-lang", "python"),
    ];
    let own = manner.headers.iter();
    usual
        .into_iter()
        .chain(own.map(|(name, value)| (*name, value.as_str())))
}
