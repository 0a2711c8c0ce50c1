//! Changes to manifests that people wrote: few lines are changed, and everything else stays as it is,
//! comments and order too.

use crate::{document, folder::Limits, lines::Lines, node::Node, offer::PAUSED};
use obol_core::{Offer, OfferId, Registry};
use std::{path::Path, sync::Arc, time::SystemTime};

/// Why a text was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    #[error("it has no offer {0} that can be read")]
    NotThere(OfferId),
    /// Changed by rule, it would not mean what it should.
    #[error("it is written in a way that is not changed by itself; {what} at line {line} yourself")]
    Unclear { line: u32, what: String },
    #[error("the document at line {line} cannot be taken out without changing others; take it out yourself")]
    Tangled { line: u32 },
}

/// The announced end of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain<'a> {
    /// `spec.drainAt`.
    pub at: &'a str,
    /// `spec.drainGracePeriod`.
    pub grace: &'a str,
    /// What the two come to.
    pub sunset: SystemTime,
}

/// `text` with this offer paused, or not. What it gives then is compared with what it gave before:
/// nothing else changes.
pub fn set_paused(
    text: &str,
    file: &Path,
    (id, paused): (&OfferId, bool),
    terms: (&Registry, &Limits),
) -> Result<String, EditError> {
    let what = format!("write {PAUSED}: \"{paused}\" into metadata.annotations");
    edit(
        text,
        file,
        id,
        terms,
        &what,
        |offer| Offer { paused, ..offer },
        |text, root, json| {
            let (line, metadata) = root.get("metadata")?;
            Some((line, annotate(Lines::of(text, json), line, metadata, paused)))
        },
    )
}

/// `text` with this offer draining, or not. As [`set_paused`] nothing else changes.
pub fn set_drain(
    text: &str,
    file: &Path,
    (id, drain): (&OfferId, Option<Drain<'_>>),
    terms: (&Registry, &Limits),
) -> Result<String, EditError> {
    const AT: &str = "drainAt";
    const GRACE: &str = "drainGracePeriod";
    let (what, sunset) = match drain {
        Some(Drain { at, grace, sunset }) => {
            (format!("write {AT}: \"{at}\" and {GRACE}: \"{grace}\" into spec"), Some(sunset))
        }
        None => (format!("take {AT} and {GRACE} out of spec"), None),
    };
    let value = |name| drain.map(|drain| if name == AT { drain.at } else { drain.grace });
    let mut changed = text.to_owned();
    // The second to be written comes to stand before the first.
    for name in [GRACE, AT] {
        let one = |text: &str, root: &Node, json: bool| {
            let (line, spec) = root.get("spec")?;
            let lines = Lines::of(text, json);
            let changed = match (value(name), spec.get(name)) {
                (Some(value), Some((at, _))) => lines.set(at, name, value),
                (Some(value), None) => lines.insert(line, "spec", spec, &lines.entry(name, value)),
                (None, Some((at, _))) => lines.remove(at, name),
                (None, None) => Some(text.to_owned()),
            };
            Some((line, changed))
        };
        changed = match of_document(&changed, id, one) {
            Some((_, Some(changed))) => changed,
            Some((line, None)) => return Err(EditError::Unclear { line, what }),
            None => return Err(EditError::NotThere(id.clone())),
        };
    }
    edit(
        text,
        file,
        id,
        terms,
        &what,
        |offer| Offer { sunset, ..offer },
        |_, root, _| Some((root.get("spec")?.0, Some(changed.clone()))),
    )
}

/// The text that `change` makes of this one, if it means what is wanted and nothing else.
fn edit(
    text: &str,
    file: &Path,
    id: &OfferId,
    (registry, limits): (&Registry, &Limits),
    what: &str,
    want: impl FnOnce(Offer) -> Offer,
    change: impl Fn(&str, &Node, bool) -> Option<(u32, Option<String>)>,
) -> Result<String, EditError> {
    let offers = |text| document::parse(text, file, registry, limits);
    let before = offers(text);
    let Some(at) = before.offers.iter().position(|offer| offer.id == *id) else {
        return Err(EditError::NotThere(id.clone()));
    };
    let mut wanted = before.clone();
    wanted.offers[at] = Arc::new(want(Offer::clone(&before.offers[at])));
    if wanted.offers[at] == before.offers[at] {
        return Ok(text.to_owned());
    }
    let (line, changed) = of_document(text, id, change).ok_or_else(|| EditError::NotThere(id.clone()))?;
    let after = changed.as_deref().map(offers);
    match (changed, after) {
        (Some(changed), Some(after))
            if after.offers == wanted.offers && after.faults.len() == wanted.faults.len() =>
        {
            Ok(changed)
        }
        _ => Err(EditError::Unclear { line, what: what.to_owned() }),
    }
}

/// What `change` makes of a text at the document of this offer: it is told whether that is JSON.
fn of_document<T>(text: &str, id: &OfferId, change: impl Fn(&str, &Node, bool) -> Option<T>) -> Option<T> {
    for (line, part) in document::split(text) {
        let Ok(root) = Node::parse(part, line) else { continue };
        if document::identity(&root).0.as_ref() == Some(id) {
            return change(text, &root, part.trim_start().starts_with('{'));
        }
    }
    None
}

fn annotate(lines: Lines<'_>, line: u32, metadata: &Node, paused: bool) -> Option<String> {
    let value = if paused { "true" } else { "false" };
    let entry = lines.entry(PAUSED, value);
    match metadata.get("annotations") {
        Some((_, annotations)) if annotations.get(PAUSED).is_some() => {
            let (line, _) = annotations.get(PAUSED)?;
            lines.set(line, PAUSED, value)
        }
        Some((line, annotations)) => lines.insert(line, "annotations", annotations, &entry),
        None => {
            lines.insert(line, "metadata", metadata, &format!("{}: {{{entry}}}", lines.name("annotations")))
        }
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
