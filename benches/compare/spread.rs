//! What several measurements of the same say together.

/// Least, middle and most of some figures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let (lower, upper) = ((figures.len() - 1) / 2, figures.len() / 2);
        let median = f64::midpoint(figures[lower], figures[upper]);
        Some(Self {
            least,
            median,
            most,
        })
    }
}
