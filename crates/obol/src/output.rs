//! Tables for people, JSON for programs.

use crate::exit::{Exit, Failure};
use clap::ValueEnum;
use std::{
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

/// A table whose columns are as wide as what is in them.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(header: [&str; N]) -> Self {
        Self { rows: vec![header.map(str::to_owned).to_vec()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, row: [String; N]) {
        self.rows.push(row.to_vec());
    }

    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// JSON for people: the settings in force, or a schema.
pub(crate) fn pretty(shown: &serde_json::Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(shown)
        .map_err(|error| Failure::failed(format!("cannot show the result: {error}")))?;
    print(&format!("{text}\n"));
    Ok(())
}

/// Writes to standard output. A reader that has gone, as `head` does, is no error.
pub(crate) fn print(text: &str) {
    print_bytes(text.as_bytes());
}

/// As [`print()`], of what need not be text.
pub(crate) fn print_bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(bytes).and_then(|()| out.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        eprintln!("obol: cannot write the result: {error}");
        std::process::exit(Exit::Failed as i32);
    }
}

/// One JSON document on one line, of a form that `obol schema` tells.
pub(crate) fn print_json(value: &(impl serde::Serialize + schemars::JsonSchema)) {
    match serde_json::to_string(value) {
        Ok(json) => print(&format!("{json}\n")),
        Err(error) => eprintln!("obol: cannot show the result: {error}"),
    }
}

/// How this program was called, for commands that can be pasted.
pub(crate) fn this_command() -> String {
    std::env::args().next().unwrap_or_else(|| "obol".to_owned())
}

/// How many payments, in words.
pub(crate) fn payments(count: impl std::fmt::Display) -> String {
    match count.to_string().as_str() {
        "1" => "one payment".to_owned(),
        some => format!("{some} payments"),
    }
}

/// Seconds since the Unix epoch as people write it, in UTC.
pub(crate) fn time(seconds: i64) -> String {
    moment(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// The same of a moment.
pub(crate) fn moment(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

/// The second that a moment is in.
pub(crate) fn second(at: SystemTime) -> SystemTime {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["ID", "OFFER"]);
        table.row(["1".to_owned(), "demo/hello".to_owned()]);
        table.row(["100".to_owned(), "x".to_owned()]);
        assert_eq!(table.render(), "ID   OFFER\n1    demo/hello\n100  x\n");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(1_795_531_619), "2026-11-24T14:46:59Z");
    }
}
