//! What a request says of how much it wants, and what its client's limits say to that.
//!
//! A value that can't be read, and that a deployment might read all the same, is refused: nobody gets round a limit by
//! writing a number in another way.

use std::{ops::Range, str};

use super::{account::Account, limits::OverMaxOutput, prompts};
use crate::domain::{
    additions::Form,
    ask::{Ask, Nulls, Said, Splice, Wants},
    deployment::Kind,
    limit::{Bound, Limit},
    query::ApiVersion,
    refusal::{Limited, Refusal},
    route::{Dialect, Operation},
};

/// What a client's limits say of a body, its own and those with the model: of each the lower one.
#[derive(Clone, Debug, Default)]
pub struct Rules<'a> {
    max_output: Option<(&'a Account, u64)>,
    over_max_output: OverMaxOutput,
    n: Option<(&'a Account, u64)>,
    best_of: Option<(&'a Account, u64)>,
    counts_tokens: bool,
}

/// What a body wants, as far as its client may have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// To be made in the body.
    pub changes: Vec<Splice>,
    /// To be said in the body, which says nothing of it.
    pub cap: Option<Cap>,
    pub output: Output,
}

/// The most output, of a request that names none itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    pub tokens: u64,
    /// Where the body names it, and says `null`.
    nulls: Nulls,
}

/// How much a request may be answered with, in tokens, all its answers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    AtMost(u64),
    /// It names no maximum: so many answers of usual length.
    Usual {
        operation: Operation,
        answers: u64,
    },
}

/// The members that bound the output, as they are called in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    MaxTokens,
    MaxCompletionTokens,
    MaxOutputTokens,
}

impl Field {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxOutputTokens => "max_output_tokens",
        }
    }

    fn in_wants(self, wants: &Wants) -> Option<&Said> {
        match self {
            Self::MaxTokens => wants.max_tokens.as_ref(),
            Self::MaxCompletionTokens => wants.max_completion_tokens.as_ref(),
            Self::MaxOutputTokens => wants.max_output_tokens.as_ref(),
        }
    }

    fn in_nulls(self, nulls: &Nulls) -> Option<&Said> {
        match self {
            Self::MaxTokens => nulls.max_tokens.as_ref(),
            Self::MaxCompletionTokens => nulls.max_completion_tokens.as_ref(),
            Self::MaxOutputTokens => nulls.max_output_tokens.as_ref(),
        }
    }

    const ALL: [Self; 3] = [
        Self::MaxTokens,
        Self::MaxCompletionTokens,
        Self::MaxOutputTokens,
    ];

    /// The one that a deployment of this kind reads, where it has output to bound: Azure knows `max_completion_tokens` since
    /// the api-version 2024-12-01, and reasoning models nothing else; other servers may not know it.
    pub fn known_to(
        call: (Dialect, Operation),
        kind: Kind,
        version: &ApiVersion<'_>,
    ) -> Option<Self> {
        const SINCE: &str = "2024-12-01";
        let (dialect, operation) = call;
        match operation {
            Operation::ChatCompletions
                if kind == Kind::Openai
                    || dialect == Dialect::Inference
                    || dialect == Dialect::Classic && version.is_before(SINCE) =>
            {
                Some(Self::MaxTokens)
            }
            Operation::ChatCompletions => Some(Self::MaxCompletionTokens),
            Operation::Completions => Some(Self::MaxTokens),
            Operation::Responses => Some(Self::MaxOutputTokens),
            _ => None,
        }
    }

    /// Which of them is written into a body in this form.
    pub fn in_form(
        form: Form,
        call: (Dialect, Operation),
        kind: Kind,
        version: &ApiVersion<'_>,
    ) -> Option<Self> {
        let usual = Self::known_to(call, kind, version)?;
        match form {
            Form::Usual => Some(usual),
            Form::Other => usual.other(call.1),
            Form::Without => None,
        }
    }

    /// The other one that a deployment may know in its place.
    pub fn other(self, operation: Operation) -> Option<Self> {
        match (operation, self) {
            (Operation::ChatCompletions, Self::MaxTokens) => Some(Self::MaxCompletionTokens),
            (Operation::ChatCompletions, Self::MaxCompletionTokens) => Some(Self::MaxTokens),
            _ => None,
        }
    }

    /// Those that bound this operation's output.
    fn for_operation(operation: Operation) -> &'static [Self] {
        match operation {
            Operation::ChatCompletions => &[Self::MaxTokens, Self::MaxCompletionTokens],
            Operation::Completions => &[Self::MaxTokens],
            Operation::Responses => &[Self::MaxOutputTokens],
            _ => &[],
        }
    }
}

impl Cap {
    /// The change that says it in a body, in the field that its reader knows; `None` where the body is no object.
    pub fn say(&self, field: Field, ask: &Ask) -> Option<Splice> {
        if let Some(Said(at)) = field.in_nulls(&self.nulls) {
            return Some(put(at, self.tokens));
        }
        ask.adding(&format!("\"{}\":{}", field.as_str(), self.tokens))
    }
}

fn put(at: &Range<usize>, tokens: u64) -> Splice {
    Splice {
        at: at.clone(),
        with: tokens.to_string().into(),
    }
}

impl<'a> Rules<'a> {
    pub(super) fn from_accounts(accounts: impl Iterator<Item = &'a Account>) -> Self {
        let mut rules = Self::default();
        for account in accounts {
            let limits = &account.limits;
            let lower = |of: &mut Option<(&'a Account, u64)>, most: Option<u64>| {
                let is_lower = most.is_some_and(|most| of.is_none_or(|(_, least)| most < least));
                if let (true, Some(most)) = (is_lower, most) {
                    *of = Some((account, most));
                }
                is_lower
            };
            if lower(&mut rules.max_output, limits.max_output_tokens) {
                rules.over_max_output = limits.over_max_output_tokens;
            }
            lower(&mut rules.n, limits.n);
            lower(&mut rules.best_of, limits.best_of);
            rules.counts_tokens |= limits.counts_tokens();
        }
        rules
    }

    /// Whether tokens are to be reserved.
    pub fn counts_tokens(&self) -> bool {
        self.counts_tokens
    }

    /// Whether they have something to say of a body.
    pub fn need_body(&self) -> bool {
        let any = [&self.max_output, &self.n, &self.best_of];
        self.counts_tokens || any.iter().any(|it| it.is_some())
    }

    /// Holds a body against them.
    pub fn judge(&self, operation: Operation, ask: &Ask, body: &[u8]) -> Result<Wanted, Refusal> {
        let wants = &ask.wants;
        let n = self.within("n", &wants.n, body, Limit::N, self.n)?;
        let best_of = self.within("best_of", &wants.best_of, body, Limit::BestOf, self.best_of)?;
        let answers = n.unwrap_or(1).max(best_of.unwrap_or(1)).max(1);
        let answers = match operation {
            Operation::Completions if self.counts_tokens => {
                answers.saturating_mul(prompts::count(body)?)
            }
            _ => answers,
        };
        let mut changes = Vec::new();
        let mut most = None;
        for field in Field::ALL {
            let said = field.in_wants(wants);
            let Some((said, tokens)) = said.zip(read(field.as_str(), said, body)?) else {
                continue;
            };
            let tokens = self.cut(field, said, tokens, &mut changes)?;
            if Field::for_operation(operation).contains(&field) {
                most = most.max(Some(tokens));
            }
        }
        let bounds_output = !Field::for_operation(operation).is_empty();
        let cap = self
            .max_output
            .filter(|_| most.is_none() && bounds_output)
            .map(|(_, tokens)| Cap {
                tokens,
                nulls: wants.nulls.clone(),
            });
        let output = match most.or(cap.as_ref().map(|cap| cap.tokens)) {
            Some(most) => Output::AtMost(most.saturating_mul(answers)),
            None if bounds_output => Output::Usual { operation, answers },
            None => Output::AtMost(0),
        };
        Ok(Wanted {
            changes,
            cap,
            output,
        })
    }

    /// As much output as the client may have.
    fn cut(
        &self,
        field: Field,
        said: &Said,
        tokens: u64,
        changes: &mut Vec<Splice>,
    ) -> Result<u64, Refusal> {
        let Some((account, most)) = self.max_output.filter(|(_, most)| tokens > *most) else {
            return Ok(tokens);
        };
        match self.over_max_output {
            OverMaxOutput::Clamp => {
                changes.push(put(&said.0, most));
                Ok(most)
            }
            OverMaxOutput::Refuse => {
                let bound = account.bound(Limit::MaxOutputTokens, most);
                Err(too_much(field.as_str(), bound))
            }
        }
    }

    fn within(
        &self,
        field: &'static str,
        said: &Option<Said>,
        body: &[u8],
        limit: Limit,
        rule: Option<(&Account, u64)>,
    ) -> Result<Option<u64>, Refusal> {
        let number = read(field, said.as_ref(), body)?;
        match rule.filter(|(_, most)| number.is_some_and(|number| number > *most)) {
            Some((account, most)) => Err(too_much(field, account.bound(limit, most))),
            None => Ok(number),
        }
    }
}

fn too_much(field: &'static str, bound: Bound) -> Refusal {
    Limited::TooMuch { field, bound }.into()
}

/// A whole number, written as JSON writes one and in no other way.
fn read(field: &'static str, said: Option<&Said>, body: &[u8]) -> Result<Option<u64>, Refusal> {
    let Some(said) = said else { return Ok(None) };
    let text = str::from_utf8(said.text(body)).unwrap_or_default();
    let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = is_plain.then(|| text.parse().ok()).flatten();
    let refusal = || Limited::Unreadable { field }.into();
    number.map(Some).ok_or_else(refusal)
}
