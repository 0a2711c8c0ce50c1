//! What people write about money: sums, chains, offers.

use super::registry;
use alloy_primitives::U256;
use obol_api::{Drain, Fault, Limits, Pricing, PricingField};
use obol_core::{Amount, ChainId};
use std::{
    collections::HashSet,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

/// The first byte is the asset's decimals. No text becomes another sum than the one it says, and
/// no sum is changed by being shown.
pub fn amounts(data: &[u8]) {
    let Some((&decimals, rest)) = data.split_first() else { return };
    if let Ok(text) = std::str::from_utf8(rest) {
        if let Ok(amount) = Amount::parse_price(text, decimals) {
            let shown = amount.to_decimal(decimals);
            assert_eq!(Amount::parse_price(&shown, decimals), Ok(amount), "{text:?}");
            assert_eq!(plain(text), plain(&shown), "{text:?}");
        }
        if let Ok(amount) = Amount::parse_atomic(text) {
            assert_eq!(Amount::parse_atomic(&amount.to_string()), Ok(amount), "{text:?}");
            assert_eq!(plain(text), plain(&amount.to_string()), "{text:?}");
        }
    }
    if let [one, other, ..] = rest.chunks_exact(32).map(U256::from_be_slice).collect::<Vec<_>>()[..] {
        let (one, other) = (Amount::from_atomic(one), Amount::from_atomic(other));
        assert_eq!(Amount::parse_price(&one.to_decimal(decimals), decimals), Ok(one));
        if let Some(sum) = one.checked_add(other) {
            assert!(sum >= one && sum >= other);
            assert_eq!(sum.checked_sub(other), Some(one));
        }
    }
}

/// A decimal without what does not change its value.
fn plain(text: &str) -> (&str, &str) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    (whole.trim_start_matches('0'), fraction.trim_end_matches('0'))
}

/// A chain has one id, whatever it is called.
pub fn chain_ids(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(chain) = text.parse::<ChainId>() {
        assert_eq!(chain.to_string().parse(), Ok(chain), "{text:?}");
        assert!(chain.to_string().eq_ignore_ascii_case(text), "{text:?}");
    }
    if let Ok(chain) = registry().chain(text) {
        assert!(chain.is_called(text));
        assert_eq!(registry().chains().filter(|other| other.is_called(text)).count(), 1, "{text:?}");
    }
}

/// Whatever is paused, drained, resumed or taken out is the only offer of its text that changes.
pub fn edits(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, limits) = (Path::new("offers/fuzz.yaml"), limits());
    let offers = |text: &str| obol_api::parse(text, file, registry(), &limits).offers;
    let before = offers(text);
    for offer in &before {
        for sunset in [Some(UNIX_EPOCH + Duration::from_secs(1_795_672_800)), None] {
            let drain = sunset.map(|sunset| Drain { at: "2026-11-26T05:00:00Z", grace: "1h", sunset });
            if let Ok(changed) = obol_api::set_drain(text, file, (&offer.id, drain), (registry(), &limits)) {
                for (one, other) in before.iter().zip(&offers(&changed)) {
                    let same = if one.id == offer.id { other.sunset == sunset } else { one == other };
                    assert!(same, "{one:?} became {other:?}");
                }
            }
        }
        let paused = !offer.paused;
        if let Ok(changed) = obol_api::set_paused(text, file, (&offer.id, paused), (registry(), &limits)) {
            let after = offers(&changed);
            assert_eq!(after.len(), before.len());
            for (one, other) in before.iter().zip(&after) {
                let same = if one.id == offer.id { other.paused == paused } else { one == other };
                assert!(same, "{one:?} became {other:?}");
            }
        }
        if let Ok(removed) = obol_api::remove(text, file, &offer.id, (registry(), &limits)) {
            let left: Vec<_> = before.iter().filter(|other| other.id != offer.id).cloned().collect();
            assert_eq!(removed.rest.map_or_else(Vec::new, |rest| offers(&rest)), left);
        }
    }
}

/// Whatever route loads can be sold, and forwards what its paths begin with or less. What is written
/// into the file is what it says then.
pub fn pricing(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, limits) = (Path::new("fuzz.yaml"), limits());
    let parse = |text: &str| Pricing::parse(text, file, registry(), &limits);
    let before = parse(text);
    for route in &before.routes {
        let (offer, path) = (&route.offer, route.offer.path.as_str());
        assert!(path.starts_with('/') && !offer.accepts.is_empty(), "{offer:?}");
        assert!(path.strip_prefix(&*offer.upstream.strip).is_some(), "{offer:?}");
        assert!(obol_core::is_label(&offer.id.namespace) && obol_core::is_label(&offer.id.name), "{offer:?}");
        for requirement in &offer.accepts {
            assert!(!requirement.amount.is_zero() && !requirement.pay_to.is_zero(), "{requirement:?}");
            let least = offer.upstream.header_timeout + limits.settle_and_skew;
            assert!(Duration::from_secs(requirement.max_timeout_seconds) >= least, "{requirement:?}");
        }
    }
    told_where(&before.faults, text);
    for (field, value) in [
        (PricingField::Wallet, "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"),
        (PricingField::Chain, "polygon"),
    ] {
        if let Ok(changed) = obol_api::set_pricing(text, file, (field, value), (registry(), &limits)) {
            let after = parse(&changed);
            let written = if field == PricingField::Wallet { after.wallet } else { after.chain };
            assert_eq!(written.as_deref(), Some(value), "{changed}");
            assert!(after.routes.len() >= before.routes.len(), "{changed}");
        }
    }
}

fn told_where(faults: &[Fault], text: &str) {
    // To YAML a carriage return ends a line, too.
    let lines = text.matches(['\n', '\r']).count() + 2;
    for fault in faults {
        let line = fault.line.and_then(|line| usize::try_from(line).ok());
        assert!(line.is_none_or(|line| (1..=lines).contains(&line)), "{fault} of {lines} lines");
        assert!(!fault.message.is_empty());
    }
}

fn limits() -> Limits {
    Limits { settle_and_skew: Duration::from_secs(35), payees: None }
}

/// Whatever loads can be sold: it has a price, a payee, a path and an upstream, and a name of its
/// own. Whatever does not says where.
pub fn manifests(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let limits = limits();
    let loaded = obol_api::parse(text, Path::new("offers/fuzz.yaml"), registry(), &limits);
    let mut names = HashSet::new();
    for offer in &loaded.offers {
        assert!(names.insert(&offer.id), "{} twice", offer.id);
        assert!(offer.path.as_str().starts_with('/') && !offer.accepts.is_empty(), "{offer:?}");
        let base = offer.upstream.base.as_deref().unwrap_or_default();
        assert!(base.starts_with("http://") || base.starts_with("https://"), "{offer:?}");
        for requirement in &offer.accepts {
            assert!(!requirement.amount.is_zero() && !requirement.pay_to.is_zero(), "{requirement:?}");
            let least = offer.upstream.header_timeout + limits.settle_and_skew;
            assert!(Duration::from_secs(requirement.max_timeout_seconds) >= least, "{requirement:?}");
        }
    }
    told_where(&loaded.faults, text);
}
