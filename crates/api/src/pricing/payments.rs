//! How a route is paid: as manifests have it, from the route's own words and the file's.

use super::{
    defaults::Defaults,
    spec::{self, RouteSpec},
};
use crate::{
    fault::Faults,
    manifest::{AssetSpec, Method, PaymentSpec, Price},
    offer::Terms,
    payment,
    read::{Decimal, Entry, Located},
};
use obol_core::{Requirement, Upstream};

/// As the original has it.
const DEFAULT_TIMEOUT_SECONDS: u64 = 600;

pub(super) fn make_all(
    route: &Located<RouteSpec>,
    defaults: &Defaults,
    upstream: Option<&Upstream>,
    terms: Terms<'_>,
    faults: &mut Faults<'_>,
) -> Option<Vec<Requirement>> {
    let inline = Words::of_route(&route.value);
    let listed = match &route.value.payments {
        Entry::Refused => return None,
        Entry::Read(payments) if !payments.value.is_empty() => payments,
        Entry::Absent | Entry::Read(_) => {
            let written = inline.written(route.line, &route.field, Heirs::of(defaults), terms, faults);
            return payment::make_each(&[&written], upstream, terms, faults);
        }
    };
    let heirs =
        Heirs { pay_to: or(inline.pay_to, &defaults.wallet), network: or(inline.network, &defaults.chain) };
    let written: Vec<_> = listed
        .value
        .iter()
        .map(|one| Words::of_payment(&one.value).written(one.line, &one.field, heirs, terms, faults))
        .collect();
    let made = payment::make_each(&written.iter().collect::<Vec<_>>(), upstream, terms, faults)?;
    // The original writes the first of them into the route as well.
    if let Some(price) = inline.price.read() {
        let mirror = inline.written(route.line, &route.field, Heirs::of(defaults), terms, faults);
        let mirror = payment::make_each(&[&mirror], upstream, terms, faults)?;
        if mirror.first() != made.first() {
            let why = "the route's own way to pay is not payments[0], which it should repeat; leave it out";
            price.refuse(faults, why);
            return None;
        }
    }
    Some(made)
}

/// What a way to pay has from elsewhere when it does not say it.
#[derive(Clone, Copy)]
struct Heirs<'a> {
    pay_to: &'a Entry<String>,
    network: &'a Entry<String>,
}

impl<'a> Heirs<'a> {
    const fn of(defaults: &'a Defaults) -> Self {
        Self { pay_to: &defaults.wallet, network: &defaults.chain }
    }
}

const fn or<'a, T>(first: &'a Entry<T>, second: &'a Entry<T>) -> &'a Entry<T> {
    match first {
        Entry::Absent => second,
        Entry::Refused | Entry::Read(_) => first,
    }
}

/// A way to pay as it is written, in a route or in its list.
struct Words<'a> {
    price: &'a Entry<Decimal>,
    pay_to: &'a Entry<String>,
    network: &'a Entry<String>,
    asset_address: &'a Entry<String>,
    asset_symbol: &'a Entry<String>,
    asset_decimals: &'a Entry<u64>,
    asset_transfer_method: &'a Entry<Method>,
    eip712_name: &'a Entry<String>,
    eip712_version: &'a Entry<String>,
    max_timeout_seconds: &'a Entry<u64>,
    price_model: &'a Entry<String>,
    per_mtok: &'a Entry<Decimal>,
}

macro_rules! words {
    ($from:expr, $($field:ident),*) => { Words { $( $field: &$from.$field ),* } };
}

macro_rules! all_words {
    ($from:expr) => {
        words!(
            $from,
            price,
            pay_to,
            network,
            asset_address,
            asset_symbol,
            asset_decimals,
            asset_transfer_method,
            eip712_name,
            eip712_version,
            max_timeout_seconds,
            price_model,
            per_mtok
        )
    };
}

impl<'a> Words<'a> {
    const fn of_route(route: &'a RouteSpec) -> Self {
        all_words!(route)
    }

    const fn of_payment(payment: &'a spec::PaymentSpec) -> Self {
        all_words!(payment)
    }

    /// The same in the words of a manifest.
    fn written(
        &self,
        line: u32,
        field: &str,
        heirs: Heirs<'_>,
        terms: Terms<'_>,
        faults: &mut Faults<'_>,
    ) -> Located<PaymentSpec> {
        let here = Located { value: (), line, field: field.to_owned() };
        let pay_to = inherited(self.pay_to, heirs.pay_to, (&here, "payTo", "wallet"), faults);
        let network = inherited(self.network, heirs.network, (&here, "network", "chain"), faults);
        let asset = self.asset(&here, &network, terms);
        let per_request = self.per_request(&here, faults);
        let at = |value| Entry::Read(Located { value, line, field: field.to_owned() });
        let max_timeout_seconds = match self.max_timeout_seconds {
            Entry::Refused => Entry::Refused,
            Entry::Read(written) if written.value > 0 => Entry::Read(written.clone()),
            Entry::Read(_) | Entry::Absent => Entry::Read(Located {
                value: DEFAULT_TIMEOUT_SECONDS,
                line,
                field: crate::read::join(field, "maxTimeoutSeconds"),
            }),
        };
        let price =
            Price { per_request, per_mtok: Entry::Absent, per_hour: Entry::Absent, per_epoch: Entry::Absent };
        let value = PaymentSpec {
            network,
            pay_to,
            scheme: Entry::Absent,
            max_timeout_seconds,
            price: at(price),
            asset,
        };
        Located { value, line, field: field.to_owned() }
    }

    fn per_request(&self, here: &Located<()>, faults: &mut Faults<'_>) -> Entry<Decimal> {
        if !self.price.is_absent() {
            return self.price.clone();
        }
        let metered = "nothing is metered yet; give price, what one request costs";
        match (self.per_mtok, self.price_model) {
            (Entry::Read(per_mtok), _) => per_mtok.refuse(faults, metered),
            (_, Entry::Read(model)) if !is_per_request(&model.value) => model.refuse(faults, metered),
            _ => here.lacks(faults, "price", "say what one request costs, such as \"0.01\""),
        }
        Entry::Refused
    }

    /// What is said of the asset patches the chain's first one.
    fn asset(&self, here: &Located<()>, network: &Entry<String>, terms: Terms<'_>) -> Entry<AssetSpec> {
        let is_silent = self.asset_address.is_absent()
            && self.asset_symbol.is_absent()
            && self.asset_decimals.is_absent()
            && self.asset_transfer_method.is_absent()
            && self.eip712_name.is_absent()
            && self.eip712_version.is_absent();
        if is_silent {
            return Entry::Absent;
        }
        let usual = || {
            let network = network.read()?;
            let chain = terms.registry.chain(&network.value).ok()?;
            let asset = terms.registry.default_asset(chain.id).ok()?;
            Some(Located { value: asset.symbol.clone(), line: network.line, field: network.field.clone() })
        };
        let symbol = match (self.asset_address, self.asset_symbol) {
            (Entry::Absent, Entry::Absent) => match usual() {
                Some(symbol) => Entry::Read(symbol),
                // What is wrong with the chain is told there.
                None => return Entry::Absent,
            },
            (_, symbol) => symbol.clone(),
        };
        let value = AssetSpec {
            symbol,
            address: self.asset_address.clone(),
            decimals: self.asset_decimals.clone(),
            transfer_method: self.asset_transfer_method.clone(),
            eip712_name: self.eip712_name.clone(),
            eip712_version: self.eip712_version.clone(),
        };
        Entry::Read(Located { value, line: here.line, field: here.field.clone() })
    }
}

/// As the original spells it, and as manifests do.
fn is_per_request(model: &str) -> bool {
    ["perrequest", "request"].iter().any(|word| model.replace(['-', '_'], "").eq_ignore_ascii_case(word))
}

fn inherited(
    own: &Entry<String>,
    usual: &Entry<String>,
    (here, key, top): (&Located<()>, &str, &str),
    faults: &mut Faults<'_>,
) -> Entry<String> {
    match (own, usual) {
        (Entry::Absent, Entry::Absent) => {
            here.lacks(faults, key, &format!("give it, or {top} for all routes"));
            Entry::Refused
        }
        (Entry::Absent, Entry::Refused) => {
            here.lacks(faults, key, &format!("the file's {top} is not good; mend that, or give it here"));
            Entry::Refused
        }
        _ => or(own, usual).clone(),
    }
}
