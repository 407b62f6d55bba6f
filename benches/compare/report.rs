//! The sheet as a table to read, and as JSON.

use std::{fs, time::SystemTime};

use serde_json::{Value, json};

use crate::{
    Result,
    contender::Kind,
    machine::{self, Cores},
    sheet::{Column, Sheet, Target},
};

/// When and where: belongs beside every figure.
pub(crate) fn opening(cores: &Cores) -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now());
    format!("{now}, {}; {}", machine::words(cores), cores.describe())
}

/// Medians of the rounds, in Markdown; ratios with their least and most.
pub(crate) fn table(sheet: &Sheet, kinds: &[Kind]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let mut table = format!("| | {} | forebay/pingora | target | |\n", names.join(" | "));
    table += &format!("|{}\n", " --- |".repeat(kinds.len() + 4));
    for column in Column::ALL {
        if kinds
            .iter()
            .all(|kind| sheet.spread(column, *kind).is_none())
        {
            continue;
        }
        table += &format!("| {} |", column.title());
        for kind in kinds {
            let figure = sheet.spread(column, *kind);
            let figure = figure.map_or("–".into(), |figure| rounded(figure.median));
            table += &format!(" {figure} |");
        }
        let ratio = sheet.ratio(column).filter(|ratio| ratio.median.is_finite());
        let ratio = ratio.map_or("–".into(), |ratio| {
            format!(
                "{:.2} ({:.2} to {:.2})",
                ratio.median, ratio.least, ratio.most
            )
        });
        let verdict = sheet.is_met(column);
        let verdict = verdict.map_or("–", |met| if met { "met" } else { "not met" });
        table += &format!(" {ratio} | {} | {verdict} |\n", wanted(column));
    }
    table
}

pub(crate) fn write_json(file: &str, opening: &str, sheet: &Sheet, kinds: &[Kind]) -> Result<()> {
    let row = |column: Column| {
        let figures = kinds.iter().filter_map(|kind| {
            let spread = sheet.spread(column, *kind)?;
            let figure = json!({"median": spread.median, "least": spread.least, "most": spread.most,
                "rounds": sheet.rounds(column, *kind)});
            Some((kind.name().to_owned(), figure))
        });
        let ratio = sheet
            .ratio(column)
            .map(|ratio| json!({"median": ratio.median, "least": ratio.least, "most": ratio.most}));
        json!({"figure": column.title(), "of": figures.collect::<serde_json::Map<String, Value>>(), "forebay_to_pingora": ratio,
            "target": wanted(column), "met": sheet.is_met(column)})
    };
    let rows: Vec<Value> = Column::ALL.into_iter().map(row).collect();
    let all = json!({"measured": opening, "rows": rows, "notes": sheet.notes});
    Ok(fs::write(file, serde_json::to_vec_pretty(&all)?)?)
}

fn wanted(column: Column) -> String {
    match column.target() {
        Target::AtMost(most) => format!("≤ {most}"),
        Target::AtLeast(least) => format!("≥ {least}"),
        Target::TimesBare(times) => format!("≤ {times:.2} × pingora"),
        Target::OverBare(more) => format!("≤ pingora + {more}"),
        Target::TimesOwn(other, times) => format!("≤ {times:.2} × its {}", other.title()),
    }
}

/// To three digits that mean something.
fn rounded(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}
