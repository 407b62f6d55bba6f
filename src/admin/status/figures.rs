//! Rounding of the figures in `/status`.

/// To thousandths: more is noise, and makes a page hard to read.
pub(super) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
