//! What a token says, read strictly: a name said twice, or a time that is none, makes it no token.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::domain::refusal::Rejection;

/// The last second of the year 9999: what is added to a clock must not overflow it.
const LATEST: f64 = 253_402_300_799.0;

/// A JSON object in which no name is said twice, on no level.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    pub fn parse(json: &[u8]) -> Result<Self, Rejection> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let value = Strict.deserialize(&mut reader);
        match (value, reader.end()) {
            (Ok(Value::Object(claims)), Ok(())) => Ok(Self(claims)),
            _ => Err(Rejection::Malformed),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A text; a claim of that name which is none is a bad one.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Rejection> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Rejection::BadClaim),
        }
    }

    /// Seconds since 1970, perhaps with a fraction (RFC 7519, 2).
    pub(super) fn time(&self, name: &str) -> Result<Option<SystemTime>, Rejection> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let seconds = value.as_f64().ok_or(Rejection::BadClaim)?;
        if !(0.0..=LATEST).contains(&seconds) {
            return Err(Rejection::BadClaim);
        }
        let since = Duration::from_secs_f64(seconds);
        Ok(Some(SystemTime::UNIX_EPOCH + since))
    }

    /// `aud`: one, or a list.
    pub(super) fn audiences(&self) -> Result<Vec<&str>, Rejection> {
        match self.0.get("aud") {
            None => Ok(Vec::new()),
            Some(Value::String(one)) => Ok(vec![one]),
            Some(Value::Array(all)) => {
                let texts = all.iter().map(|each| each.as_str());
                texts.collect::<Option<_>>().ok_or(Rejection::BadClaim)
            }
            Some(_) => Err(Rejection::BadClaim),
        }
    }

    /// Whether a claim is this text, or a list that holds it.
    pub(super) fn says(&self, name: &str, value: &str) -> bool {
        let found = match name.strip_prefix('/') {
            None => self.0.get(name),
            Some(path) => {
                let mut steps = path.split('/').map(step);
                let first = steps.next().and_then(|first| self.0.get(&first));
                steps.fold(first, |within, step| within?.get(&step))
            }
        };
        match found {
            Some(Value::String(text)) => text == value,
            Some(Value::Array(all)) => all.iter().any(|each| each.as_str() == Some(value)),
            _ => false,
        }
    }

    pub(super) fn has_scope(&self, scope: &str) -> bool {
        let name = if self.has("scope") { "scope" } else { "scp" };
        match self.0.get(name) {
            Some(Value::String(words)) => words.split(' ').any(|word| word == scope),
            _ => self.says(name, scope),
        }
    }

    /// Whether nobody has signed in to the application that got it. Entra says so in `idtyp`, in v2.0 tokens where the
    /// gateway's registration asks for that claim; else it shows: only a person's token has scopes, and an application's
    /// own is about the application itself.
    pub(super) fn is_app_only(&self) -> bool {
        match self.0.get("idtyp") {
            Some(kind) => kind.as_str() == Some("app") && !self.has("scp"),
            None => {
                let text = |name| self.0.get(name).and_then(Value::as_str);
                let subject = text("sub");
                !self.has("scp") && subject.is_some() && subject == text("oid")
            }
        }
    }

    /// Whether a person has signed in to the application that got it.
    pub(super) fn is_delegated(&self) -> bool {
        let kind = self.0.get("idtyp");
        self.has("scp") && kind.is_none_or(|kind| kind.as_str() == Some("user"))
    }

    /// Entra's word for groups that were too many: it only says where to ask for them.
    pub(super) fn leaves_groups_out(&self) -> bool {
        let elsewhere = self.0.get("_claim_names");
        self.has("hasgroups") || elsewhere.is_some_and(|names| names.get("groups").is_some())
    }
}

/// One step of a path (RFC 6901, 4).
fn step(written: &str) -> String {
    written.replace("~1", "/").replace("~0", "~")
}

/// Reads any JSON; an object with a name twice is an error. How deep it may be nested is bounded by `serde_json`.
#[derive(Clone, Copy)]
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Self)?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a name is there twice"));
            }
        }
        Ok(Value::Object(map))
    }
}
