//! What the gateway adds to a request on its own account, and what each deployment has shown to take of it: by api-version,
//! since that is what decides which members a body may have.

/// What was added to one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Its stream was asked for usage.
    pub usage: bool,
    /// The most output was written into this member.
    pub limit: Option<&'static str>,
}

impl Added {
    pub fn is_any(self) -> bool {
        self.usage || self.limit.is_some()
    }
}

/// How the most output is said in a body that says nothing of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// In the member that the api-version should know.
    #[default]
    Usual,
    /// In the other one, of `max_tokens` and `max_completion_tokens`.
    Other,
    /// Not at all: the deployment takes neither.
    Without,
}

/// The forms that one request was refused in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedForms(u8);

impl RefusedForms {
    pub fn is_any(self) -> bool {
        self.0 > 0
    }

    /// Takes note of a refusal, and says which form is next; `None`: all were refused. `has_other`: there is another member.
    pub fn after(&mut self, form: Form, has_other: bool) -> Option<Form> {
        self.0 |= 1 << form as u8;
        let forms = [Form::Usual, Form::Other, Form::Without].into_iter();
        let mut left = forms.filter(|form| self.0 & 1 << *form as u8 == 0);
        left.find(|form| has_other || *form != Form::Other)
    }
}

/// The api-versions that something is remembered of; clients name them, so there is an end to it.
const MOST: usize = 16;
/// The longest api-version that something is remembered of.
const LONGEST: usize = 32;

/// What one deployment has shown to take.
#[derive(Clone, Debug, Default)]
pub struct Learned(Vec<Version>);

#[derive(Clone, Debug)]
struct Version {
    name: Box<str>,
    keeps_usage: bool,
    form: Form,
}

impl Learned {
    /// Whether a stream may be asked for its usage.
    pub fn tells_usage(&self, version: &str) -> bool {
        self.find(version).is_none_or(|it| !it.keeps_usage)
    }

    pub fn form(&self, version: &str) -> Form {
        self.find(version).map(|it| it.form).unwrap_or_default()
    }

    /// It serves a stream without the usage that it had refused to tell. Whether that is news.
    pub fn note_usage_kept(&mut self, version: &str) -> bool {
        let entry = self.entry(version);
        entry.is_some_and(|entry| !std::mem::replace(&mut entry.keeps_usage, true))
    }

    /// It serves with the most output said in this form, after it had refused another. Whether that is news.
    pub fn note_form(&mut self, version: &str, form: Form) -> bool {
        let entry = self.entry(version);
        entry.is_some_and(|entry| std::mem::replace(&mut entry.form, form) != form)
    }

    fn find(&self, version: &str) -> Option<&Version> {
        self.0.iter().find(|it| *it.name == *version)
    }

    /// What is remembered longest makes room.
    fn entry(&mut self, version: &str) -> Option<&mut Version> {
        if version.len() > LONGEST {
            return None;
        }
        let at = match self.0.iter().position(|it| *it.name == *version) {
            Some(at) => at,
            None => {
                if self.0.len() == MOST {
                    self.0.remove(0);
                }
                self.0.push(Version {
                    name: version.into(),
                    keeps_usage: false,
                    form: Form::Usual,
                });
                self.0.len() - 1
            }
        };
        self.0.get_mut(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_deployment_takes_is_remembered_by_api_version() {
        let mut learned = Learned::default();
        assert!(learned.tells_usage("2024-02-01"));
        assert!(learned.note_usage_kept("2024-02-01"));
        assert!(!learned.note_usage_kept("2024-02-01"));
        assert!(learned.note_form("", Form::Other));
        assert!(!learned.note_form("", Form::Other));
        assert!(!learned.tells_usage("2024-02-01") && learned.tells_usage(""));
        assert_eq!(learned.form(""), Form::Other);
        assert_eq!(learned.form("2024-02-01"), Form::Usual);
    }

    #[test]
    fn what_clients_name_is_not_remembered_without_end() {
        let mut learned = Learned::default();
        for number in 0..100 {
            learned.note_usage_kept(&number.to_string());
        }
        assert_eq!(learned.0.len(), MOST);
        assert!(!learned.tells_usage("99") && learned.tells_usage("1"));
        assert!(!learned.note_usage_kept(&"x".repeat(LONGEST + 1)));
    }

    #[test]
    fn each_form_is_tried_once() {
        let mut refused = RefusedForms::default();
        assert_eq!(refused.after(Form::Usual, true), Some(Form::Other));
        assert_eq!(refused.after(Form::Other, true), Some(Form::Without));
        assert_eq!(refused.after(Form::Without, true), None);
        let mut refused = RefusedForms::default();
        assert_eq!(refused.after(Form::Usual, false), Some(Form::Without));
        let mut refused = RefusedForms::default();
        assert_eq!(refused.after(Form::Other, true), Some(Form::Usual));
    }
}
