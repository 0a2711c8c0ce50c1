//! What is told: lines of JSON for programs, a table for people.

use serde_json::json;
use std::io::Write;

/// A measured number and what it is held against.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) bench: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    pub(crate) reference: f64,
    pub(crate) reference_name: String,
    pub(crate) wanted: Wanted,
}

/// What is wanted of a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    /// It is told and not judged.
    Nothing,
    RatioAtLeast(f64),
    RatioAtMost(f64),
    AtLeast(f64),
    AtMost(f64),
}

impl Figure {
    fn ratio(&self) -> f64 {
        self.ours / self.reference
    }

    /// Prints the line now, so that a run that is broken off has told what it knew.
    pub(crate) fn tell(&self) -> std::io::Result<()> {
        let line = json!({
            "bench": self.bench,
            "unit": self.unit,
            "ours": rounded(self.ours),
            "reference": rounded(self.reference),
            "reference_name": self.reference_name,
            "ratio": rounded(self.ratio()),
        });
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }

    /// Whether it is as wanted, and what that is in words.
    fn judged(&self) -> (&'static str, String) {
        let (met, wanted) = match self.wanted {
            Wanted::Nothing => return ("", String::new()),
            Wanted::RatioAtLeast(bound) => (self.ratio() >= bound, format!("ratio >= {bound}")),
            Wanted::RatioAtMost(bound) => (self.ratio() <= bound, format!("ratio <= {bound}")),
            Wanted::AtLeast(bound) => (self.ours >= bound, format!(">= {bound}")),
            Wanted::AtMost(bound) => (self.ours <= bound, format!("<= {bound}")),
        };
        (if met { "met" } else { "MISSED" }, wanted)
    }
}

/// Four significant digits: more is noise.
fn rounded(value: f64) -> serde_json::Value {
    let digits = 3 - value.abs().max(1e-9).log10().floor() as i32;
    let scale = 10f64.powi(digits.clamp(0, 9));
    let value = (value * scale).round() / scale;
    if digits <= 0 { json!(value as i64) } else { json!(value) }
}

/// The table, on standard error.
pub(crate) fn tabulate(figures: &[Figure]) {
    let mut table = format!(
        "\n{:<18} {:>12} {:>12} {:>8}  {:<14} {:<7} {}\n",
        "bench", "ours", "reference", "ratio", "wanted", "", "unit; reference"
    );
    for figure in figures {
        let (verdict, wanted) = figure.judged();
        let show = |value| rounded(value).to_string();
        table.push_str(&format!(
            "{:<18} {:>12} {:>12} {:>8}  {:<14} {:<7} {}; {}\n",
            figure.bench,
            show(figure.ours),
            show(figure.reference),
            show(figure.ratio()),
            wanted,
            verdict,
            figure.unit,
            figure.reference_name
        ));
    }
    eprint!("{table}");
}
