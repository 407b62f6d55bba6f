//! Lines over a growing quantity, as an SVG: both axes in powers of ten, so that what is flat looks flat and what is in
//! proportion goes up by 45°.

use std::fmt::Write;

/// One contender's costs, smallest quantity first.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// One quantity.
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) lines: Vec<Line>,
}

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
/// Room for titles and numbers around the lines.
const EDGE: f64 = 60.0;
const COLOURS: [&str; 2] = ["#1f6feb", "#8c959f"];

/// All panels, one under the other.
pub(crate) fn draw(caption: &str, panels: &[Panel]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<title>{caption}</title>\n",
        HEIGHT * panels.len() as f64
    );
    for (number, panel) in panels.iter().enumerate() {
        let _ = writeln!(
            svg,
            "<g transform=\"translate(0 {})\">",
            HEIGHT * number as f64
        );
        panel.draw(&mut svg);
        svg += "</g>\n";
    }
    svg + "</svg>\n"
}

impl Panel {
    fn draw(&self, svg: &mut String) {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let across = Axis::over(all().map(|(x, _)| *x), EDGE, WIDTH - EDGE);
        let up = Axis::over(all().map(|(_, y)| *y), HEIGHT - EDGE, EDGE / 2.0);
        let (left, bottom) = (EDGE, HEIGHT - EDGE);
        text(
            svg,
            WIDTH / 2.0,
            16.0,
            "middle",
            &format!("µs CPU a request, by {}", self.title),
        );
        for (value, y) in up.marks() {
            let _ = writeln!(
                svg,
                "<path d=\"M{left} {y}H{}\" stroke=\"#d0d7de\"/>",
                WIDTH - EDGE
            );
            text(svg, left - 6.0, y + 4.0, "end", &value.to_string());
        }
        for (value, x) in across.marks() {
            text(svg, x, bottom + 16.0, "middle", &value.to_string());
        }
        for (line, colour) in self.lines.iter().zip(COLOURS) {
            let places: Vec<(f64, f64)> = line
                .points
                .iter()
                .map(|(x, y)| (across.place(*x), up.place(*y)))
                .collect();
            let path: Vec<String> = places
                .iter()
                .map(|(x, y)| format!("{x:.1},{y:.1}"))
                .collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            );
            for ((x, y), (_, cost)) in places.iter().zip(&line.points) {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
                );
                text(svg, *x, y - 7.0, "middle", &format!("{cost:.1}"));
            }
            if let Some((x, y)) = places.last() {
                text(svg, x + 6.0, y + 14.0, "middle", line.name);
            }
        }
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

/// Whole powers of ten, spread over a length.
struct Axis {
    least: i32,
    most: i32,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let powers: Vec<f64> = values
            .filter(|value| *value > 0.0)
            .map(f64::log10)
            .collect();
        let least = powers.iter().copied().fold(f64::INFINITY, f64::min);
        let most = powers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (least, most) = if powers.is_empty() {
            (0.0, 1.0)
        } else {
            (least, most)
        };
        let least = least.floor() as i32;
        Self {
            least,
            most: (most.ceil() as i32).max(least + 1),
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.max(f64::MIN_POSITIVE).log10() - f64::from(self.least))
            / f64::from(self.most - self.least);
        self.from + (self.to - self.from) * share
    }

    fn marks(&self) -> impl Iterator<Item = (f64, f64)> {
        (self.least..=self.most).map(|power| (10f64.powi(power), self.place(10f64.powi(power))))
    }
}
