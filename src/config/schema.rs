//! The config's JSON Schema, for editors and for files made by other programs.

use schemars::{
    Schema,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform},
};
use serde_json::{Value, json};

use super::raw;

/// JSON Schema (2020-12) of a config file.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<raw::Config>();
    RecursiveTransform(without_null).transform(&mut schema);
    schema.insert("title".into(), json!("Forebay"));
    schema.to_value()
}

/// A field that may be left out may still not be empty, where schemars lets an `Option` be null.
fn without_null(schema: &mut Schema) {
    let null = json!("null");
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| *name != null);
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(mut any)) = schema.remove("anyOf") {
        any.retain(|one| one.get("type") != Some(&null));
        match any.pop() {
            Some(Value::Object(only)) if any.is_empty() => {
                only.into_iter()
                    .for_each(|(name, value)| drop(schema.insert(name, value)));
            }
            last => {
                any.extend(last);
                schema.insert("anyOf".into(), any.into());
            }
        }
    }
}
