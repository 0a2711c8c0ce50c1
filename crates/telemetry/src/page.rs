//! One scrape, as text.

use crate::{Family, Histogram, Labels, Value};
use std::fmt::Write;

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long a piece of a page is, or a little longer: whole lines.
const PIECE: usize = 64 * 1024;

/// Room behind it for a line: most need no more.
const LINE: usize = 1_024;

/// What a scrape is answered with. Writing to it cannot fail: it grows, by pieces, so that it can be let go
/// of as it is sent.
#[derive(Debug, Default)]
pub struct Page {
    pieces: Vec<String>,
    text: String,
}

/// The samples of one family.
#[derive(Debug)]
pub struct Samples<'p> {
    page: &'p mut Page,
    name: &'static str,
}

impl Page {
    /// Begins a family: each once, with all its samples.
    pub fn family(&mut self, family: &Family) -> Samples<'_> {
        let Family { name, kind, help, .. } = *family;
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str());
        Samples { page: self, name }
    }

    pub fn into_pieces(mut self) -> Vec<String> {
        self.pieces.push(self.text);
        self.pieces
    }

    fn end_line(&mut self) {
        self.text.push('\n');
        if self.text.len() >= PIECE {
            let next = String::with_capacity(PIECE + LINE);
            self.pieces.push(std::mem::replace(&mut self.text, next));
        }
    }
}

impl Samples<'_> {
    pub fn add(&mut self, labels: &Labels, value: impl Into<Value>) {
        self.sample("", labels.as_str(), "", value);
    }

    /// A sample without labels.
    pub fn alone(&mut self, value: impl Into<Value>) {
        self.sample("", "", "", value);
    }

    /// A sample with further labels behind those of its series.
    pub fn add_with(&mut self, labels: &Labels, more: &Labels, value: impl Into<Value>) {
        self.sample("", labels.as_str(), more.as_str(), value);
    }

    pub fn histogram(&mut self, labels: &Labels, histogram: &Histogram) {
        let mut count = 0;
        for (bound, so_far) in histogram.cumulative() {
            let bound = match bound {
                Some(millis) => format!("le=\"{}\"", thousandths(millis)),
                None => "le=\"+Inf\"".to_owned(),
            };
            self.sample("_bucket", labels.as_str(), &bound, so_far);
            count = so_far;
        }
        let micros = histogram.sum();
        let sum = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        self.sample("_sum", labels.as_str(), "", sum);
        self.sample("_count", labels.as_str(), "", count);
    }

    fn sample(&mut self, suffix: &str, labels: &str, more: &str, value: impl Into<Value>) {
        let text = &mut self.page.text;
        text.push_str(self.name);
        text.push_str(suffix);
        if !labels.is_empty() || !more.is_empty() {
            text.push('{');
            text.push_str(labels);
            if !labels.is_empty() && !more.is_empty() {
                text.push(',');
            }
            text.push_str(more);
            text.push('}');
        }
        text.push(' ');
        value.into().write(text);
        self.page.end_line();
    }
}

/// As a number without trailing zeros: bounds are compared as text.
fn thousandths(number: u64) -> String {
    let (whole, rest) = (number / 1_000, number % 1_000);
    let text = format!("{whole}.{rest:03}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use std::time::Duration;

    const SALES: Family =
        Family { name: "sales_total", kind: Kind::Counter, labels: &["offer"], help: "Sales." };
    const WAIT: Family =
        Family { name: "wait_seconds", kind: Kind::Histogram, labels: &[], help: "Waiting." };

    #[test]
    fn families_are_written_as_the_format_asks() {
        let mut page = Page::default();
        let hello = Labels::new([("offer", "hello")]);
        let mut sales = page.family(&SALES);
        sales.add(&hello, 2u64);
        sales.add_with(&hello, &Labels::new([("reason", "expired")]), 1u64);
        sales.alone(3u64);
        assert_eq!(
            page.into_pieces().concat(),
            "# HELP sales_total Sales.\n# TYPE sales_total counter\nsales_total{offer=\"hello\"} 2\n\
             sales_total{offer=\"hello\",reason=\"expired\"} 1\nsales_total 3\n"
        );
    }

    #[test]
    fn a_long_page_comes_in_pieces_of_whole_lines() {
        let mut page = Page::default();
        let mut sales = page.family(&SALES);
        let line = "sales_total{offer=\"hello\"} 7\n";
        for _ in 0..3 * PIECE / line.len() {
            sales.add(&Labels::new([("offer", "hello")]), 7u64);
        }
        let pieces = page.into_pieces();
        assert_eq!(pieces.len(), 4);
        assert!(pieces.iter().take(3).all(|piece| piece.ends_with('\n') && piece.len() < PIECE + LINE));
        assert_eq!(pieces.concat().matches(line).count(), 3 * PIECE / line.len());
    }

    #[test]
    fn a_histogram_counts_each_wait_in_every_bucket_that_is_as_long() {
        let histogram = Histogram::default();
        for millis in [1, 3, 2_500, 70_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let mut page = Page::default();
        page.family(&WAIT).histogram(&Labels::default(), &histogram);
        let text = page.into_pieces().concat();
        for line in [
            "wait_seconds_bucket{le=\"0.001\"} 1",
            "wait_seconds_bucket{le=\"0.005\"} 2",
            "wait_seconds_bucket{le=\"1\"} 2",
            "wait_seconds_bucket{le=\"2.5\"} 3",
            "wait_seconds_bucket{le=\"60\"} 3",
            "wait_seconds_bucket{le=\"+Inf\"} 4",
            "wait_seconds_sum 72.504000",
            "wait_seconds_count 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
