//! The file's own fields, changed in files that people wrote.

use super::{MAX_NODES, Pricing};
use crate::{document, edit::EditError, fault::Fault, folder::Limits, lines::Lines, node::Node};
use obol_core::{Offer, Registry};
use std::{collections::HashMap, fmt, path::Path, sync::Arc};

/// What every route has that says nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PricingField {
    Wallet,
    Chain,
}

impl PricingField {
    const fn name(self) -> &'static str {
        match self {
            Self::Wallet => "wallet",
            Self::Chain => "chain",
        }
    }

    fn of(self, pricing: &Pricing) -> Option<&str> {
        match self {
            Self::Wallet => pricing.wallet.as_deref(),
            Self::Chain => pricing.chain.as_deref(),
        }
    }
}

impl fmt::Display for PricingField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a file was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PricingError {
    /// With the new value, this would be wrong with the file.
    #[error("{0}")]
    Fault(Fault),
    #[error(transparent)]
    Unclear(#[from] EditError),
}

/// `text` with another value of this field. Everything else stays as it is written; what would be
/// wrong with the file then is an error.
pub fn set_pricing(
    text: &str,
    file: &Path,
    (field, value): (PricingField, &str),
    (registry, limits): (&Registry, &Limits),
) -> Result<String, PricingError> {
    let parse = |text: &str| Pricing::parse(text, file, registry, limits);
    let before = parse(text);
    let what = format!("write {field}: \"{value}\"");
    let unclear = |line| EditError::Unclear { line, what: what.clone() };
    let changed = changed(text, field, value).map_err(|error| match error {
        Unchanged::NotYaml => before.faults.first().cloned().map_or(unclear(1).into(), PricingError::Fault),
        Unchanged::Unclear(line) => unclear(line).into(),
    })?;
    let after = parse(&changed);
    let was_told = |fault: &Fault| before.faults.iter().any(|before| before.field == fault.field);
    let is_new = |fault: &&Fault| fault.field == field.name() || !was_told(fault);
    match after.faults.iter().find(is_new) {
        None => {}
        // The change has broken the file.
        Some(new) if new.field.is_empty() => return Err(unclear(1).into()),
        Some(new) => return Err(PricingError::Fault(new.clone())),
    }
    let other = match field {
        PricingField::Wallet => PricingField::Chain,
        PricingField::Chain => PricingField::Wallet,
    };
    // Routes that the old value kept from being sold may be sold now.
    let now: HashMap<_, _> = after.routes.iter().map(|route| (&route.offer.id, &route.offer)).collect();
    let kept = before.routes.iter().all(|route| {
        let same =
            |now: &&Arc<Offer>| Offer { accepts: now.accepts.clone(), ..(*route.offer).clone() } == ***now;
        now.get(&route.offer.id).is_some_and(same)
    });
    match field.of(&after) == Some(value) && other.of(&after) == other.of(&before) && kept {
        true => Ok(changed),
        false => Err(unclear(1).into()),
    }
}

enum Unchanged {
    NotYaml,
    Unclear(u32),
}

fn changed(text: &str, field: PricingField, value: &str) -> Result<String, Unchanged> {
    let lines = Lines::of(text, false);
    for (line, part) in document::split(text) {
        let root = Node::parse_within(part, line, MAX_NODES).map_err(|_| Unchanged::NotYaml)?;
        if root.is_null() {
            continue;
        }
        let changed = match (root.get(field.name()), root.first_key()) {
            (Some((at, _)), _) => lines.set(at, field.name(), value),
            (None, Some(first)) => lines.insert_line(first, &lines.entry(field.name(), value)),
            (None, None) => None,
        };
        return changed.ok_or(Unchanged::Unclear(root.line));
    }
    let end = u32::try_from(text.lines().count()).unwrap_or(u32::MAX).saturating_add(1);
    lines.insert_line(end, &lines.entry(field.name(), value)).ok_or(Unchanged::Unclear(1))
}
