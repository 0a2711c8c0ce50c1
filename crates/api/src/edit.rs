//! Changes to manifests that people wrote: one line is changed, and everything else stays as it is,
//! comments and order too.

use crate::{
    document,
    folder::Limits,
    node::{Node, Value},
    offer::PAUSED,
};
use obol_core::{Offer, OfferId, Registry};
use std::{path::Path, sync::Arc};

/// Why a text was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    #[error("it has no offer {0} that can be read")]
    NotThere(OfferId),
    /// Changed by rule, it would not mean what it should.
    #[error(
        "it is written in a way that is not changed by itself; write obol.org/paused: \"{paused}\" into metadata.annotations at line {line} yourself"
    )]
    Unclear { line: u32, paused: bool },
    #[error("the document at line {line} cannot be taken out without changing others; take it out yourself")]
    Tangled { line: u32 },
}

/// `text` with this offer paused, or not. What it gives then is compared with what it gave before:
/// nothing else changes.
pub fn set_paused(
    text: &str,
    file: &Path,
    (id, paused): (&OfferId, bool),
    (registry, limits): (&Registry, &Limits),
) -> Result<String, EditError> {
    let offers = |text| document::parse(text, file, registry, limits);
    let before = offers(text);
    let Some(at) = before.offers.iter().position(|offer| offer.id == *id) else {
        return Err(EditError::NotThere(id.clone()));
    };
    if before.offers[at].paused == paused {
        return Ok(text.to_owned());
    }
    let (line, changed) = changed(text, id, paused).ok_or_else(|| EditError::NotThere(id.clone()))?;
    let mut wanted = before.clone();
    wanted.offers[at] = Arc::new(Offer { paused, ..Offer::clone(&before.offers[at]) });
    let after = changed.as_deref().map(offers);
    match (changed, after) {
        (Some(changed), Some(after))
            if after.offers == wanted.offers && after.faults.len() == wanted.faults.len() =>
        {
            Ok(changed)
        }
        _ => Err(EditError::Unclear { line, paused }),
    }
}

/// A text without one of its offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// None when nothing else was in it.
    pub rest: Option<String>,
    pub document: String,
}

/// Takes an offer's document out of a text. The other documents stay as they are.
pub fn remove(
    text: &str,
    file: &Path,
    id: &OfferId,
    (registry, limits): (&Registry, &Limits),
) -> Result<Removed, EditError> {
    let offers = |text: &str| document::parse(text, file, registry, limits).offers;
    let parts = document::split(text);
    let is_it = |(line, part): &(u32, &str)| {
        Node::parse(part, *line).is_ok_and(|root| document::identity(&root).0.as_ref() == Some(id))
    };
    let at = parts.iter().position(is_it).ok_or_else(|| EditError::NotThere(id.clone()))?;
    let rest: String =
        parts.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, (_, part))| *part).collect();
    let document = parts[at].1.to_owned();
    let mut wanted = offers(text);
    wanted.retain(|offer| offer.id != *id);
    let alone = parts
        .iter()
        .enumerate()
        .all(|(n, (line, part))| n == at || Node::parse(part, *line).is_ok_and(|root| root.is_null()));
    match (alone, offers(&rest) == wanted) {
        (true, _) => Ok(Removed { rest: None, document }),
        (false, true) => Ok(Removed { rest: Some(rest), document }),
        (false, false) => Err(EditError::Tangled { line: parts[at].0 }),
    }
}

/// The line of the offer's metadata, and the text that is probably meant.
fn changed(text: &str, id: &OfferId, paused: bool) -> Option<(u32, Option<String>)> {
    for (line, part) in document::split(text) {
        let Ok(root) = Node::parse(part, line) else { continue };
        if document::identity(&root).0.as_ref() == Some(id) {
            let (line, metadata) = root.get("metadata")?;
            let json = part.trim_start().starts_with('{');
            return Some((line, Lines { text, json }.annotate(line, metadata, paused)));
        }
    }
    None
}

struct Lines<'a> {
    text: &'a str,
    json: bool,
}

impl Lines<'_> {
    fn annotate(&self, line: u32, metadata: &Node, paused: bool) -> Option<String> {
        let entry = format!("{}: \"{paused}\"", self.name(PAUSED));
        match metadata.get("annotations") {
            Some((_, annotations)) if annotations.get(PAUSED).is_some() => {
                let (line, _) = annotations.get(PAUSED)?;
                self.replace(line, |line| with_value(line, paused))
            }
            Some((line, annotations)) => self.insert(line, "annotations", annotations, &entry),
            None => {
                self.insert(line, "metadata", metadata, &format!("{}: {{{entry}}}", self.name("annotations")))
            }
        }
    }

    fn name(&self, name: &str) -> String {
        if self.json { format!("\"{name}\"") } else { name.to_owned() }
    }

    /// Makes it the first entry of the map that stands under `key` at this line.
    fn insert(&self, line: u32, key: &str, map: &Node, entry: &str) -> Option<String> {
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

    fn insert_line(&self, before: u32, line: &str) -> Option<String> {
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

/// The line with another value behind the annotation's name; a comment after it stays.
fn with_value(line: &str, paused: bool) -> Option<String> {
    let value_at = line.find(PAUSED)? + PAUSED.len();
    let rest = line[value_at..].trim_start_matches(['"', '\'']).trim_start().strip_prefix(':')?.trim_start();
    let value =
        ["\"true\"", "\"false\"", "'true'", "'false'"].into_iter().find(|value| rest.starts_with(value))?;
    let head = &line[..line.len() - rest.len()];
    Some(format!("{head}\"{paused}\"{}", &rest[value.len()..]))
}
