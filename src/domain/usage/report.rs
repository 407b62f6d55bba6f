//! What an answer has said of its tokens so far, and what of its output has passed.

use super::{
    output_count::OutputCount,
    schema::{Container, FIELDS, Field, Member},
    token_counts::{Tier, Usage},
};

/// The most that is believed of one number: far more than any model reads or says.
const MOST: u32 = 1_000_000_000;

/// What one answer has reported, and what has passed of it.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// The report that is being read.
    draft: Draft,
    /// The last one that could be trusted.
    last: Option<Usage>,
    tier: Option<Tier>,
    /// The output since the last report.
    output: OutputCount,
    /// The event being read has brought a report: its own output is part of it, wherever it stands.
    has_reported: bool,
    /// What the event being read says is sound, and no words.
    is_sound: bool,
    /// The last report was none that can be believed.
    was_disbelieved: bool,
    /// The answer says that the work goes on.
    is_unfinished: bool,
    /// What was said since it was last asked for.
    said: Said,
    /// Output is not tallied; whether any has passed.
    withheld: Option<bool>,
}

/// What a stretch of an answer says beside its output.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    tier: Option<Tier>,
    is_more: bool,
}

/// A usage report as far as it has been read.
#[derive(Clone, Copy, Debug, Default)]
struct Draft {
    numbers: [Option<u32>; FIELDS],
    /// Something in it is no number of tokens.
    is_nonsense: bool,
    /// It is in seconds of audio: there are no tokens to report.
    is_duration: bool,
}

impl Report {
    /// Nothing yet; of what passes this is the beginning.
    pub(super) fn with(output: OutputCount) -> Self {
        Self {
            draft: Draft::default(),
            last: None,
            tier: None,
            output,
            has_reported: false,
            is_sound: false,
            was_disbelieved: false,
            is_unfinished: false,
            said: Said::default(),
            withheld: None,
        }
    }

    pub(super) fn enter(&mut self, container: Container) {
        if container == Container::Usage {
            self.said.is_more = true;
            self.draft = Draft::default();
        }
    }

    pub(super) fn leave(&mut self, container: Container) {
        if container != Container::Usage {
            return;
        }
        let usage = self.draft.usage();
        self.was_disbelieved = usage.is_none();
        if let Some(usage) = usage {
            self.last = Some(usage);
            self.has_reported = true;
        }
    }

    /// A number; `None`: it is too long for one.
    pub(super) fn count(&mut self, field: Field, number: Option<&[u8]>) {
        self.said.is_more = true;
        match number.map(number_of) {
            Some(Number::Null) => {}
            Some(Number::Tokens(tokens)) => self.draft.numbers[field as usize] = Some(tokens),
            Some(Number::Nonsense) | None => self.draft.is_nonsense = true,
        }
    }

    /// A value of the wrong kind stands there.
    pub(super) fn nonsense(&mut self, member: Member) {
        if let Member::Count(_) = member {
            self.said.is_more = true;
            self.draft.is_nonsense = true;
        }
    }

    /// A text as the value of what is not output; `None`: it is too long for any that matters.
    pub(super) fn word(&mut self, member: Member, word: Option<&[u8]>) {
        match (member, word) {
            (Member::Tier, word) => self.tier(word.unwrap_or(b"?")),
            (Member::Kind, Some(word)) => self.kind(word),
            (Member::Status, word) => self.status(word.unwrap_or_default()),
            (member, _) => self.nonsense(member),
        }
    }

    fn tier(&mut self, name: &[u8]) {
        let name = std::str::from_utf8(name).unwrap_or("?");
        let tier = Tier::of(name);
        self.served_with(tier);
        self.said.tier = tier.or(self.said.tier);
    }

    fn status(&mut self, status: &[u8]) {
        self.is_unfinished = matches!(status, b"queued" | b"in_progress");
        // It is to be read in each answer.
        self.said.is_more |= self.is_unfinished;
    }

    /// The last tier that is named counts.
    pub(super) fn served_with(&mut self, tier: Option<Tier>) {
        self.tier = tier.or(self.tier);
    }

    /// Forgets what was said so far: a stretch begins.
    pub(super) fn begin_stretch(&mut self) {
        self.said = Said::default();
    }

    /// The tier that the stretch has named; `None`: it has said more than that.
    pub(super) fn only_tier(&self) -> Option<Option<Tier>> {
        (!self.said.is_more).then_some(self.said.tier)
    }

    /// The type of an event, or of a usage report.
    pub(super) fn kind(&mut self, kind: &[u8]) {
        if kind == b"duration" {
            (self.draft.is_duration, self.said.is_more) = (true, true);
        } else if is_sound(kind) {
            (self.is_sound, self.said.is_more) = (true, true);
        }
    }

    pub(super) fn was_disbelieved(&self) -> bool {
        self.was_disbelieved
    }

    pub(super) fn is_unfinished(&self) -> bool {
        self.is_unfinished
    }

    pub(super) fn text(&mut self, bytes: &[u8]) {
        match &mut self.withheld {
            Some(any) => *any = true,
            None if self.is_sound => {}
            None => self.output.add(bytes),
        }
    }

    /// From here on output is not tallied.
    pub(super) fn withhold(&mut self) {
        self.withheld = Some(false);
    }

    pub(super) fn is_withheld(&self) -> bool {
        self.withheld.is_some()
    }

    /// The same no longer. Whether there was output that matters: none does beside a report.
    pub(super) fn lacks_output(&mut self) -> bool {
        self.withheld.take() == Some(true) && !self.has_reported
    }

    /// An event is over.
    pub(super) fn end_event(&mut self) {
        if std::mem::take(&mut self.has_reported) {
            self.output.clear();
        }
        self.is_sound = false;
    }

    /// What was reported last, where no output has passed since.
    pub(super) fn usage(&self, is_stream: bool) -> Option<Usage> {
        let is_all = !is_stream || self.has_reported || self.output.is_empty();
        let last = self.last.filter(|_| is_all)?;
        Some(Usage {
            tier: self.tier,
            ..last
        })
    }

    /// The same and what has passed since, or else what has passed and this `input`.
    pub(super) fn estimate(&self, input: u64) -> Usage {
        let last = self.last.unwrap_or(Usage {
            input,
            ..Usage::default()
        });
        let passed = match self.has_reported {
            true => 0,
            false => self.output.tokens(),
        };
        Usage {
            output: last.output + passed,
            tier: self.tier,
            estimated: true,
            ..last
        }
    }
}

/// Whether an event of this type or name carries sound, whose text is no words.
pub(super) fn is_sound(kind: &[u8]) -> bool {
    kind.ends_with(b"audio.delta")
}

impl Draft {
    /// What it says, where that can be believed: whole numbers, parts that fit into their wholes, and a total that is
    /// their sum.
    fn usage(&self) -> Option<Usage> {
        if self.is_duration && !self.is_nonsense {
            return Some(Usage::default());
        }
        let told = |field: Field| self.numbers[field as usize].map(u64::from);
        let part = |field: Field| told(field).unwrap_or(0);
        let input = told(Field::Input).filter(|_| !self.is_nonsense)?;
        let total = told(Field::Total);
        let reasoning = part(Field::Reasoning);
        let output = match (told(Field::Output), total) {
            // Some leave the reasoning out of the output, and not out of the total.
            (Some(output), Some(total)) if total == input + output + reasoning => total - input,
            (Some(output), _) => output,
            (None, Some(total)) => total.checked_sub(input)?,
            // Embeddings have none.
            (None, None) => 0,
        };
        let usage = Usage {
            input,
            cached: part(Field::Cached),
            audio_input: part(Field::AudioInput),
            output,
            reasoning,
            audio_output: part(Field::AudioOutput),
            tier: None,
            estimated: false,
        };
        let fits = usage.cached.max(usage.audio_input) <= input
            && usage.reasoning.max(usage.audio_output) <= output
            && total.is_none_or(|total| total == input + output);
        fits.then_some(usage)
    }
}

enum Number {
    Null,
    Tokens(u32),
    Nonsense,
}

/// What a scalar says, if it is a number of tokens.
fn number_of(text: &[u8]) -> Number {
    if text == b"null" {
        return Number::Null;
    }
    let mut tokens = 0;
    for byte in text {
        if !byte.is_ascii_digit() || tokens > MOST / 10 {
            return Number::Nonsense;
        }
        tokens = tokens * 10 + u32::from(byte - b'0');
    }
    match text {
        b"" => Number::Nonsense,
        _ if tokens > MOST => Number::Nonsense,
        _ => Number::Tokens(tokens),
    }
}
