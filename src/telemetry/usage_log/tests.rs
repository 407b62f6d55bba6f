//! What a usage record says, and that its schema and `conf/prometheus/README.md` say the same.

use std::{collections::HashMap, time::Duration};

use serde_json::{Map, json};

use super::*;
use crate::{
    domain::{
        deployment::{Capacity, Priority},
        price::{Currency, ModelPrices, Price, Prices, Rates, Served},
    },
    telemetry::record::{AnswerEnd, tests::record},
};

fn text(record: Record) -> String {
    let mut text = Vec::new();
    Lines.append(&Arc::new(record), &mut text);
    String::from_utf8(text).unwrap()
}

fn line(record: Record) -> Value {
    let text = text(record);
    assert!(text.ends_with("}\n") && text.matches('\n').count() == 1);
    serde_json::from_str(&text).unwrap()
}

/// What the record would cost if input were 2.50 and output 10.
fn cost(record: &Record) -> Cost {
    let price = |text| Price::parse(text).unwrap();
    let standard = Rates {
        input: price("2.50"),
        cached: price("1.25"),
        output: price("10"),
        reasoning: price("10"),
        ..Rates::default()
    };
    let model = ModelPrices {
        standard,
        ..ModelPrices::default()
    };
    let prices = Prices {
        currency: Currency::parse("EUR").unwrap(),
        models: HashMap::from([("gpt-4o".into(), model)]),
    };
    let served = Served {
        capacity: Capacity::Standard,
        is_spilled: false,
    };
    let usage = record.usage.unwrap();
    prices.cost(&"gpt-4o".into(), served, &usage).unwrap()
}

#[test]
fn a_record_is_one_flat_line() {
    let mut record = record();
    record.cost = Some(cost(&record));
    record.attempts[0].may_be_billed = true;
    record.attempts[1].capacity = Capacity::Provisioned;
    record.attempts[1].priority = Priority::new(2).unwrap();
    record.attempts[1].spilled_to = Some("gpt-4o-std".into());
    let told = json!({
        "schema_version": 1, "time": "2023-11-14T22:13:20.123Z", "request_id": "r-1", "client": "app", "model": "gpt-4o",
        "model_version": "2024-11-20", "operation": "chat", "stream": true, "status": 200, "end": "complete", "refusal": null,
        "instance": "west", "deployment": "gpt-4o", "deployment_type": "provisioned", "priority": 2, "spilled_to": "gpt-4o-std",
        "attempts": 2, "maybe_billed_attempts": 1, "service_tier": null,
        "input_tokens": 30, "cached_tokens": 10, "audio_input_tokens": 0,
        "output_tokens": 12, "reasoning_tokens": 4, "audio_output_tokens": 0, "estimated": false,
        "cost": "0.0001825", "currency": "EUR", "request_bytes": 1024, "response_bytes": 2048,
        "first_byte_ms": 41.5, "duration_ms": 900.0, "overhead_ms": 0.12,
    });
    assert_eq!(line(record), told);
}

/// One that was refused before any attempt, and the fullest one.
fn extremes() -> [Value; 2] {
    let mut bare = record();
    (bare.attempts, bare.usage, bare.status) = (Vec::new(), None, None);
    (bare.model_version, bare.end) = (None, AnswerEnd::ClientLeft);
    (bare.time_to_first_byte, bare.overhead) = (None, None);
    let mut full = record();
    full.cost = Some(cost(&full));
    full.duration = Duration::from_micros(1);
    full.refusal = Some("throttled");
    full.attempts[1].spilled_to = Some("x".into());
    if let Some(usage) = &mut full.usage {
        (usage.input, usage.tier) = (u64::MAX, Some(Tier::Flex));
    }
    [line(bare), line(full)]
}

#[test]
fn columns_are_never_missing_and_of_the_types_that_the_schema_says() {
    let schema = schema();
    let properties = schema["properties"].as_object().unwrap();
    let required: Vec<&str> = names(&schema["required"]);
    assert_eq!(required.len(), properties.len(), "{schema}");
    for record in extremes() {
        let record = record.as_object().unwrap();
        assert!(record.keys().eq(properties.keys()), "{record:?}");
        for (name, value) in record {
            assert!(fits(value, &properties[name]), "{name}: {value}");
        }
    }
}

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap();
    list.iter().map(|name| name.as_str().unwrap()).collect()
}

fn fits(value: &Value, property: &Value) -> bool {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        _ => "nested",
    };
    let types = &property["type"];
    let is_type = types == kind || types.is_array() && names(types).contains(&kind);
    is_type && (property["enum"].is_null() || property["enum"].as_array().unwrap().contains(value))
}

#[test]
fn the_page_names_every_column_in_its_order_with_its_type() {
    let page = include_str!("../../../conf/prometheus/README.md");
    let (_, table) = page.split_once("| usage record |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let mut told = Vec::new();
    for row in table.lines().skip(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let kind = cells[2].split(',').next().unwrap();
        told.extend(
            cells[1]
                .split('`')
                .skip(1)
                .step_by(2)
                .map(|name| (name.to_owned(), kind.to_owned())),
        );
    }
    let schema = schema();
    let properties: &Map<String, Value> = schema["properties"].as_object().unwrap();
    let columns = properties.iter().map(|(name, property)| {
        let types = match &property["type"] {
            Value::String(only) => only.clone(),
            several => names(several).join(" or "),
        };
        (name.clone(), types)
    });
    let line = text(record());
    let places: Vec<_> = told
        .iter()
        .map(|(name, _)| line.find(&format!("\"{name}\":")))
        .collect();
    assert!(places.is_sorted(), "the page's order is the line's");
    told.sort();
    assert_eq!(told, columns.collect::<Vec<_>>());
}

#[test]
fn what_concerns_nobodys_bill_has_no_record() {
    let (mut unknown, mut elsewhere) = (record(), record());
    (unknown.client, elsewhere.model) = (None, None);
    assert!(concerns(&record()) && !concerns(&unknown) && !concerns(&elsewhere));
}
