use super::spec::PricingSpec;
use crate::{
    address,
    fault::Faults,
    offer::Terms,
    payment::known_chain,
    read::{Entry, Located},
};

/// What a route that says nothing else is paid to and on; refused when it is no good.
#[derive(Debug)]
pub(super) struct Defaults {
    pub(super) wallet: Entry<String>,
    pub(super) chain: Entry<String>,
}

impl Defaults {
    pub(super) fn none() -> Self {
        Self { wallet: Entry::Absent, chain: Entry::Absent }
    }

    pub(super) fn read(
        spec: &PricingSpec,
        terms: Terms<'_>,
        faults: &mut Faults<'_>,
        notes: &mut Faults<'_>,
    ) -> Self {
        note_settings(spec, notes);
        let is_wallet = |wallet: &Located<String>, faults: &mut Faults<'_>| {
            address::parse(&wallet.value).map_err(|error| wallet.refuse(faults, error.to_string())).is_ok()
        };
        let is_chain =
            |chain: &Located<String>, faults: &mut Faults<'_>| known_chain(chain, terms, faults).is_some();
        Self { wallet: sift(&spec.wallet, is_wallet, faults), chain: sift(&spec.chain, is_chain, faults) }
    }
}

fn sift(
    entry: &Entry<String>,
    is_good: impl FnOnce(&Located<String>, &mut Faults<'_>) -> bool,
    faults: &mut Faults<'_>,
) -> Entry<String> {
    match entry.read() {
        Some(located) if !is_good(located, faults) => Entry::Refused,
        _ => entry.clone(),
    }
}

/// A file that changes must not change how a running process settles.
fn note_settings(spec: &PricingSpec, notes: &mut Faults<'_>) {
    let told = "changes nothing here: it is decided when the verifier is started";
    if let Some(url) = spec.facilitator_url.read() {
        url.refuse(notes, format!("{told}, by --facilitator"));
    }
    if let Some(only) = spec.verify_only.read().filter(|only| only.value) {
        only.refuse(notes, format!("{told}, by --verify-only"));
    }
}
