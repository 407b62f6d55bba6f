//! Attributes in the protocol's own shape.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};

/// A list of attributes under way.
#[derive(Default)]
pub(super) struct Attributes(pub(super) Vec<KeyValue>);

impl Attributes {
    pub(super) fn text(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        self.add(key, Value::StringValue(value.into()))
    }

    /// Only where there is one.
    pub(super) fn some_text(&mut self, key: &str, value: Option<impl Into<String>>) -> &mut Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    pub(super) fn number(&mut self, key: &str, value: impl TryInto<i64>) -> &mut Self {
        self.add(key, Value::IntValue(value.try_into().unwrap_or(i64::MAX)))
    }

    pub(super) fn flag(&mut self, key: &str, value: bool) -> &mut Self {
        self.add(key, Value::BoolValue(value))
    }

    pub(super) fn real(&mut self, key: &str, value: f64) -> &mut Self {
        self.add(key, Value::DoubleValue(value))
    }

    fn add(&mut self, key: &str, value: Value) -> &mut Self {
        self.0.push(KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
        self
    }
}
