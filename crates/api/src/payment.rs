use crate::{
    address, asset,
    fault::Faults,
    manifest::{Decimal, Entry, Located, PaymentSpec, Price, Spec},
    offer::Terms,
    read::join,
    suggest::did_you_mean,
};
use alloy_primitives::Address;
use obol_core::{Amount, Asset, Chain, Requirement, Upstream};
use std::{sync::Arc, time::Duration};

const DEFAULT_TIMEOUT_SECONDS: u64 = 300;
const MAX_TIMEOUT_SECONDS: u64 = 86_400;

/// More than any known token has.
const MOST_DECIMALS: u8 = 36;

/// The ways to pay, at least one.
pub(crate) fn make_all(
    spec: &Located<Spec>,
    upstream: Option<&Upstream>,
    terms: Terms<'_>,
    faults: &mut Faults<'_>,
) -> Option<Vec<Requirement>> {
    let written: Vec<&Located<PaymentSpec>> = match (&spec.value.payment, &spec.value.payments) {
        (Entry::Refused, _) | (_, Entry::Refused) => return None,
        (Entry::Read(_), Entry::Read(payments)) => {
            payments.refuse(faults, "does not go with payment; move that one into this list");
            return None;
        }
        (Entry::Absent, Entry::Absent) => {
            spec.lacks(faults, "payment", "say how it is paid: network, payTo and price");
            return None;
        }
        (Entry::Read(payment), Entry::Absent) => vec![payment],
        (Entry::Absent, Entry::Read(payments)) if payments.value.is_empty() => {
            payments.refuse(faults, "is empty; list at least one way to pay");
            return None;
        }
        (Entry::Absent, Entry::Read(payments)) => payments.value.iter().collect(),
    };
    make_each(&written, upstream, terms, faults)
}

pub(crate) fn make_each(
    written: &[&Located<PaymentSpec>],
    upstream: Option<&Upstream>,
    terms: Terms<'_>,
    faults: &mut Faults<'_>,
) -> Option<Vec<Requirement>> {
    let made: Vec<_> = written.iter().map(|payment| make(payment, upstream, terms, faults)).collect();
    refuse_twins(written, &made, faults);
    made.into_iter().collect()
}

fn refuse_twins(written: &[&Located<PaymentSpec>], made: &[Option<Requirement>], faults: &mut Faults<'_>) {
    for (index, (payment, requirement)) in written.iter().zip(made).enumerate() {
        let Some(requirement) = requirement else { continue };
        let twin = made[..index].iter().flatten().any(|earlier| {
            (&earlier.asset, earlier.pay_to, earlier.amount)
                == (&requirement.asset, requirement.pay_to, requirement.amount)
        });
        if twin {
            payment
                .refuse(faults, "is the same as an earlier one (chain, asset, payTo and price); remove one");
        }
    }
}

fn make(
    payment: &Located<PaymentSpec>,
    upstream: Option<&Upstream>,
    terms: Terms<'_>,
    faults: &mut Faults<'_>,
) -> Option<Requirement> {
    let asset = chain(payment, terms, faults).and_then(|chain| asset::resolve(payment, chain, terms, faults));
    let pay_to = payee(payment, asset, terms, faults);
    let what = "give price.perRequest, such as \"0.01\"";
    let price = payment.value.price.required(payment, "price", what, faults);
    let amount = price.and_then(|price| amount(price, asset, faults));
    let max_timeout_seconds = max_timeout(payment, upstream, terms.limits.settle_and_skew, faults);
    Some(Requirement {
        asset: Arc::clone(asset?),
        pay_to: pay_to?,
        amount: amount?,
        max_timeout_seconds: max_timeout_seconds?,
    })
}

fn chain<'a>(
    payment: &Located<PaymentSpec>,
    terms: Terms<'a>,
    faults: &mut Faults<'_>,
) -> Option<&'a Arc<Chain>> {
    let what = "name the chain, such as base or eip155:8453";
    let network = payment.value.network.required(payment, "network", what, faults)?;
    known_chain(network, terms, faults)
}

pub(crate) fn known_chain<'a>(
    network: &Located<String>,
    terms: Terms<'a>,
    faults: &mut Faults<'_>,
) -> Option<&'a Arc<Chain>> {
    match terms.registry.chain(&network.value) {
        Ok(chain) => Some(chain),
        Err(unknown) => {
            let names = terms.registry.chains().map(|chain| chain.name.as_str());
            let why = match did_you_mean(&network.value, names) {
                nothing if nothing.is_empty() => format!("{unknown}{}", asset::ADD_IT),
                meant => format!("unknown chain {:?}{meant}", network.value),
            };
            network.refuse(faults, why);
            None
        }
    }
}

fn payee(
    payment: &Located<PaymentSpec>,
    asset: Option<&Arc<Asset>>,
    terms: Terms<'_>,
    faults: &mut Faults<'_>,
) -> Option<Address> {
    let what = "give the address that is paid";
    let written = payment.value.pay_to.required(payment, "payTo", what, faults)?;
    let refusal = match address::parse(&written.value) {
        Err(error) => error.to_string(),
        Ok(payee) if asset.is_some_and(|asset| asset.address == payee) => {
            "is the asset's own address: what is sent there is lost; write the address that is paid"
                .to_owned()
        }
        Ok(payee) if terms.limits.payees.as_ref().is_some_and(|payees| !payees.contains(&payee)) => {
            format!("{} is not among the payees that this seller allows", payee.to_checksum(None))
        }
        Ok(payee) => return Some(payee),
    };
    written.refuse(faults, refusal);
    None
}

fn amount(price: &Located<Price>, asset: Option<&Arc<Asset>>, faults: &mut Faults<'_>) -> Option<Amount> {
    let metered = [&price.value.per_mtok, &price.value.per_hour, &price.value.per_epoch];
    let mut is_metered = false;
    for metered in metered.into_iter().filter_map(Entry::read) {
        metered.refuse(faults, "nothing is metered yet; remove it and give price.perRequest");
        is_metered = true;
    }
    let per_request = match is_metered {
        true => price.value.per_request.read()?,
        false => {
            price.value.per_request.required(price, "perRequest", "give it, such as \"0.01\"", faults)?
        }
    };
    // What is wrong whatever the asset is, is said together with what is wrong with the asset.
    let amount = money(per_request, asset.map_or(MOST_DECIMALS, |asset| asset.decimals), faults);
    asset.and(amount)
}

/// A sum greater than zero, in atomic units of an asset with `decimals` decimals.
pub(crate) fn money(written: &Located<Decimal>, decimals: u8, faults: &mut Faults<'_>) -> Option<Amount> {
    let Decimal(text) = &written.value;
    let whole = text.split('.').next().unwrap_or_default();
    let refusal = match Amount::parse_price(text, decimals) {
        Ok(amount) if amount.is_zero() => "is zero; an offer has a price".to_owned(),
        // In YAML 1.1, which Kubernetes reads, 010 is eight.
        Ok(_) if whole.len() > 1 && whole.starts_with('0') => {
            format!("{text:?} begins with a zero that some readers take for octal; leave it out")
        }
        Ok(amount) => return Some(amount),
        Err(error) if text.starts_with('$') => {
            format!("{error}; leave the $ out: sums are in the asset's own units")
        }
        Err(error) if text.starts_with('-') => format!("{error}; a price is never negative"),
        Err(error) => error.to_string(),
    };
    written.refuse(faults, refusal);
    None
}

fn max_timeout(
    payment: &Located<PaymentSpec>,
    upstream: Option<&Upstream>,
    settle_and_skew: Duration,
    faults: &mut Faults<'_>,
) -> Option<u64> {
    let (seconds, line, field) = match &payment.value.max_timeout_seconds {
        Entry::Refused => return None,
        Entry::Absent => (DEFAULT_TIMEOUT_SECONDS, payment.line, join(&payment.field, "maxTimeoutSeconds")),
        Entry::Read(written) => (written.value, written.line, written.field.clone()),
    };
    if seconds > MAX_TIMEOUT_SECONDS {
        faults.add(line, field, format!("{seconds} is more than a day ({MAX_TIMEOUT_SECONDS} seconds)"));
        return None;
    }
    let least = ceil_seconds(upstream?.header_timeout.saturating_add(settle_and_skew));
    if seconds < least {
        let why = format!(
            "{seconds} seconds are too few for the upstream's timeoutSeconds and the settlement; \
             write at least {least}"
        );
        faults.add(line, field, why);
        return None;
    }
    Some(seconds)
}

fn ceil_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}
