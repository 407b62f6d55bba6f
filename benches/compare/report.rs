//! Figures as lines to read.

use std::time::{Duration, SystemTime};

use crate::{
    Result,
    chat::Case,
    contender::Contender,
    machine::{self, Cores},
};

/// What one contender's turn took.
pub(crate) struct Turn {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

/// Least, middle and most of some figures.
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
        let (upper, lower) = (figures.len() / 2, figures.len().saturating_sub(1) / 2);
        Self {
            least: at(0),
            median: f64::midpoint(at(lower), at(upper)),
            most: at(figures.len().saturating_sub(1)),
        }
    }
}

pub(crate) fn opening(cores: &Cores) {
    let now = humantime::format_rfc3339_seconds(SystemTime::now());
    println!("{now}, {}", machine::words(cores));
    println!("{}", cores.describe());
}

pub(crate) fn starts(times: &[Duration]) {
    let spread = Spread::of(times.iter().map(Duration::as_secs_f64));
    println!(
        "\nforebay, from start to the first answered chat, {} starts: {:.3} s (from {:.3} to {:.3}; wall time)",
        times.len(),
        spread.median,
        spread.least,
        spread.most
    );
}

pub(crate) fn memory(when: &str, contenders: &[Contender]) -> Result<()> {
    let mut line = format!("\nresident memory, {when}:");
    for contender in contenders {
        line += &format!(
            " {} {:.1} MiB",
            contender.name,
            contender.process.resident()?
        );
    }
    println!("{line}");
    Ok(())
}

/// One line for each contender, and one for each ratio. The first contender is what the others are compared to.
pub(crate) fn case(case: &Case, names: &[&str], rounds: &[Vec<Turn>]) {
    println!(
        "\n{}: {} rounds of {} requests",
        case.name,
        rounds.len(),
        case.requests
    );
    let of = |index: usize| rounds.iter().filter_map(move |turns| turns.get(index));
    let each = |turn: &Turn| turn.cpu.as_secs_f64() * 1e6 / case.requests as f64;
    for (index, name) in names.iter().enumerate() {
        let cost = Spread::of(of(index).map(each));
        let rate = Spread::of(of(index).map(|turn| case.requests as f64 / turn.wall.as_secs_f64()));
        let busy =
            Spread::of(of(index).map(|turn| turn.cpu.as_secs_f64() / turn.wall.as_secs_f64()));
        let part = case.part.map_or_else(String::new, |(part, count)| {
            format!(", {:.1} a {part}", cost.median / count)
        });
        println!(
            "  {name:<8} {:>7.1} µs CPU a request ({:.1} to {:.1}){part}; {:.0} requests/s, its core {:.0} % busy",
            cost.median,
            cost.least,
            cost.most,
            rate.median,
            busy.median * 100.0
        );
    }
    for (index, name) in names.iter().enumerate().skip(1) {
        let ratio = Spread::of(
            of(0)
                .zip(of(index))
                .map(|(ours, theirs)| each(ours) / each(theirs)),
        );
        println!(
            "  {}/{name} {:.2} ({:.2} to {:.2})",
            names[0], ratio.median, ratio.least, ratio.most
        );
    }
}
