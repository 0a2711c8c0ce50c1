//! The resources that have been paid for.

use crate::Caller;
use obol_wire::discovery::{About, Call, ResourceUrl, Terms};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{
    collections::{BTreeMap, btree_map::Entry as Slot},
    sync::Arc,
};

/// What has not been paid for so many seconds is left out: 30 days.
pub(super) const FRESH: u64 = 30 * 24 * 60 * 60;

/// With the largest declaration for each, 64 MB.
const MOST: usize = 4_000;
const MOST_OF_ONE_CALLER: usize = 500;

/// Ways to pay for one resource.
const MOST_TERMS: usize = 8;

/// A resource, and by whom it was sold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) caller: String,
    pub(super) resource: ResourceUrl,
    pub(super) call: Call,
    pub(super) about: About,
    pub(super) accepts: Vec<Accepted>,
    /// The declaration.
    pub(super) bazaar: Box<RawValue>,
}

/// A way to pay, and when it was last taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accepted {
    pub(super) terms: Terms,
    /// Seconds since the Unix epoch.
    pub(super) paid: u64,
}

/// Why a resource is not put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("another caller has listed this resource")]
    OtherCaller,
    #[error("{MOST_OF_ONE_CALLER} resources are listed for this caller, which is the most")]
    Caller,
    #[error("the catalogue is full")]
    Everything,
}

#[derive(Debug, Default)]
pub(super) struct Catalog {
    entries: BTreeMap<(ResourceUrl, Call), Arc<Entry>>,
}

impl Entry {
    /// When it was last paid for.
    pub(super) fn paid(&self) -> u64 {
        self.accepts.iter().map(|accepted| accepted.paid).max().unwrap_or_default()
    }

    pub(super) fn fresh_terms(&self, now: u64) -> impl Iterator<Item = &Terms> {
        let fresh = move |accepted: &&Accepted| is_fresh(accepted.paid, now);
        self.accepts.iter().filter(fresh).map(|accepted| &accepted.terms)
    }
}

const fn is_fresh(paid: u64, now: u64) -> bool {
    now.saturating_sub(paid) < FRESH
}

impl Catalog {
    pub(super) fn of(entries: Vec<Entry>) -> Self {
        let keyed = |entry: Entry| ((entry.resource.clone(), entry.call.clone()), Arc::new(entry));
        Self { entries: entries.into_iter().map(keyed).collect() }
    }

    /// The newest payment says what a resource is and costs; other ways to pay stay as long as they
    /// are fresh.
    pub(super) fn put(&mut self, new: Entry, caller: &Caller, now: u64) -> Result<(), Full> {
        self.entries.retain(|_, entry| is_fresh(entry.paid(), now));
        let (all, own) = (self.entries.len(), self.count_of(caller));
        match self.entries.entry((new.resource.clone(), new.call.clone())) {
            Slot::Occupied(known) if known.get().caller != caller.name() => Err(Full::OtherCaller),
            Slot::Occupied(mut known) => {
                // Settlements may end in another order than they were paid in.
                if known.get().paid() <= new.paid() {
                    let accepts = merged(&new.accepts, &known.get().accepts, now);
                    known.insert(Arc::new(Entry { accepts, ..new }));
                }
                Ok(())
            }
            Slot::Vacant(_) if own >= MOST_OF_ONE_CALLER => Err(Full::Caller),
            Slot::Vacant(_) if all >= MOST => Err(Full::Everything),
            Slot::Vacant(free) => {
                free.insert(Arc::new(new));
                Ok(())
            }
        }
    }

    fn count_of(&self, caller: &Caller) -> usize {
        self.entries.values().filter(|entry| entry.caller == caller.name()).count()
    }

    /// What is fresh, always in the same order, so that pages of it fit together.
    pub(super) fn fresh(&self, now: u64) -> Vec<Arc<Entry>> {
        self.entries.values().filter(|entry| is_fresh(entry.paid(), now)).cloned().collect()
    }
}

fn merged(new: &[Accepted], known: &[Accepted], now: u64) -> Vec<Accepted> {
    let same = |one: &Accepted, other: &Accepted| {
        (&one.terms.network, &one.terms.asset) == (&other.terms.network, &other.terms.asset)
    };
    let others = known
        .iter()
        .filter(|known| is_fresh(known.paid, now) && !new.iter().any(|accepted| same(accepted, known)));
    new.iter().chain(others).take(MOST_TERMS).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Callers;
    use obol_core::{Registry, Requirement};
    use obol_wire::discovery::Method;

    const NOW: u64 = 1_800_000_000;

    fn caller(name: &str) -> Caller {
        let Ok(Callers::Known(known)) = Callers::parse(&format!("{name} 0123456789abcdef")) else {
            panic!("{name} is a name")
        };
        known.into_values().next().expect("one")
    }

    fn accepted(amount: u64, asset: usize, paid: u64) -> Accepted {
        let registry = Registry::built_in();
        let asset = Arc::clone(registry.assets().nth(asset).expect("an asset"));
        let pay_to = asset.address;
        let requirement = Requirement { asset, pay_to, amount: amount.into(), max_timeout_seconds: 60 };
        Accepted { terms: Terms::from(&requirement), paid }
    }

    fn entry(caller: &Caller, path: &str, accepted: Accepted) -> Entry {
        Entry {
            caller: caller.name().to_owned(),
            resource: ResourceUrl::parse(&format!("https://shop.example/{path}"), None).expect("a URL"),
            call: Call::Http { method: Method::Get },
            about: About::default(),
            accepts: vec![accepted],
            bazaar: RawValue::from_string("{}".to_owned()).expect("JSON"),
        }
    }

    fn amounts(catalog: &Catalog, now: u64) -> Vec<Vec<String>> {
        let terms = |entry: &Arc<Entry>| entry.fresh_terms(now).map(|terms| terms.amount.clone()).collect();
        catalog.fresh(now).iter().map(terms).collect()
    }

    #[test]
    fn a_resource_is_listed_once_with_the_newest_terms() {
        let (shop, mut catalog) = (caller("shop"), Catalog::default());
        for (amount, asset, paid) in [(1, 0, NOW), (2, 0, NOW + 1), (3, 1, NOW + 2), (9, 0, NOW)] {
            assert_eq!(catalog.put(entry(&shop, "a", accepted(amount, asset, paid)), &shop, NOW + 2), Ok(()));
        }
        assert_eq!(amounts(&catalog, NOW + 2), [["3", "2"]]);
        let mut post = entry(&shop, "a", accepted(5, 0, NOW));
        post.call = Call::Http { method: Method::Post };
        assert_eq!(catalog.put(post, &shop, NOW), Ok(()));
        assert_eq!(catalog.fresh(NOW + 2).len(), 2, "another method is another resource");
    }

    #[test]
    fn a_caller_changes_its_own_entries_only() {
        let (shop, other, mut catalog) = (caller("shop"), caller("other"), Catalog::default());
        catalog.put(entry(&shop, "a", accepted(1, 0, NOW)), &shop, NOW).expect("room");
        let theirs = || entry(&other, "a", accepted(7, 0, NOW + 1));
        assert_eq!(catalog.put(theirs(), &other, NOW + 1), Err(Full::OtherCaller));
        assert_eq!(amounts(&catalog, NOW + 1), [["1"]]);
        let later = NOW + FRESH;
        let mut theirs = theirs();
        theirs.accepts[0].paid = later;
        assert_eq!(catalog.put(theirs, &other, later), Ok(()), "what is left out is nobody's any more");
    }

    #[test]
    fn what_has_not_been_paid_for_thirty_days_is_left_out() {
        let (shop, mut catalog) = (caller("shop"), Catalog::default());
        catalog.put(entry(&shop, "a", accepted(1, 0, NOW)), &shop, NOW).expect("room");
        catalog.put(entry(&shop, "a", accepted(2, 1, NOW + 100)), &shop, NOW + 100).expect("room");
        assert_eq!(amounts(&catalog, NOW + FRESH - 1), [["2", "1"]]);
        assert_eq!(amounts(&catalog, NOW + FRESH), [["2"]]);
        assert!(catalog.fresh(NOW + FRESH + 100).is_empty());
    }

    #[test]
    fn neither_one_caller_nor_all_together_fill_it_without_bounds() {
        let (shop, paid) = (caller("shop"), accepted(1, 0, NOW));
        let others = (MOST_OF_ONE_CALLER..MOST).map(|number| {
            let other = caller(&format!("c{}", number / MOST_OF_ONE_CALLER));
            entry(&other, &number.to_string(), paid.clone())
        });
        let own = (1..MOST_OF_ONE_CALLER).map(|number| entry(&shop, &number.to_string(), paid.clone()));
        let mut catalog = Catalog::of(own.chain(others).collect());
        assert_eq!(catalog.put(entry(&shop, "0", paid.clone()), &shop, NOW), Ok(()), "the last");
        assert_eq!(catalog.put(entry(&shop, "more", paid.clone()), &shop, NOW), Err(Full::Caller));
        assert_eq!(catalog.put(entry(&shop, "0", paid.clone()), &shop, NOW), Ok(()), "what is there");
        let late = caller("late");
        assert_eq!(catalog.put(entry(&late, "x", paid.clone()), &late, NOW), Err(Full::Everything));
        let later = NOW + FRESH;
        assert_eq!(catalog.put(entry(&late, "x", accepted(1, 0, later)), &late, later), Ok(()));
        assert_eq!(catalog.fresh(later).len(), 1);
    }
}
