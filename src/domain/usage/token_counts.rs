//! What an answer used, by type of token, and why that is a guess where it is one.

/// What one request used. `cached` and `audio_input` are part of `input`, `reasoning` and `audio_output` part of `output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub cached: u64,
    pub audio_input: u64,
    pub output: u64,
    pub reasoning: u64,
    pub audio_output: u64,
    /// The service tier that the answer says it was served with.
    pub tier: Option<Tier>,
    /// Not (all) the deployment's own word: it said nothing, or the answer broke off.
    pub estimated: bool,
}

/// Azure's service tiers (wire facts: Rate limits): a closed set, so that it can be a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    Default,
    Priority,
    Flex,
    Scale,
    /// One that is not known here.
    Other,
}

/// Why tokens are estimated, and not the deployment's own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guess {
    /// The answer came compressed although it was asked for as it is.
    Encoded,
    /// It said nothing of what it used.
    Missing,
    /// The same, of pictures or sound: not every model of theirs is billed by the token and tells how many.
    Untold,
    /// What it said can't be.
    Invalid,
    /// A stream that was not asked for its usage: its deployment refuses that, or is not to be asked.
    NotAsked,
    /// The deployment broke off.
    Broken,
    /// The client left first.
    ClientLeft,
    /// The answer says that the work goes on: what it will use nobody knows yet.
    Unfinished,
}

impl Guess {
    pub const ALL: [Self; 8] = [
        Self::Encoded,
        Self::Missing,
        Self::Untold,
        Self::Invalid,
        Self::NotAsked,
        Self::Broken,
        Self::ClientLeft,
        Self::Unfinished,
    ];

    /// Whether it is of an answer that has come whole.
    pub fn is_of_all(self) -> bool {
        matches!(self, Self::Missing | Self::Invalid | Self::NotAsked)
    }

    /// The label in metrics: a closed set.
    pub fn label(self) -> &'static str {
        match self {
            Self::Encoded => "encoded",
            Self::Missing => "missing",
            Self::Untold => "untold",
            Self::Invalid => "invalid",
            Self::NotAsked => "not_asked",
            Self::Broken => "broken",
            Self::ClientLeft => "client_left",
            Self::Unfinished => "unfinished",
        }
    }
}

impl Tier {
    /// As an answer's `service_tier` names it; `None` for `auto`, which says nothing of the answer, and for no text.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "" | "auto" => None,
            "default" => Some(Self::Default),
            "priority" => Some(Self::Priority),
            "flex" => Some(Self::Flex),
            "scale" => Some(Self::Scale),
            _ => Some(Self::Other),
        }
    }

    /// The word in logs, records and prices.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Priority => "priority",
            Self::Flex => "flex",
            Self::Scale => "scale",
            Self::Other => "other",
        }
    }
}

impl Usage {
    /// Each type of token with its number, by its label in metrics, records and prices.
    pub fn by_type(&self) -> [(&'static str, u64); 6] {
        [
            ("input", self.input),
            ("cached", self.cached),
            ("audio_input", self.audio_input),
            ("output", self.output),
            ("reasoning", self.reasoning),
            ("audio_output", self.audio_output),
        ]
    }

    /// What counts against a limit: input and output together.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}
