//! The lines of a text, of which one changes. Whoever changes one reads the text again to see that it
//! means what it should: what stands here goes by how people write, not by all that YAML allows.

use crate::node::{Node, Value};
use std::ops::Range;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    json: bool,
}

impl<'a> Lines<'a> {
    pub(crate) const fn of(text: &'a str, json: bool) -> Self {
        Self { text, json }
    }

    pub(crate) fn name(&self, name: &str) -> String {
        if self.json { format!("\"{name}\"") } else { name.to_owned() }
    }

    /// `name: "value"`.
    pub(crate) fn entry(&self, name: &str, value: &str) -> String {
        format!("{}: \"{value}\"", self.name(name))
    }

    /// Gives the field that stands in this line another value. A comment after it stays.
    pub(crate) fn set(&self, number: u32, name: &str, value: &str) -> Option<String> {
        self.replace(number, |line| {
            let Range { start, end } = value_of(line, name)?;
            let space = if line[..start].ends_with(':') { " " } else { "" };
            Some(format!("{}{space}\"{value}\"{}", &line[..start], &line[end..]))
        })
    }

    /// Takes out the field that stands in this line, and the line when nothing else does.
    pub(crate) fn remove(&self, number: u32, name: &str) -> Option<String> {
        self.replace(number, |line| {
            let end = value_of(line, name)?.end;
            let start = line[..line.find(name)?].trim_end_matches(['"', '\'']).len();
            let (before, after) = (&line[..start], line[end..].trim_start());
            if before.trim().is_empty() && (after.is_empty() || after.starts_with('#')) {
                return Some(String::new());
            }
            let after = match after.strip_prefix(',') {
                Some(after) => after.trim_start_matches(' '),
                // It was the last.
                None => return Some(format!("{}{}", before.trim_end().trim_end_matches(','), &line[end..])),
            };
            Some(format!("{before}{after}"))
        })
    }

    /// Makes it the first entry of the map that stands under `key` at this line.
    pub(crate) fn insert(&self, line: u32, key: &str, map: &Node, entry: &str) -> Option<String> {
        let written = self.line(line)?;
        let value = &written[written.find(key)? + key.len()..];
        // Behind the key's end, and perhaps an anchor's or a tag's name, which are left to people.
        let value = value.trim_start_matches(['"', '\'']).trim_start().strip_prefix(':')?.trim_start();
        if let Some(rest) = value.strip_prefix('{') {
            let comma =
                if matches!(&map.value, Value::Map(entries) if entries.is_empty()) { "" } else { ", " };
            return self.replace(line, |line| {
                let head = &line[..line.len() - rest.len()];
                Some(format!("{head}{entry}{comma}{rest}"))
            });
        }
        let (before, indent) = match &map.value {
            Value::Map(entries) => {
                let first = entries.first()?.0.line;
                (first, indent(self.line(first)?).to_owned())
            }
            Value::Null => (line + 1, format!("{}  ", indent(written))),
            _ => return None,
        };
        self.insert_line(before, &format!("{indent}{entry}"))
    }

    /// Lines are counted from one.
    fn line(&self, number: u32) -> Option<&str> {
        self.text.split_inclusive('\n').nth(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    fn replace(&self, number: u32, change: impl FnOnce(&str) -> Option<String>) -> Option<String> {
        let line = self.line(number)?;
        let start = self.start(number)?;
        Some(format!("{}{}{}", &self.text[..start], change(line)?, &self.text[start + line.len()..]))
    }

    /// Puts a line of its own before this one.
    pub(crate) fn insert_line(&self, before: u32, line: &str) -> Option<String> {
        let start = self.start(before)?;
        let (head, rest) = self.text.split_at(start);
        let ends = if head.is_empty() || head.ends_with('\n') { "" } else { "\n" };
        // As the other lines of the file end.
        let end = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
        Some(format!("{head}{ends}{line}{end}{rest}"))
    }

    /// Where a line begins, which may be the end of the text.
    fn start(&self, number: u32) -> Option<usize> {
        let before = usize::try_from(number.checked_sub(1)?).ok()?;
        Some(self.text.split_inclusive('\n').take(before).map(str::len).sum())
    }
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start_matches(' ').len()]
}

/// Where the value of a field stands in its line.
fn value_of(line: &str, name: &str) -> Option<Range<usize>> {
    let rest = &line[line.find(name)? + name.len()..];
    let rest = rest.trim_start_matches(['"', '\'']).trim_start().strip_prefix(':')?.trim_start_matches(' ');
    let length = match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => rest[1..].find(quote)? + 2,
        _ => {
            let ends = rest.find([',', '}', '\r', '\n']).unwrap_or(rest.len());
            let plain = &rest[..ends];
            plain.find(" #").map_or(plain, |comment| &plain[..comment]).trim_end().len()
        }
    };
    let start = line.len() - rest.len();
    Some(start..start + length)
}
