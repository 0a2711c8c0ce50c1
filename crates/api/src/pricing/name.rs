//! Under which name the ledger keeps what a route earns.

use super::spec::RouteSpec;
use crate::{fault::Faults, offer, read::Entry};
use alloy_primitives::{hex, keccak256};
use obol_core::OfferId;

/// Of routes that name no namespace.
const NAMESPACE: &str = "pricing";

/// Characters of a pattern that are in a name made of it.
const READABLE: usize = 50;

/// The name that a route has, also when the rest of it is no good.
pub(super) fn of(route: &RouteSpec) -> Option<OfferId> {
    let namespace = given(&route.offer_namespace).unwrap_or_else(|| NAMESPACE.to_owned());
    let name = match given(&route.offer_name) {
        Some(name) => name,
        None => made_of(route)?,
    };
    let are_labels = obol_core::is_label(&namespace) && obol_core::is_label(&name);
    are_labels.then_some(OfferId { namespace, name })
}

pub(super) fn read(route: &RouteSpec, faults: &mut Faults<'_>) -> Option<OfferId> {
    let namespace = route.offer_namespace.read().map(|namespace| offer::namespace_of(namespace, faults));
    let name = route.offer_name.read().map(|name| offer::label(name, faults));
    if namespace.is_some_and(|namespace| namespace.is_none()) || name.is_some_and(|name| name.is_none()) {
        return None;
    }
    of(route)
}

fn given(entry: &Entry<String>) -> Option<String> {
    entry.read().map(|text| text.value.clone())
}

/// The readable part may be the same for two patterns; the rest is not.
fn made_of(route: &RouteSpec) -> Option<String> {
    let pattern = &route.pattern.read()?.value;
    let host = given(&route.hostname).unwrap_or_default().to_ascii_lowercase();
    let mut readable = String::new();
    for character in pattern.chars().map(|character| character.to_ascii_lowercase()) {
        match character.is_ascii_alphanumeric() {
            true => readable.push(character),
            false if readable.ends_with('-') || readable.is_empty() => {}
            false => readable.push('-'),
        }
    }
    readable.truncate(READABLE);
    let readable = match readable.trim_end_matches('-') {
        "" => "root",
        readable => readable,
    };
    let hash = keccak256(format!("{host} {pattern}"));
    Some(format!("{readable}-{}", hex::encode(&hash[..4])))
}
